"""What a confined process may do and what it may not, tried in real ones."""

import os
import re
import socket
import threading

import pytest

from tensorkeep_workers_process.confinement import Confinement, available, confine
from tensorkeep_workers_process.readable_files import Plan, plan
from tensorkeep_workers_process.testing import DENIED, confined

needs_landlock = pytest.mark.skipif(not available().landlock, reason="no Landlock here")
needs_seccomp = pytest.mark.skipif(not available().system_calls, reason="no seccomp here")
needs_both = pytest.mark.skipif(
    not (available().landlock and available().system_calls), reason="not all layers are here"
)


def refused(found, *names):
    return all(re.search(DENIED, found[name]) for name in names)


# --------------------------------------------------------------------------- files
@needs_landlock
def test_no_file_but_the_frameworks_can_be_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    found = confined(f"""
        attempt("passwd", lambda: open("/etc/passwd").read())
        attempt("secret", lambda: open({str(secret)!r}).read())
        attempt("through root", lambda: open("/proc/self/root{secret}").read())
        attempt("list", lambda: os.listdir({str(tmp_path)!r}))
        attempt("other process", lambda: open(f"/proc/{{os.getppid()}}/cmdline").read())
        attempt("memory of another", lambda: open(f"/proc/{{os.getppid()}}/mem", "rb").read(1))
        attempt("environment of another", lambda: open(f"/proc/{{os.getppid()}}/environ").read())
        attempt("files of another", lambda: os.listdir(f"/proc/{{os.getppid()}}/fd"))
    """)
    assert len(found) == 8
    assert refused(found, *found), found


@needs_landlock
def test_what_python_and_libraries_read_can_be_read():
    found = confined("""
        attempt("module", lambda: __import__("sqlite3").__name__)
        attempt("library", lambda: __import__("ctypes").CDLL("libm.so.6").cos is not None)
        attempt("processors", lambda: "processor" in open("/proc/cpuinfo").read())
        attempt("memory", lambda: "MemTotal" in open("/proc/meminfo").read())
        attempt("itself", lambda: "Threads" in open("/proc/self/status").read())
        attempt("random", lambda: len(open("/dev/urandom", "rb").read(4)))
        attempt("cores", lambda: os.cpu_count() > 0)
        attempt("time", lambda: __import__("time").strftime("%Z") != "")
    """)
    assert found == {
        **dict.fromkeys(("library", "processors", "memory", "itself", "cores", "time"), "True"),
        "module": "'sqlite3'",
        "random": "4",
    }


def test_nothing_can_be_written(tmp_path):
    if not available():
        pytest.skip("no sandbox here")
    there = tmp_path / "there"
    there.write_text("as it was")
    found = confined(f"""
        import pathlib, shutil, tempfile
        path = pathlib.Path({str(there)!r})
        attempt("change", lambda: path.write_text("changed"))
        attempt("append", lambda: path.open("a"))
        attempt("create", lambda: path.with_name("new").touch())
        attempt("nameless", lambda: os.open(path.parent, os.O_TMPFILE | os.O_RDWR))
        attempt("remove", path.unlink)
        attempt("rename", lambda: path.rename(path.with_name("other")))
        attempt("folder", lambda: path.with_name("folder").mkdir())
        attempt("link", lambda: path.with_name("link").symlink_to("/etc/passwd"))
        attempt("cut", lambda: os.truncate(path, 0))
        attempt("own memory", lambda: open("/proc/self/mem", "r+b"))
        attempt("score", lambda: open("/proc/self/oom_score_adj", "w"))
        attempt("into Python", lambda: open(os.__file__, "a"))
    """)
    assert len(found) == 12
    assert refused(found, *found), found
    assert [each.read_text() for each in tmp_path.iterdir()] == ["as it was"]


@needs_seccomp
def test_what_landlock_leaves_open_about_files_is_refused_as_well(tmp_path):
    there = tmp_path / "there"
    there.touch(mode=0o600)
    found = confined(f"""
        path = {str(there)!r}
        attempt("rights", lambda: os.chmod(path, 0o777))
        attempt("owner", lambda: os.chown(path, 1, 1))
        attempt("times", lambda: os.utime(path, (0, 0)))
        attempt("attribute", lambda: os.setxattr(path, "user.a", b"b"))
        attempt("folder", lambda: os.chdir("/"))
    """)
    assert len(found) == 5
    assert refused(found, *found), found
    assert there.stat().st_mode & 0o777 == 0o600


