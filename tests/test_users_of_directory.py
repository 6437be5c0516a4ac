"""Users and passwords of a server whose data is in a directory: its engine has them."""

import pytest

from tensorkeep.backends import Backends
from tensorkeep.errors import StoreError
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, running_server

ODD = "p\"w ' #x"  # of what means something in a file of settings
MODEL = '{"op": "identity"}'
USERS = """
user default off
user admin on >admin-pw ~* &* +@all
user web on >web-pw ~shop:* +@read +@write +eval +evalsha -@model -@script (+ai.modelget +ttl ~o)
"""


@pytest.fixture
def serve(tmp_path):
    """Runs a server whose data is in one directory, again and again."""
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", FakeBackend())

    def run(**settings):
        return running_server(Settings(directory=str(tmp_path / "data"), **settings), backends)

    return run


def test_a_password_is_wanted_for_all_commands_and_after_a_restart(serve):
    with serve(password=ODD) as server, Wire(port_of(server)) as wire:
        for request in (["GET", "k"], ["AI.TENSORGET", "k", "VALUES"], ["SHUTDOWN"]):
            assert wire.ask(*request)[:7] == b"-NOAUTH"
        assert wire.ask("AUTH", "wrong")[:10] == b"-WRONGPASS"
        assert wire.ask("AUTH", ODD) == b"+OK\r\n"
        assert wire.ask("AI.TENSORSET", "k", "FLOAT", "1", "VALUES", "1") == b"+OK\r\n"
        assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", MODEL) == b"+OK\r\n"
    other = "another"
    with serve(password=other) as server, Wire(port_of(server)) as wire:
        assert wire.ask("GET", "k")[:7] == b"-NOAUTH"
        assert wire.ask("AUTH", "another") == b"+OK\r\n"
        run = ["AI.MODELEXECUTE", "m", "INPUTS", "1", "k", "OUTPUTS", "1", "y"]
        assert wire.ask(*run) == b"+OK\r\n"


def test_users_of_a_file_have_their_rights_to_the_engines_commands_and_to_ai_commands(
    serve, tmp_path
):
    path = tmp_path / "users.acl"
    path.write_text(USERS)
    with serve(user_file=str(path)) as server, Wire(port_of(server)) as wire:
        assert wire.ask("PING")[:7] == b"-NOAUTH"
        assert wire.ask("AUTH", "admin", "admin-pw") == b"+OK\r\n"
        assert wire.ask("AI.MODELSTORE", "shop:m", "ONNX", "CPU", "BLOB", MODEL) == b"+OK\r\n"
        assert wire.ask("AUTH", "web", "web-pw") == b"+OK\r\n"
        assert wire.ask("SET", "shop:k", "v") == b"+OK\r\n"
        assert wire.ask("SET", "k", "v")[:7] == b"-NOPERM"
        assert wire.ask("TTL", "o") == b":-2\r\n"
        assert wire.ask("CONFIG", "GET", "*")[:7] == b"-NOPERM"
        assert wire.ask("AI.MODELSTORE", "shop:n", "ONNX", "CPU", "BLOB", MODEL)[:7] == b"-NOPERM"
        assert wire.ask("AI.TENSORSET", "shop:x", "FLOAT", "1", "VALUES", "1") == b"+OK\r\n"
        run = ["AI.MODELEXECUTE", "shop:m", "INPUTS", "1", "shop:x", "OUTPUTS", "1"]
        assert wire.ask(*run, "shop:y") == b"+OK\r\n"
        assert wire.ask(*run, "y")[:7] == b"-NOPERM"


def test_the_passwords_stand_in_no_command_line_and_in_no_file_that_others_can_read(
    serve, tmp_path
):
    word = "hidden-word"
    with serve(password=word):
        settings = tmp_path / "data" / "engine.conf"
        assert settings.stat().st_mode & 0o777 == 0o600
        assert b"hidden-word" not in settings.read_bytes()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("user a on\nuser a off\n", "described twice"),
        ("user tensorkeep-server on nopass\n", "the server's own"),
        ("nonsense\n", "should start with"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_start(serve, tmp_path, content, told):
    path = tmp_path / "users.acl"
    path.write_text(content)
    with pytest.raises(StoreError, match=told), serve(user_file=str(path)):
        pass
