"""Give Spark a log store that is safe beside other processes on local disk.

Delta's own for ``file:`` looks whether a commit exists and then renames over it, with a lock inside
its JVM only (`HDFSLogStore.write`); it says that this is for its tests. A commit of another process
that arrives in between would be overwritten. This one links, as we do: the file system decides.
"""

from pathlib import Path
from typing import Any

NAME = "LinkingLogStore"
SETTINGS = {"spark.delta.logStore.file.impl": NAME}
_SOURCE = """
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Iterator;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

public class LinkingLogStore extends io.delta.storage.HDFSLogStore {
    public LinkingLogStore(Configuration conf) { super(conf); }

    public void write(Path path, Iterator actions, Boolean overwrite, Configuration conf)
            throws IOException {
        if (overwrite.booleanValue()) {
            super.write(path, actions, overwrite, conf);
            return;
        }
        StringBuilder text = new StringBuilder();
        while (actions.hasNext()) text.append(actions.next().toString()).append('\\n');
        java.nio.file.Path target = Paths.get(path.toUri().getPath());
        java.nio.file.Path temporary = target.resolveSibling("." + UUID.randomUUID() + ".tmp");
        Files.write(temporary, text.toString().getBytes(StandardCharsets.UTF_8));
        try {
            Files.createLink(target, temporary);
        } finally {
            Files.delete(temporary);
        }
    }
}
"""


def install(spark: Any, folder: Path) -> None:
    """Compile the log store with the compiler that Spark has, and let Spark find it."""
    jvm = spark._jvm
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.setParentClassLoader(loader)
    compiler.cook(_SOURCE)
    folder.mkdir()
    (folder / f"{NAME}.class").write_bytes(compiler.getBytecodes().get(NAME))
    loader.addURL(jvm.java.net.URL(folder.as_uri() + "/"))
