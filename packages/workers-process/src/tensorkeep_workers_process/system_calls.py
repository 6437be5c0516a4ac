"""Which calls of the system a confined worker may make; the kernel refuses all others.

A list of what may: reading files, memory, threads, time, and sending and receiving on what is open
already. No call in it opens a socket, starts a program or process, changes a file or touches
another process. What a model or script might try is "not permitted"; whatever else is not in the
list is "not implemented", after which libraries do without it.

The filter is made by libseccomp, a library of the system that `pyseccomp` calls.
"""

from __future__ import annotations

import errno
import fcntl
import os
import termios
from typing import TYPE_CHECKING, Any, Final

# It looks for the library with a program that a confined worker may not start: so do it now.
try:
    import pyseccomp as seccomp
except ImportError:
    _why_missing = "pyseccomp is not installed"
except RuntimeError:  # its own way to say so
    _why_missing = "this system has no libseccomp"
else:
    _why_missing = ""

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FILES: Final = """
    read pread64 readv preadv preadv2 lseek _llseek close close_range fstat fstat64 stat stat64
    lstat lstat64 newfstatat fstatat64 statx access faccessat faccessat2 readlink readlinkat
    getdents getdents64 getcwd fadvise64 fadvise64_64 readahead statfs statfs64 fstatfs fstatfs64
    dup dup2 dup3
"""
# To what is open for writing: messages, the log, and memory of its own.
_WRITING: Final = """
    write pwrite64 writev pwritev pwritev2 ftruncate ftruncate64 fallocate memfd_create
"""
_MEMORY: Final = """
    brk mmap mmap2 munmap mprotect mremap mincore msync mlock mlock2 munlock membarrier
    mbind get_mempolicy set_mempolicy pkey_alloc pkey_free pkey_mprotect
"""
_THREADS: Final = """
    futex futex_time64 futex_waitv futex_wake futex_wait futex_requeue gettid set_tid_address
    set_robust_list get_robust_list rseq arch_prctl set_thread_area get_thread_area exit exit_group
    sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max
    sched_get_priority_min getpriority getcpu restart_syscall
"""
_SIGNALS: Final = """
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 sigaltstack sigreturn pause alarm setitimer getitimer wait4 waitid
"""
_TIME: Final = """
    clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
    clock_nanosleep_time64 nanosleep gettimeofday time times
"""
_WAITING: Final = """
    poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create epoll_create1
    epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 pipe pipe2 timerfd_create
    timerfd_settime timerfd_gettime
"""
_MESSAGES: Final = """
    sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown getsockopt getsockname getpeername
"""
_ABOUT_ITSELF: Final = """
    getpid getppid getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid
    getresgid getgroups getpgrp getpgid getsid capget getrlimit ugetrlimit getrusage sysinfo uname
    getrandom
"""
ALLOWED: Final = tuple(
    (
        _FILES + _WRITING + _MEMORY + _THREADS + _SIGNALS + _TIME + _WAITING + _MESSAGES
        + _ABOUT_ITSELF
    ).split()
)  # fmt: skip
"""Calls that may be made with any arguments; a processor need not have all of them."""

_NETWORK: Final = "socket socketpair connect bind listen accept accept4"
_PROCESSES: Final = """
    execve execveat fork vfork ptrace process_vm_readv process_vm_writev tkill rt_sigqueueinfo
    rt_tgsigqueueinfo pidfd_open pidfd_getfd pidfd_send_signal setrlimit
"""
_CHANGES: Final = """
    creat truncate unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir link linkat symlink
    symlinkat mknod mknodat chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime
    utimes utimensat futimesat setxattr lsetxattr fsetxattr mount chroot chdir
"""
REFUSED: Final = tuple((_NETWORK + _PROCESSES + _CHANGES).split())
"""Calls that are not permitted, and say so."""