# --------------------------------------------------------------------------- the network
@needs_seccomp
def test_no_socket_can_be_opened():
    found = confined("""
        import socket
        for family in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK"):
            for kind in ("SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW"):
                family_, kind_ = getattr(socket, family), getattr(socket, kind)
                attempt(family + kind, lambda: socket.socket(family_, kind_))
        attempt("pair", socket.socketpair)
        attempt("name", lambda: socket.create_connection(("localhost", 80)))
    """)
    assert len(found) == 20
    assert refused(found, *(each for each in found if each != "name")), found
    assert "error" in found["name"]


@needs_seccomp
def test_a_socket_that_was_open_sends_and_receives_and_connects_to_nothing_else(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        found = confined(
            f"""
            attempt("connect", lambda: unconnected.connect({str(tmp_path / "socket")!r}))
            attempt("bind", lambda: unconnected.bind(b"\\0abstract"))
            attempt("send", lambda: ours.send(b"hello"))
            attempt("receive", lambda: theirs.recv(10))
            attempt("descriptors", lambda: socket.send_fds(ours, [b"x"], [0]))
            """,
            before="import socket; ours, theirs = socket.socketpair()\n"
            "unconnected = socket.socket(socket.AF_UNIX)",
        )
    assert refused(found, "connect", "bind"), found
    assert (found["send"], found["receive"], found["descriptors"]) == ("5", "b'hello'", "1")


# --------------------------------------------------------------------------- processes
@needs_seccomp
def test_no_program_and_no_process_can_be_started():
    found = confined("""
        import subprocess
        attempt("program", lambda: subprocess.run(["true"]))
        attempt("shell", lambda: os.system("exit 7"))
        attempt("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
        attempt("instead", lambda: os.execv("/bin/true", ["true"]))
        attempt("fork", os.fork)
    """)
    assert refused(found, "program", "spawn", "instead", "fork"), found
    assert found["shell"] != repr(7 << 8)


@needs_landlock
def test_no_program_can_be_started_with_landlock_alone():
    found = confined(
        'attempt("instead", lambda: os.execv("/bin/true", ["true"]))',
        before="from tensorkeep_workers_process import system_calls\n"
        'system_calls._why_missing = "it is left out"',
    )
    assert refused(found, "instead"), found


@needs_both
def test_threads_can_be_started():
    found = confined("""
        import threading
        done = []
        thread = threading.Thread(target=lambda: done.append(1))
        attempt("start", thread.start)
        thread.join()
        attempt("done", lambda: done)
    """)
    assert found["done"] == "[1]"


@needs_seccomp
def test_threads_are_confined_as_well():
    found = confined("""
        import socket, threading
        thread = threading.Thread(target=attempt, args=("open", socket.socket))
        thread.start()
        thread.join()
    """)
    assert refused(found, "open")


def test_no_other_process_is_touched():
    if not available().system_calls:
        pytest.skip("no seccomp here")
    found = confined("""
        import ctypes, fcntl, resource, signal
        library = ctypes.CDLL(None, use_errno=True)
        def called(name, *arguments):
            if getattr(library, name)(*arguments) == -1:
                raise PermissionError(ctypes.get_errno(), "")
            return 0
        parent = os.getppid()
        attempt("signal", lambda: os.kill(parent, 0))
        attempt("its group", lambda: os.kill(0, 0))
        attempt("all", lambda: os.kill(-1, 0))
        attempt("trace", lambda: called("ptrace", 16, parent, 0, 0))
        attempt("memory", lambda: called("process_vm_readv", parent, 0, 0, 0, 0, 0))
        attempt("handle", lambda: os.pidfd_open(parent))
        attempt("limits", lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE, (9, 9)))
        attempt("own limits", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9)))
        attempt("itself", lambda: os.kill(os.getpid(), 0))
        attempt("owner", lambda: fcntl.fcntl(0, fcntl.F_SETOWN, parent))
    """)
    kept = [each for each in found if each not in {"itself", "own limits", "owner"}]
    assert refused(found, *kept), found
    assert "Error" in found["own limits"]
    assert found["owner"] == "OSError: [Errno 38] Function not implemented"
    assert found["itself"] == "None"


@needs_seccomp
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of another processor")
def test_calls_that_are_not_in_the_list_are_not_there():
    found = confined("""
        import ctypes
        library = ctypes.CDLL(None, use_errno=True)
        calls = {"io_uring_setup": 425, "userfaultfd": 323, "bpf": 321, "openat2": 437}
        for name, number in calls.items():
            attempt(name, lambda: (library.syscall(number, 0, 0, 0, 0), ctypes.get_errno()))
    """)
    assert len(found) == 4
    assert set(found.values()) == {"(-1, 38)"}


# --------------------------------------------------------------------------- what is said
def test_it_is_for_ever_and_says_what_holds():
    found = confined("""
        attempt("again", lambda: str(confine(plan())) != "")
        attempt("privileges", lambda: "NoNewPrivs:\\t1" in open("/proc/self/status").read())
    """)
    assert found["privileges"] == str(bool(available()))


def test_a_process_with_several_threads_is_refused():
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="several threads"):
            confine(plan())
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("holds", "text"),
    [
        (
            Confinement(7, system_calls=True),
            "no files but the framework's, no network, no other processes (Landlock 7, seccomp)",
        ),
        (
            Confinement(6, system_calls=False, missing=("why",)),
            (
                "no files but the framework's, no programs, no TCP, no signals to other processes"
                " (Landlock 6); why"
            ),
        ),
        (
            Confinement(3, system_calls=False),
            "no files but the framework's, no programs (Landlock 3)",
        ),
        (
            Confinement(0, system_calls=True, missing=("without Landlock: why",)),
            "no writing of files, no network, no other processes (seccomp); without Landlock: why",
        ),
        (
            Confinement(
                0, system_calls=False, missing=("without Landlock: a", "without seccomp: b")
            ),
            "nothing; without Landlock: a; without seccomp: b",
        ),
    ],
)
def test_its_text_says_what_holds_and_why_not_more(holds, text):
    assert str(holds) == text
    assert bool(holds) == (not text.startswith("nothing"))


