"""Engines are reached over TLS, and one whose certificate is not trusted is not."""

import asyncio
import shutil
import subprocess

import pytest

from tensorkeep.errors import StoreError
from tensorkeep.store import Host
from tensorkeep_valkey.store import open_store
from tensorkeep_valkey.testing import PRESENT, free_port, running_engine

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None or "redis" not in PRESENT, reason="nothing here speaks TLS"
)


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """An engine that speaks TLS: its port, and the certificate to trust."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    options = {
        "--tls-port": port,
        "--tls-cert-file": certificate,
        "--tls-key-file": key,
        "--tls-ca-cert-file": certificate,
        "--tls-auth-clients": "no",
    }
    words = [str(word) for pair in options.items() for word in pair]
    with running_engine("redis", *words):
        yield port, certificate


@pytest.fixture(autouse=True)
async def farewells():
    """TLS takes a few turns of the loop to end a connection, which the loop must not end before."""
    yield
    await asyncio.sleep(0.1)


async def test_values_of_all_sizes_pass(farewells, begin, secure):
    port, certificate = secure
    started = await begin(f"valkeys://localhost:{port}?ssl_ca_certs={certificate}")
    client = started.client()
    value = bytes(range(256)) * 4000

    assert await client.do("SET", "key", value) == b"+OK\r\n"
    assert (await client.do("GET", "key")).endswith(value + b"\r\n")
    assert await client.ask("GET", "key") == value


@pytest.mark.parametrize(
    ("options", "host", "told"),
    [
        ("", "localhost", "CERTIFICATE_VERIFY_FAILED"),
        ("?ssl_ca_certs={}", "127.0.0.1", "IP address mismatch"),
    ],
)
async def test_who_is_not_trusted_is_told(secure, options, host, told):
    port, certificate = secure
    store = open_store(
        f"valkeys://{host}:{port}{options.format(certificate)}",
        Host(engine=None, directory="", options={}),
    )
    try:
        with pytest.raises(StoreError, match=told):
            await store.start()
    finally:
        await store.close()


async def test_a_secure_port_is_not_reached_without_tls(secure, monkeypatch):
    monkeypatch.setattr("tensorkeep_valkey.store._AWAITED", 0.0)  # it might be starting
    port, _ = secure
    store = open_store(f"valkey://localhost:{port}", Host(engine=None, directory="", options={}))
    try:
        with pytest.raises(StoreError, match="engine at valkey://localhost"):
            await store.start()
    finally:
        await store.close()
