"""A certificate of one's own authority, and a proxy on the way."""

import base64
import datetime as dt
import ipaddress
import socket
import ssl
import threading
import traceback
from urllib.parse import urlsplit

import duckdb
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import lakehouse
from catalog import InputError, StorageError
from lakehouse.duck.reach import find_extension

PASSWORD = "c4n4ry-pr0xy"


class Relay:
    """Pass bytes on to a server, over TLS where there is a context; keep the begin of each."""

    def __init__(self, upstream, context=None):
        where = urlsplit(upstream)
        self._upstream = (where.hostname, where.port)
        self._context = context
        self.heads = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._door.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            if self._context:
                client = self._context.wrap_socket(client, server_side=True)
            with client, socket.create_connection(self._upstream) as server:
                back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
                back.start()
                self._pump(client, server, keep=True)
                back.join()
        except OSError:
            client.close()

    def _pump(self, source, target, *, keep=False):
        try:
            while data := source.recv(65536):
                if keep:
                    self.heads.append(data[:2000])
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def certificate(subject, key, issuer, signer, *, is_authority):
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return built.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Return the PEM file of an authority, and a server's context that it vouches for."""
    folder = tmp_path_factory.mktemp("tls")
    ours, theirs = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    (folder / "ca.pem").write_bytes(certificate("ours", ours, "ours", ours, is_authority=True))
    leaf = certificate("localhost", theirs, "ours", ours, is_authority=False)
    key = theirs.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "leaf.pem").write_bytes(leaf + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    return str(folder / "ca.pem"), context


@pytest.fixture
def encrypted(minio, authority):
    relay = Relay(minio.endpoint, authority[1])
    yield {**minio.options(), "endpoint_url": f"https://127.0.0.1:{relay.port}", "retries": 1}
    relay.close()


@pytest.fixture
def forward(minio):
    relay = Relay(minio.endpoint)
    yield relay
    relay.close()


def has_httpfs():
    with duckdb.connect() as root:
        return find_extension(root, "s3") is not None


READERS = [
    "obstore",
    pytest.param(
        "duckdb", marks=pytest.mark.skipif(not has_httpfs(), reason="httpfs is not installed")
    ),
]


def use(uri, options):
    with lakehouse.connect(uri, **options) as lake:
        table = lake.create_table("bronze.t", {"n": "BIGINT"})
        table.append([{"n": 1}])
        return lake.sql("SELECT n FROM bronze.t").fetchall()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("how", ["option", "environment", "profile"])
def test_an_authority_of_ones_own(minio, encrypted, authority, reader, how, monkeypatch, tmp_path):
    options = {**encrypted, "reader": reader}
    if how == "option":
        options["ca_file"] = authority[0]
    elif how == "environment":
        monkeypatch.setenv("AWS_CA_BUNDLE", authority[0])
    else:
        del options["access_key_id"], options["secret_access_key"]
        (tmp_path / "config").write_text(
            f"[default]\nca_bundle = {authority[0]}\naws_access_key_id = {minio.account}\n"
            f"aws_secret_access_key = {minio.secret}\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert use(minio.bucket(), options) == [(1,)]


def test_an_authority_that_nobody_knows(minio, encrypted):
    with pytest.raises(
        StorageError, match=r"the certificate of https://.* is not trusted"
    ) as caught:
        use(minio.bucket(), encrypted)
    assert "ca_file=" in str(caught.value)


def test_plain_words_to_a_server_that_expects_tls_and_the_other_way_round(minio, encrypted):
    secure = {**minio.options(), "retries": 0}
    secure["endpoint_url"] = secure["endpoint_url"].replace("http:", "https:")
    with pytest.raises(StorageError, match="does not speak TLS"):
        use(minio.bucket(), secure)


def test_a_file_that_holds_no_certificate(minio, encrypted, tmp_path):
    for path in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        with pytest.raises(InputError, match="ca_file"):
            use(minio.bucket(), {**encrypted, "ca_file": str(path)})
        (tmp_path / "empty.pem").write_text("nothing")


@pytest.mark.parametrize("reader", READERS)
def test_a_proxy(minio, forward, reader):
    options = {**minio.options(), "reader": reader, "proxy_url": f"http://127.0.0.1:{forward.port}"}
    assert use(minio.bucket(), options) == [(1,)]
    asked = [head.split(b" ")[1] for head in forward.heads if b" HTTP/1.1\r\n" in head]
    assert any(url.startswith(minio.endpoint.encode()) for url in asked)
    assert any(url.endswith(b".parquet") for url in asked)


def test_a_proxy_with_a_password(minio, forward):
    proxy = f"http://me:{PASSWORD}@127.0.0.1:{forward.port}"
    options = {**minio.options(), "proxy_url": proxy}
    with lakehouse.connect(minio.bucket(), **options) as lake:
        lake.create_table("bronze.t", {"n": "BIGINT"}).append([{"n": 1}])
        shown = lake.sql("SELECT * FROM duckdb_settings()").fetchall()
    assert (
        PASSWORD not in f"{shown} {lake!r} {lake.catalog.storage!r} {lake.catalog.storage.settings}"
    )
    token = base64.b64encode(f"me:{PASSWORD}".encode())
    assert any(token in head for head in forward.heads)


def test_a_proxy_that_is_not_there(minio):
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    options = {
        **minio.options(),
        "proxy_url": f"http://me:{PASSWORD}@127.0.0.1:{port}",
        "retries": 0,
    }
    with pytest.raises(StorageError, match=r"nothing answers at .* through the proxy") as caught:
        use(minio.bucket(), options)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
