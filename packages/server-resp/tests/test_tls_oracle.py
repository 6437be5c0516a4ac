"""The settings of TLS are read, shown and refused as a real Redis does."""

import shutil
import subprocess

import pytest

from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire
from tensorkeep_server.tls import TlsSettings

testing = pytest.importorskip("tensorkeep_valkey.testing")

SET = (
    ("tls-auth-clients", "maybe"),
    ("tls-auth-clients", "No"),
    ("tls-auth-clients", "OPTIONAL"),
    ("tls-cert-file", "/nowhere"),
    ("tls-cert-file", "{folder}/alice.crt"),
    ("tls-key-file", "{folder}/alice.key"),
    ("tls-cert-file", "{folder}/alice.crt", "tls-key-file", "{folder}/alice.key"),
    ("tls-cert-file", "{folder}/server.crt", "tls-key-file", "/nowhere"),
    ("tls-key-file-pass", "needless"),
    ("tls-ca-cert-file", "/nowhere"),
    ("tls-ca-cert-file", "", "tls-auth-clients", "yes"),
    ("tls-protocols", "TLSv1.3"),
    ("tls-protocols", "tlsv1.2 TLSv1.3"),
    ("tls-protocols", "SSLv3"),
    ("tls-protocols", ""),
    ("tls-ciphers", "nonsense"),
    ("tls-ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("timeout", "5", "tls-cert-file", "/nowhere"),
    ("tls-cert-file", "/nowhere", "timeout", "5"),
)
NAMES = (
    *("tls-auth-clients", "tls-cert-file", "tls-key-file", "tls-key-file-pass"),
    *("tls-ca-cert-file", "tls-ca-cert-dir", "tls-protocols", "tls-ciphers", "timeout"),
)


@pytest.fixture(scope="module")
def authority(new_authority):
    authority = new_authority()
    authority.sign("server")
    authority.sign("alice")
    return authority


@pytest.fixture
def redis(authority):
    """The port of a Redis that speaks TLS; one that was built without it says so and ends."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    built = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    if "libssl" not in built:
        pytest.skip("needs a redis-server that was built with TLS")
    port = testing.free_port()
    options = {
        "--tls-port": port,
        "--tls-cert-file": authority.folder / "server.crt",
        "--tls-key-file": authority.folder / "server.key",
        "--tls-ca-cert-file": authority.certificate,
    }
    words = [str(word) for pair in options.items() for word in pair]
    with testing.running_engine("redis", *words):
        yield port


@pytest.mark.memory_store("CONFIG is the engine's")
def test_settings_are_taken_shown_and_refused_alike(redis, run_server, authority):
    settings = TlsSettings(
        0,
        str(authority.folder / "server.crt"),
        str(authority.folder / "server.key"),
        ca_cert_file=authority.certificate,
    )
    context = authority.trusting("alice")
    with (
        run_server(Settings(tls=settings)) as server,
        Wire(server.tls_port, context) as ours,
        Wire(redis, context) as real,
    ):
        for words in SET:
            asked = [word.format(folder=authority.folder) for word in words]
            said = [
                (
                    each.ask("CONFIG", "SET", *asked),
                    [each.read("CONFIG", "GET", name) for name in NAMES],
                )
                for each in (ours, real)
            ]
            assert said[0] == said[1], asked
