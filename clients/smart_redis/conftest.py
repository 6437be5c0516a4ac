"""Where this client is told of the server, and where it logs.

It reads the name of its log file but once in a process, so all its tests share one.
"""

import pytest


@pytest.fixture(scope="session")
def log_file(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "client.log"


@pytest.fixture(scope="session")
def session_environment(log_file):
    """What the client reads but once; its log goes where the first client of all was told."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SR_LOG_FILE", str(log_file))
        patch.setenv("SR_LOG_LEVEL", "INFO")
        yield


@pytest.fixture
def environment(session_environment, port, monkeypatch):
    """The client is told of the server by the environment; a slow machine is given time."""
    monkeypatch.setenv("SSDB", f"127.0.0.1:{port}")
    monkeypatch.setenv("SR_DB_TYPE", "Standalone")
    monkeypatch.setenv("SR_SOCKET_TIMEOUT", "30000")
    return monkeypatch


@pytest.fixture(scope="session")
def address(port):
    return f"127.0.0.1:{port}"