def test_without_a_layer_the_other_one_holds_and_the_reason_is_said():
    found = confined(
        """
        import socket
        attempt("text", lambda: holds)
        attempt("socket", lambda: socket.socket().close())
        """,
        before="""
        from tensorkeep_workers_process import confinement, system_calls
        system_calls._why_missing = "this system has no libseccomp"
        holds = str(confinement.available())
        """,
    )
    assert found["text"].strip("\"'").endswith("without seccomp: this system has no libseccomp")
    assert found["socket"] == "None"


@needs_seccomp
def test_a_plan_that_landlock_cannot_take_is_said(monkeypatch):
    found = confined(
        'attempt("text", lambda: str(holds))',
        before="""
        from tensorkeep_workers_process import confinement
        def fails(plan):
            raise PermissionError("not here")
        confinement._restrict_files = fails
        real = confine
        def confine(plan):
            global holds
            holds = real(plan)
        """,
    )
    assert "seccomp" in found["text"]
    assert "without Landlock: not here" in found["text"]


@needs_both
def test_devices_may_be_driven_when_there_are_some(tmp_path):
    device = tmp_path / "device"
    device.touch()
    found = confined(
        f"""
        attempt("device", lambda: open({str(device)!r}, "r+b").close())
        attempt("other", lambda: open({str(tmp_path / "other")!r}, "wb"))
        """,
        before=f"""
        from pathlib import Path
        from tensorkeep_workers_process.readable_files import Plan
        real = plan
        plan = lambda: Plan(real().readable, (Path({str(device)!r}),))
        """,
    )
    assert found["device"] == "None"
    assert refused(found, "other")


def test_the_plan_leaves_out_the_folder_that_the_server_was_started_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not any(tmp_path.resolve().is_relative_to(each) for each in plan().readable)


def test_a_plan_is_made_of_paths():
    assert isinstance(plan(), Plan)
