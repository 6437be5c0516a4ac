"""Clients that speak TLS, and those that should and do not."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from tensorkeep_server import tls_transport
from tensorkeep_server.cli import app
from tensorkeep_server.protected_mode import DENIED
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, request
from tensorkeep_server.tls import TlsSettings

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def authority(new_authority):
    """Has signed certificates of a server and of alice."""
    authority = new_authority()
    authority.sign("server")
    authority.sign("alice")
    return authority


@pytest.fixture
def tls_settings(authority):
    return TlsSettings(
        0,
        str(authority.folder / "server.crt"),
        str(authority.folder / "server.key"),
        ca_cert_file=authority.certificate,
        auth_clients="optional",
    )


@pytest.fixture
def run_tls(run_server, tls_settings):
    """Runs a server; TLS is set as is said, and a store is what the tests were told."""

    @contextmanager
    def run(settings=None, **changed):
        settings = replace(settings or Settings(), tls=replace(tls_settings, **changed))
        with run_server(settings) as server:
            yield server

    return run


@pytest.fixture
def server(run_tls):
    with run_tls() as server:
        yield server


@pytest.fixture
def connect(authority):
    """Connects to a server: `connect(server)`, or `connect(server, "alice")` with a certificate."""
    with ExitStack() as stack:
        yield lambda server, name=None, context=None: stack.enter_context(
            Wire(server.tls_port, context or authority.trusting(name))
        )


def until(condition, patience=10.0):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# --------------------------------------------------------------------------- clients
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_redis_py_is_served(server, authority, protocol, version):
    with redis.Redis(
        port=server.tls_port,
        ssl=True,
        ssl_ca_certs=authority.certificate,
        ssl_min_version=version,
        protocol=protocol,
    ) as client:
        large = os.urandom(3 * MIB)
        client.set("key", large)
        client.execute_command("AI.TENSORSET", "t", "FLOAT", 2, "VALUES", 1, 2)

        assert client.get("key") == large
        assert [float(each) for each in client.execute_command("AI.TENSORGET", "t", "VALUES")] == [
            *(1.0, 2.0)
        ]
        with client.pipeline(transaction=False) as many:
            for number in range(5000):
                many.set(f"k{number}", number)
            assert all(many.execute())


@pytest.mark.memory_store("users are the engine's")
@pytest.mark.skipif(not shutil.which("redis-cli"), reason="needs redis-cli")
def test_redis_cli_is_served_and_its_certificate_is_its_user(run_tls, authority):
    with run_tls(auth_clients="yes", auth_clients_user="CN") as server:
        server.users.change(b"alice", [b"on", b"nopass", b"+@all", b"~*"])
        command = ["redis-cli", "-p", str(server.tls_port), "--tls"]
        folder = authority.folder
        trusting = ["--cacert", authority.certificate]
        alice = ["--cert", folder / "alice.crt", "--key", folder / "alice.key"]

        def say(*words):
            done = subprocess.run([*command, *words], capture_output=True, timeout=30, check=False)
            return done.stdout + done.stderr

        assert say(*trusting, *alice, "ACL", "WHOAMI") == b"alice\n"
        assert b"closed the connection" in say(*trusting, "PING")
        assert b"certificate verify failed" in say(*alice, "PING")


def test_the_port_without_tls_is_served_beside_it(server, connect):
    with Wire(port_of(server)) as plain:
        plain.ask("SET", "key", "value")

    assert connect(server).ask("GET", "key") == b"$5\r\nvalue\r\n"


@pytest.mark.memory_store("CONFIG is the engine's")
def test_info_and_config_tell_the_ports(run_tls, connect):
    with run_tls() as server:
        wire = connect(server)

        assert f" laddr=127.0.0.1:{server.tls_port} ".encode() in wire.read("CLIENT", "INFO")
        assert wire.read("CONFIG", "GET", "tls-port") == [b"tls-port", b"%d" % server.tls_port]
        assert f"tcp_port:{server.port}\r\n".encode() in wire.read("INFO", "server")


# --------------------------------------------------------------------------- who is let in
def test_a_client_without_a_certificate_is_refused_where_one_is_required(run_tls, connect):
    with run_tls(auth_clients="yes") as server:
        assert connect(server, "alice").ask("PING") == b"+PONG\r\n"
        wire = connect(server)  # TLSv1.3: it hears of it when it reads
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            wire.ask("PING")


@pytest.mark.parametrize("mode", ["yes", "optional"])
def test_a_certificate_of_another_authority_is_refused(
    run_tls, connect, new_authority, authority, mode
):
    context = authority.trusting()
    context.load_cert_chain(*new_authority("other").sign("alice"))

    with run_tls(auth_clients=mode) as server:
        wire = connect(server, context=context)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            wire.ask("PING")


@pytest.mark.memory_store("users are the engine's")
def test_a_certificate_logs_in_as_the_user_of_its_name_if_there_is_one(run_tls, connect):
    with run_tls(auth_clients_user="CN") as server:
        server.users.set_password(b"secret")
        assert connect(server, "alice").ask("GET", "k") == b"-NOAUTH Authentication required.\r\n"

        server.users.change(b"alice", [b"on", b">unknown", b"+@all", b"~*"])
        wire = connect(server, "alice")
        assert wire.ask("ACL", "WHOAMI") == b"$5\r\nalice\r\n"
        assert connect(server).ask("ACL", "WHOAMI") == b"-NOAUTH Authentication required.\r\n"

        wire.ask("RESET")
        assert wire.ask("GET", "k") == b"-NOAUTH Authentication required.\r\n"

        server.users.change(b"alice", [b"off"])
        assert connect(server, "alice").ask("GET", "k") == b"-NOAUTH Authentication required.\r\n"
        server.users.set_password(b"")  # it is ended by whoever comes


@pytest.mark.memory_store("users are the engine's")
def test_the_audit_log_tells_who_is_let_in_by_a_certificate(run_tls, connect, tmp_path):
    path = tmp_path / "audit.log"
    with run_tls(Settings(audit_log=str(path)), auth_clients_user="CN") as server:
        server.users.change(b"alice", [b"on", b"+@all"])
        connect(server, "alice").ask("PING")
        connect(server).ask("PING")

    (entry,) = map(json.loads, path.read_text().splitlines())
    assert (entry["user"], entry["command"], entry["outcome"]) == ("alice", "", "ok")


@pytest.mark.memory_store("users are the engine's")
def test_a_certificate_alone_names_nobody(run_tls, connect):
    with run_tls() as server:
        server.users.change(b"alice", [b"on", b"nopass", b"+@all"])

        assert connect(server, "alice").ask("ACL", "WHOAMI") == b"$7\r\ndefault\r\n"


def test_a_client_of_another_machine_is_told_that_there_is_no_password(
    server, connect, monkeypatch
):
    monkeypatch.setattr("tensorkeep_server.connection.is_elsewhere", lambda _: True)
    wire = connect(server)
    assert wire.reply() == DENIED
    with pytest.raises(EOFError):
        wire.reply()
    until(lambda: not server.clients)
    monkeypatch.undo()
    assert connect(server).ask("PING") == b"+PONG\r\n"


def test_only_the_versions_that_are_set_are_spoken(run_tls, connect, authority):
    old = authority.trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with run_tls(protocols="TLSv1.3") as server:
        assert connect(server).socket.version() == "TLSv1.3"
        with pytest.raises(ssl.SSLError, match="version"):
            connect(server, context=old)


def test_the_ciphers_that_are_set_are_used(run_tls, connect, authority):
    context = authority.trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with run_tls(ciphers="ECDHE-ECDSA-CHACHA20-POLY1305") as server:
        assert connect(server, context=context).socket.cipher()[0] == (
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        )


# --------------------------------------------------------------------------- large, slow, half
def test_a_value_of_100_mb_goes_both_ways_while_others_are_served(server, connect):
    large = memoryview(bytes(100 * MIB))
    wire, other = connect(server), connect(server)
    wire.socket.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % len(large))
    wire.socket.sendall(large)
    wire.socket.sendall(b"\r\n")
    assert wire.reply() == b"+OK\r\n"

    wire.send("GET", "k")
    assert other.ask("PING") == b"+PONG\r\n"  # the reply waits for its reader
    assert len(wire.reply()) == len(b"$%d\r\n\r\n" % len(large)) + len(large)


@pytest.mark.memory_store("CLIENT is the engine's")
def test_who_reads_slowly_makes_the_server_hold_little(server, connect):
    wire = connect(server)
    value = bytes(8 * MIB)
    wire.ask("SET", "k", value)
    for _ in range(20):
        wire.send("GET", "k")
    other = connect(server)
    assert other.ask("PING") == b"+PONG\r\n"
    info = {
        int(line.split(b" ")[0][3:]): line for line in other.read("CLIENT", "LIST").splitlines()
    }
    held = int(min(info.items())[1].split(b"tot-mem=")[1].split(b" ")[0])

    assert held < 2 * len(value) + MIB
    for _ in range(20):
        assert len(wire.reply()) == len(value) + len(b"$8388608\r\n\r\n")


def test_requests_in_single_bytes_are_done(server, connect):
    wire = connect(server)
    for each in request("ECHO", "hello"):
        wire.socket.sendall(bytes([each]))

    assert wire.reply() == b"$5\r\nhello\r\n"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_says_that_it_sends_no_more_gets_all_its_replies(server, authority, version):
    context = authority.trusting()
    context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with closing(socket.create_connection(("127.0.0.1", server.tls_port), timeout=10)) as sock:

        def wanted(action):
            while True:
                try:
                    return action()
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    data = sock.recv(65536)
                    if data:
                        incoming.write(data)
                    else:
                        incoming.write_eof()

        wanted(tls.do_handshake)
        tls.write(request("SET", "k", bytes(MIB)) + 3 * request("GET", "k"))
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
        got = b""
        sock.sendall(outgoing.read())
        while True:  # once both have said goodbye, OpenSSL reads no more: decrypted by hand
            data = sock.recv(65536)
            if not data:
                break
            got += data

    assert len(got) > 3 * MIB


@pytest.mark.memory_store("CLIENT is the engine's")
def test_a_client_that_is_killed_is_gone_at_once(server, connect):
    wire, other = connect(server), connect(server)
    identity = wire.read("CLIENT", "ID")

    assert other.ask("CLIENT", "KILL", "ID", identity) == b":1\r\n"
    with pytest.raises((EOFError, OSError)):
        wire.ask("PING")
    until(lambda: identity not in server.clients)


def test_subscribers_hear_messages(server, connect):
    wire, other = connect(server), connect(server)
    wire.ask("SUBSCRIBE", "news")
    other.ask("PUBLISH", "news", "text")

    assert wire.reply() == b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$4\r\ntext\r\n"


# --------------------------------------------------------------------------- handshakes
def test_a_handshake_that_never_ends_is_ended_and_counts_as_a_client_until_then(
    server, connect, monkeypatch
):
    monkeypatch.setattr(tls_transport, "HANDSHAKE_LIMIT", 0.5)
    wire = connect(server)
    with closing(socket.create_connection(("127.0.0.1", server.tls_port), timeout=10)) as silent:
        silent.sendall(b"\x16\x03\x01")
        until(lambda: len(server.clients) == 2)
        assert silent.recv(10) == b""
    until(lambda: len(server.clients) == 1)
    assert wire.ask("PING") == b"+PONG\r\n"


def test_plain_bytes_and_nonsense_end_their_own_connection_and_are_logged_once(
    server, connect, caplog
):
    wire = connect(server)
    for nonsense in (request("PING"), b"GET / HTTP/1.1\r\n\r\n", os.urandom(5000), b"\x16\x03"):
        for _ in range(10):
            with closing(socket.create_connection(("127.0.0.1", server.tls_port), 10)) as sock:
                sock.sendall(nonsense)
                sock.shutdown(socket.SHUT_WR)
                with suppress(ConnectionError):
                    while sock.recv(4096):
                        pass

    assert wire.ask("PING") == b"+PONG\r\n"
    said = [each for each in caplog.records if each.levelname in {"WARNING", "ERROR"}]
    assert len([each for each in said if "TLS handshake" in each.message]) == len(said) == 1
    until(lambda: len(server.clients) == 1)


def test_beyond_max_clients_connections_are_closed(run_tls, connect):
    with run_tls(Settings(max_clients=2)) as server:
        wires = [connect(server) for _ in range(2)]
        with pytest.raises((ssl.SSLError, OSError)):
            connect(server)
        assert [each.ask("PING") for each in wires] == [b"+PONG\r\n"] * 2
        for wire in wires:
            wire.close()


def test_many_connect_at_once(server, authority):
    context = authority.trusting()
    plain = [Wire(server.tls_port) for _ in range(50)]
    for wire in plain:
        with context.wrap_socket(wire.socket, server_hostname="localhost") as sock:
            sock.sendall(request("PING"))
            assert sock.recv(100) == b"+PONG\r\n"


# --------------------------------------------------------------------------- changes
def peer_name(wire):
    return dict(part[0] for part in wire.socket.getpeercert()["subject"])["commonName"]


@pytest.mark.memory_store("CONFIG is the engine's")
def test_config_set_changes_certificate_and_key_together_for_new_clients(
    server, connect, authority, caplog
):
    certificate, key = (str(authority.folder / f"alice.{kind}") for kind in ("crt", "key"))
    before = connect(server)
    refused = before.ask("CONFIG", "SET", "tls-cert-file", certificate)
    assert refused == (
        b"-ERR CONFIG SET failed (possibly related to argument 'tls-cert-file') - Unable to update"
        b" TLS configuration. Check server logs.\r\n"
    )
    assert "key values mismatch" in caplog.text
    assert peer_name(connect(server)) == "server"

    pair = ("tls-cert-file", certificate, "tls-key-file", key)
    assert before.ask("CONFIG", "SET", *pair) == b"+OK\r\n"
    assert peer_name(connect(server)) == "alice"
    assert before.ask("PING") == b"+PONG\r\n"
    assert before.ask("CONFIG", "SET", "tls-auth-clients", "Yes") == b"+OK\r\n"
    assert before.read("CONFIG", "GET", "tls-auth-clients") == [b"tls-auth-clients", b"yes"]
    with pytest.raises((ssl.SSLError, OSError)):
        connect(server).ask("PING")


@pytest.mark.memory_store("CONFIG is the engine's")
def test_the_password_of_a_key_is_in_no_log(server, connect):
    wire = connect(server)
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", 0)
    wire.ask("CONFIG", "SET", "tls-key-file-pass", "hidden")

    assert b"(redacted)" in (logged := wire.ask("SLOWLOG", "GET"))
    assert b"hidden" not in logged


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_sighup_reads_certificates_anew_and_keeps_connections_and_bad_files_change_nothing(
    authority, tmp_path
):
    for kind in ("crt", "key"):
        shutil.copy(authority.folder / f"server.{kind}", tmp_path / f"mine.{kind}")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tensorkeep_server", "serve", "--port", "0"),
                *("--tls-port", str(port), "--tls-cert-file", tmp_path / "mine.crt"),
                *("--tls-key-file", tmp_path / "mine.key", "--tls-auth-clients", "no"),
            ],
            stdout=written,
            stderr=subprocess.STDOUT,
            env={k: v for k, v in os.environ.items() if not k.startswith("TENSORKEEP_")},
        )
    try:
        until(lambda: f"ready on 127.0.0.1:{port} (TLS)" in log.read_text(), 30)
        context = authority.trusting()
        with Wire(port, context) as wire:
            assert wire.read("CONFIG", "GET", "port") == [b"port", b"0"]
            for kind in ("crt", "key"):
                shutil.copy(authority.folder / f"alice.{kind}", tmp_path / f"mine.{kind}")
            process.send_signal(signal.SIGHUP)
            until(lambda: "were read anew" in log.read_text())
            with Wire(port, context) as other:
                assert peer_name(other) == "alice"

            Path(tmp_path / "mine.crt").write_text("nonsense")
            process.send_signal(signal.SIGHUP)
            until(lambda: "are not read anew, those before stay" in log.read_text())
            with Wire(port, context) as other:
                assert peer_name(other) == "alice"
            assert wire.ask("PING") == b"+PONG\r\n"
    finally:
        process.terminate()
        process.wait(20)
    assert process.returncode == 0


# --------------------------------------------------------------------------- our own programs
@pytest.mark.memory_store("users are the engine's")
def test_our_programs_speak_tls_and_log_in(run_tls, authority):
    folder = authority.folder
    with run_tls(auth_clients="yes", auth_clients_user="CN") as server:
        server.users.change(b"bob", [b"on", b">hidden", b"+@all", b"~*"])
        server.users.change(b"default", [b"off"])
        shown = {"--cacert": authority.certificate, "--cert": folder / "alice.crt"} | {
            "--cert-key": folder / "alice.key"
        }

        def info(*words, files=shown):
            words = [*words, *(word for pair in files.items() for word in pair)]
            return CliRunner().invoke(app, ["info", "--json", *map(str, words)])

        by_port = info("--port", server.tls_port, "--user", "bob", "--pass", "hidden")
        by_url = info("--url", f"rediss://bob:hidden@localhost:{server.tls_port}")
        by_flag = info("--tls", "--url", f"redis://bob:hidden@localhost:{server.tls_port}")
        stranger = info("--port", server.tls_port)
        distrustful = info("--tls", "--port", server.tls_port, files={})
        server.users.change(b"default", [b"on", b"nopass", b"+@all"])

    assert [each.exit_code for each in (by_port, by_url, by_flag)] == [0, 0, 0]
    assert stranger.exit_code == distrustful.exit_code == 1
    assert "Authentication required" in stranger.output
    assert "certificate verify failed" in distrustful.output
