"""Which files a worker may read."""

from pathlib import Path
from types import SimpleNamespace

from tensorkeep_workers_process.readable_files import imported_from, loaded_from, outermost


def test_modules_come_from_the_path_and_from_where_packages_were_found():
    modules = {
        "found": SimpleNamespace(__path__=["/elsewhere/found"]),
        "found.inner": SimpleNamespace(__path__=["/elsewhere/found/inner"]),
        "plain": SimpleNamespace(),
    }
    found = [*imported_from(["/path", "/path/archive.zip"], modules)]
    assert found == [Path("/path"), Path("/path/archive.zip"), Path("/elsewhere/found")]


def test_libraries_are_what_is_loaded_and_is_one():
    maps = """\
55d0-55d1 r--p 00000000 fe:00 2244617                    /usr/bin/python3.11
7f00-7f01 r-xp 00000000 fe:00 2244618                    /opt/a library/libmodel.so.2
7f02-7f03 rw-p 00000000 00:00 0
7f04-7f05 rw-s 00000000 00:01 17                         /memfd:arena (deleted)
7f06-7f07 rw-s 00000000 00:01 18                         /home/user/data.sock
7ffc-7ffd rw-p 00000000 00:00 0                          [stack]
"""
    assert [*loaded_from(maps.splitlines())] == [Path("/opt/a library")]


def test_a_path_in_another_one_is_left_out():
    paths = map(Path, ("/usr/lib/python3", "/usr/lib", "/usr/lib64", "/usr/lib", "/usr/library"))
    assert outermost(paths) == (Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/library"))
