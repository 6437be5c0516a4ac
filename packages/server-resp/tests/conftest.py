"""A server with the fake backend, so that no test here imports a framework."""

import shutil
import ssl
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, running_server


@pytest.fixture
def fake():
    """The backend behind the name ONNX."""
    return FakeBackend()


@pytest.fixture
def backends(fake):
    """The backends of `server`: ONNX is the fake one, and there is no other."""
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", fake)
    return backends


@pytest.fixture
def run_server(new_store):
    """Runs a server as `running_server` does, with the store that the tests were told."""

    @contextmanager
    def run(settings=None, backends=None):
        with (
            new_store() as url,
            running_server(replace(settings or Settings(), store=url), backends) as server,
        ):
            yield server

    return run


@pytest.fixture
def server(backends, run_server):
    """A server of this test's own.

    Its runs keep their order: one that blocks holds up the others, however slow the machine is,
    and is not ended before the test lets it go on.
    """
    engine = EngineConfig(overtake_after=0, model_execution_timeout=100)
    with run_server(Settings(engine=engine), backends) as state:
        yield state


@pytest.fixture
def connect(server):
    """Opens further connections, which end with the test."""
    wires = []

    def make():
        wire = Wire(port_of(server))
        wires.append(wire)
        return wire

    yield make
    for wire in wires:
        wire.close()


@pytest.fixture
def wire(connect):
    """A raw connection to the server."""
    return connect()


@pytest.fixture
def vanish(server):
    """Closes a connection and waits until the server has noticed."""

    def vanish(wire):
        before, deadline = len(server.clients), time.monotonic() + 30
        wire.close()
        while len(server.clients) == before:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    return vanish


@pytest.fixture(scope="session")
def type_line(type_names):
    """Gives the reply of TYPE for a tensor, model or script, by the type that RedisAI has."""
    return lambda name: f"+{type_names[name]}\r\n".encode()


# --------------------------------------------------------------------------- certificates
@dataclass(frozen=True)
class Authority:
    """One that signs certificates; `folder` holds its own, and what it has signed."""

    folder: Path

    @property
    def certificate(self):
        return str(self.folder / "ca.crt")

    def sign(self, name):
        """Makes a certificate and its key for localhost and 127.0.0.1; returns their paths."""
        key, request, signed, extensions = (
            self.folder / f"{name}.{kind}" for kind in ("key", "csr", "crt", "ext")
        )
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        _openssl("req", "-nodes", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        _openssl(
            *("x509", "-req", "-days", "2", "-in", request, "-out", signed, "-extfile", extensions),
            *("-CA", self.certificate, "-CAkey", self.folder / "ca.key", "-CAcreateserial"),
        )
        return str(signed), str(key)

    def encrypt(self, key, password):
        """Encrypts a key; returns the path of another file."""
        encrypted = f"{key}.encrypted"
        _openssl("ec", "-in", key, "-out", encrypted, "-aes256", "-passout", f"pass:{password}")
        return encrypted

    def trusting(self, name=None):
        """Returns what clients need that trust it; one has the certificate that is named."""
        context = ssl.create_default_context(cafile=self.certificate)
        if name is not None:
            context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        return context


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def _openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="session")
def new_authority(tmp_path_factory):
    """Makes one that signs certificates."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make certificates")

    def make(name="ca"):
        folder = tmp_path_factory.mktemp("certificates")
        _openssl(
            *("req", "-x509", "-days", "2", "-nodes", *_KEY, "-subj", f"/CN={name}"),
            *("-keyout", folder / "ca.key", "-out", folder / "ca.crt"),
        )
        return Authority(folder)

    return make
