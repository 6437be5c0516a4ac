"""An engine is judged by the version of Redis that it is compatible with."""

import pytest

from tensorkeep_valkey.engine_info import read_info


@pytest.mark.parametrize(
    ("text", "name", "version", "too_old"),
    [
        ("redis_version:6.0.16\r\nrole:master\r\n", "redis", "6.0.16", True),
        ("redis_version:6.2.5\r\n", "redis", "6.2.5", False),
        ("redis_version:7.0.15\r\n", "redis", "7.0.15", False),
        ("redis_version:10.0.0\r\n", "redis", "10.0.0", False),
        (
            "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n",
            "valkey",
            "9.1.2",
            False,
        ),
        ("", "", "", False),
    ],
)
def test_names_and_versions(text, name, version, too_old):
    engine = read_info(text.encode())

    assert (engine.name, engine.version, engine.too_old) == (name, version, too_old)


def test_role_and_loading():
    engine = read_info(b"# Persistence\r\nloading:1\r\n\r\n# Replication\r\nrole:slave\r\n")

    assert (engine.role, engine.loading) == ("slave", True)


def test_databases_that_have_keys():
    engine = read_info(b"# Keyspace\r\ndb0:keys=1,expires=0\r\ndb12:keys=3,expires=1\r\ndbx:1\r\n")

    assert engine.databases == (0, 12)