_OPEN: Final = (("open", 1), ("openat", 2))  # which argument has the flags
_WRITES: Final = (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC)
_CLONE_THREAD: Final = 0x00010000
_NAMESPACES: Final = 0x7E020080  # all of CLONE_NEW*
_ADD_SEALS, _GET_SEALS, _GET_PIPE_SIZE = 1033, 1034, 1032
_FCNTL: Final = (
    *(fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD),
    *(fcntl.F_GETFL, fcntl.F_SETFL, _ADD_SEALS, _GET_SEALS, _GET_PIPE_SIZE),
)  # not F_SETOWN, which has signals sent to any process
_IOCTL: Final = (
    *(termios.FIONREAD, termios.FIONBIO, termios.FIOCLEX, termios.FIONCLEX),
    *(termios.TCGETS, termios.TIOCGWINSZ),
)  # not TIOCSTI, which types into the terminal of who started the server
_BREAKING_PAGES: Final = 100  # MADV_HWPOISON, and MADV_SOFT_OFFLINE behind it
_PRCTL: Final = (15, 16, 0x53564D41)  # names of threads and of memory: PR_SET_NAME and such
_UNKNOWN: Final = -1  # number of a call that this libseccomp has not heard of

_Rule = tuple[str, int, "Sequence[Any]"]
"""The name of a call, what to do with it, and what its arguments are then."""


def why_missing() -> str:
    """Returns why there can be no filter; empty when there can."""
    return _why_missing


def restrict(*, devices: bool) -> None:
    """Restricts this process, which must have one thread, to what a worker needs, for ever.

    Args:
        devices: Whether it drives devices such as GPUs: then it may open files for writing where
            nothing else forbids it, and control what it opened.

    Raises:
        OSError: The kernel takes no such filter.
    """
    made = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    made.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)
    for name, action, arguments in _rules(os.getpid(), devices=devices):
        if seccomp.resolve_syscall(seccomp.Arch.NATIVE, name) != _UNKNOWN:
            made.add_rule(action, name, *arguments)
    made.load()


def _rules(pid: int, *, devices: bool) -> Iterator[_Rule]:
    """Gives all rules: what is not in them is not implemented."""
    allow, refuse = seccomp.ALLOW, seccomp.ERRNO(errno.EPERM)
    yield from ((name, allow, ()) for name in ALLOWED)
    yield from ((name, refuse, ()) for name in REFUSED)
    if devices:
        yield from ((name, allow, ()) for name in ("ioctl", *dict(_OPEN)))
    else:
        yield from (("ioctl", allow, _is(1, each)) for each in _IOCTL)
        for name, flags in _OPEN:
            yield name, allow, _has(flags, sum(_WRITES), 0)
            yield from ((name, refuse, _has(flags, each, each)) for each in _WRITES)
    # Not those that break pages of memory, which root may: libraries are shared with all others.
    yield "madvise", allow, (seccomp.Arg(2, seccomp.LT, _BREAKING_PAGES),)
    yield "madvise", refuse, (seccomp.Arg(2, seccomp.GE, _BREAKING_PAGES),)
    for name in ("kill", "tgkill"):
        yield name, allow, _is(0, pid)
        yield name, refuse, _is_not(0, pid)
    # Not clone3, whose flags cannot be seen here: the C library then calls clone.
    yield "clone", allow, _has(0, _CLONE_THREAD | _NAMESPACES, _CLONE_THREAD)
    yield "clone", refuse, _has(0, _CLONE_THREAD, 0)
    yield "prlimit64", allow, _is(2, 0)  # asks, and changes nothing
    yield "prlimit64", refuse, _is_not(2, 0)
    yield "sched_setaffinity", allow, _is(0, 0)
    # The number may be another process'. It "succeeds": frameworks only mean to be faster.
    yield "sched_setaffinity", seccomp.ERRNO(0), _is_not(0, 0)
    for name in ("fcntl", "fcntl64"):
        yield from ((name, allow, _is(1, each)) for each in _FCNTL)
    yield from (("prctl", allow, _is(0, each)) for each in _PRCTL)


def _is(argument: int, value: int) -> Sequence[Any]:
    return (seccomp.Arg(argument, seccomp.EQ, value),)


def _is_not(argument: int, value: int) -> Sequence[Any]:
    return (seccomp.Arg(argument, seccomp.NE, value),)


def _has(argument: int, bits: int, value: int) -> Sequence[Any]:
    """Requires some bits of an argument to be a value."""
    return (seccomp.Arg(argument, seccomp.MASKED_EQ, bits, value),)
