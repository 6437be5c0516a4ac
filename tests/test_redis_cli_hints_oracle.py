"""redis-cli shows the same arguments for a command here as with a real Redis."""

import re
import subprocess

import pytest

GROUPS = (
    *("generic", "string", "list", "hash", "set", "sorted-set", "connection", "transactions"),
    *("pubsub", "server", "cluster"),
)
DIFFERENT = {  # what there is less of here, and what Redis does not say
    "CLIENT KILL": "its filters can be repeated there, and one may name replicas by an older word",
    "CLIENT TRACKING": "it is refused, whatever its options",
    "COMMAND GETKEYS": "its arguments are not documented there",
}
ENTRY = re.compile(r"^  \x1b\[1m(.*?)\x1b\[0m \x1b\[90m(.*?)\x1b\[0m$", re.MULTILINE)


@pytest.fixture
def shown(tool, redis_cli_7):
    """Returns what redis-cli shows as the arguments of each command of some groups."""
    program = tool("redis-cli")

    def shown(port):
        found = {}
        for group in GROUPS:
            done = subprocess.run(
                [program, "-p", str(port), "help", f"@{group}"],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            )
            assert done.stderr == ""
            found |= dict(ENTRY.findall(done.stdout))
        return found

    return shown


@pytest.mark.memory_store("the engine describes its commands")
def test_arguments_are_shown_as_with_a_real_redis(ours, theirs, shown):
    mine, other = shown(ours.port), shown(theirs.port)

    both = mine.keys() & other.keys()
    assert len(both) > 150
    assert {name for name in both if mine[name] != other[name]} == DIFFERENT.keys()
