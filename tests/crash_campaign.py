"""Kills a server that keeps its data in a directory, its engine, or both, and looks what is lost.

`python tests/crash_campaign.py --crashes 70` starts `tensorkeep serve --dir` with each policy of
`--fsync` in turn, writes plain data, tensors and models to it from several clients, and kills with
SIGKILL at random moments: while data is written, while the engine rewrites its file, and while what
was killed comes back. After each crash every key is read: it must hold the newest version that was
acknowledged, or the one whose reply never came, whole; models are run. With `everysec` and `no` it
may be an older version, as far as the policy says. The program ends with 1 when anything was wrong.

What a killed process has given to the system is not lost, only a crash of the machine loses that.
So this shows that the server acknowledges nothing that it has not given to the engine, and the
engine nothing that it has not given to the system; it does not show what a disk does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from crash_history import MAY_MISS, History, Wrong
from crash_values import KINDS, NotDone, Outputs, Unsure
from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.table import Table

from tensorkeep_server.testing import Wire
from tensorkeep_valkey.testing import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VICTIMS = ("engine", "engine", "server", "engine", "both")  # a server takes longer to come back
LIMIT = 120.0  # seconds until what was killed must be back; a busy machine
RETRY = 0.01  # seconds between two tries of a client
LOAD = 0.6  # seconds for which data is written at most until the next crash
AT_ONCE = 0.2  # of all crashes: while what was killed comes back from the one before
REWRITING = 0.2  # of all crashes: while the engine rewrites its file
UNFORESEEN = ("Traceback", "unexpectedly", "Exception in", "never awaited")


@dataclass
class Found:
    """What came of the crashes with one policy.

    Attributes:
        fsync: The policy.
        crashes: How many there were of each victim.
        acknowledged: Changes that were acknowledged.
        not_done: Those that the server said it had not done.
        unsure: Those whose reply never came, or that may have been done as the server said.
        checks: Keys that were read after a crash.
        missing: How many of these had lost a change that was acknowledged.
        longest_missing: How long before a crash the oldest of these was sent, in seconds.
        back: Seconds until everything was back, of each crash, by victim.
        seconds: How long it took.
        wrong: What must not be, in words.
    """

    fsync: str
    crashes: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    not_done: int = 0
    unsure: int = 0
    checks: int = 0
    missing: int = 0
    longest_missing: float = 0.0
    back: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether all was as it must be, and something was looked at."""
        return not self.wrong and bool(self.acknowledged and self.checks)


class Server:
    """A server with its data in a directory, on a port that stays the same."""

    def __init__(self, folder: Path, fsync: str, program: str) -> None:
        self.port = free_port()
        self._data = folder / "data"
        self._log = folder / "server.log"
        words = ("serve", "--port", self.port, "--dir", self._data, "--fsync", fsync)
        chosen = ("--store-program", program) if program else ()
        command = (sys.executable, "-m", "tensorkeep_server", *words, *chosen)
        self._command = [str(word) for word in command]
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Starts it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def ready(self) -> None:
        """Waits until it is there; one that ended because its engine was killed is begun again.

        Raises:
            Wrong: It has ended otherwise, or does not come.
        """
        until = time.monotonic() + LIMIT
        while time.monotonic() < until:
            self.supervise()
            with suppress(OSError, EOFError), Wire(self.port) as wire:
                if wire.read("PING") == "PONG":
                    return
            time.sleep(RETRY)
        raise Wrong(f"the server was not back in {LIMIT:g} s: {self.log()[-2000:]}")

    def supervise(self) -> None:
        """Makes sure that it has not ended, whatever happened to its engine.

        Raises:
            Wrong: It has.
        """
        if self._process is None or self._process.poll() is not None:
            raise Wrong(f"the server ended by itself: {self.log()[-2000:]}")

    def kill(self) -> None:
        """Kills it; the system tells its engine to end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def kill_engine(self) -> bool:
        """Kills its engine; returns whether there was one."""
        number = self.engine()
        if number is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        while self.engine() == number:
            time.sleep(0.001)
        return True

    def engine(self) -> int | None:
        """Returns the number of its engine's process, None when there is none."""
        with suppress(OSError, ValueError):
            number = int((self._data / "engine.pid").read_text(encoding="ascii"))
            if (Path("/proc") / str(number) / "cwd").resolve(strict=True) == self._data.resolve():
                return number
        return None

    def end(self) -> None:
        """Ends it as people do.

        Raises:
            Wrong: It ended otherwise than it should, or its engine is still there.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            status = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Wrong("the server did not end") from None
        if status:
            raise Wrong(f"the server ended with {status}: {self.log()[-2000:]}")
        if self.engine() is not None:
            raise Wrong("the engine was left")

    def log(self) -> str:
        """Returns what all servers have logged."""
        return self._log.read_text(encoding="utf-8", errors="replace")


class Writer:
    """A client that writes one value's versions one after another, and looks after each crash."""

    def __init__(self, value: Any, port: int, crashes: Sequence[float], found: Found) -> None:
        self.looked = 0  # crashes after which it has looked
        self.told = 0  # crashes that it was told of
        self._value = value
        self._port = port
        self._crashes = crashes
        self._found = found
        self._history = History()
        self._wire: Wire | None = None
        self._end = Event()
        self._thread = Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Starts writing."""
        self._thread.start()

    def close(self) -> None:
        """Ends it, once it has looked."""
        self._end.set()
        self._thread.join(LIMIT)

    def _work(self) -> None:
        unsure = False
        while not self._end.is_set() or self.looked < self.told:
            told = self.told
            try:
                if unsure or self.looked < told:
                    self._look()
                    unsure, self.looked = False, told
                elif not self._write():
                    unsure = True
            except Wrong as wrong:
                self._found.wrong.append(f"{type(self._value).__name__}: {wrong}")
                self._history = History()  # what is there now is looked at no more
                self._drop()
                self.looked = sys.maxsize
                return
        self._drop()

    def _write(self) -> bool:
        """Writes the next version; returns whether it is known what came of it."""
        version, sent = self._history.newest + 1, time.monotonic()
        try:
            wire = self._connected()
        except OSError:
            time.sleep(RETRY)
            return True
        try:
            self._value.write(wire, version)
        except NotDone:
            self._found.not_done += 1
            self._drop()
            time.sleep(RETRY)
        except (OSError, EOFError, Unsure):
            self._history.unsure = version
            self._found.unsure += 1
            self._drop()
            return False
        else:
            self._history.acknowledge(version, sent)
            self._found.acknowledged += 1
        return True

    def _look(self) -> None:
        """Reads what is there, as soon as that can be."""
        version = self._found_version()
        missing = self._history.settle(version, self._crashes, MAY_MISS[self._found.fsync])
        self._found.checks += 1
        self._found.missing += missing > 0
        self._found.longest_missing = max(self._found.longest_missing, missing)

    def _found_version(self) -> int:
        until = time.monotonic() + LIMIT
        while True:
            try:
                version: int = self._value.read(self._connected())
            except (OSError, EOFError, NotDone, Unsure) as error:
                self._drop()
                if time.monotonic() > until:
                    raise Wrong(f"it was not back in {LIMIT:g} s: {error}") from error
                time.sleep(RETRY)
            else:
                return version

    def _connected(self) -> Wire:
        if self._wire is None:
            self._wire = Wire(self._port)
        return self._wire

    def _drop(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


class Campaign:
    """Crashes with one policy."""

    def __init__(self, folder: Path, fsync: str, seed: str, program: str) -> None:
        self.found = Found(fsync)
        self._draw = random.Random(f"{seed} {fsync}")
        self._server = Server(folder, fsync, program)
        self._crashes: list[float] = []
        self._writers = [
            Writer(kind(f"{kind.__name__}:{number}"), self._server.port, self._crashes, self.found)
            for kind in KINDS
            for number in range(1 if kind is Outputs else 2)
        ]

    def run(self, crashes: int, victims: Sequence[str]) -> Iterator[Found]:
        """Kills so often, and gives what was found so far after each."""
        began = time.monotonic()
        try:
            self._prepare()
            for writer in self._writers:
                writer.start()
            for number in range(crashes):
                self._crash(victims[number % len(victims)], last=number == crashes - 1)
                self.found.seconds = time.monotonic() - began
                yield self.found
                if self.found.wrong:
                    break
            for writer in self._writers:
                writer.close()
            self._server.end()
        except Wrong as wrong:
            self.found.wrong.append(str(wrong))
        finally:
            self._server.kill()
        told = [
            line for line in self._server.log().splitlines() if any(map(line.count, UNFORESEEN))
        ]
        self.found.wrong += told[:3]

    def _prepare(self) -> None:
        self._server.begin()
        self._server.ready()
        with Wire(self._server.port) as wire:
            Outputs(f"{Outputs.__name__}:0").prepare(wire)
        time.sleep(MAY_MISS["everysec"])  # this is not to be missing

    def _crash(self, victim: str, *, last: bool) -> None:
        """Kills at a random moment, and waits until all is back, or not for that."""
        time.sleep(self._draw.random() * LOAD)
        if self._draw.random() < REWRITING:
            with suppress(OSError, EOFError), Wire(self._server.port) as wire:
                wire.read("BGREWRITEAOF")
            time.sleep(self._draw.random() * 0.05)
        self._crashes.append(time.monotonic())
        if victim == "engine":
            self._kill_engine()
        else:
            if victim == "both" and self._draw.random() < 0.5:
                self._server.kill_engine()
                self._server.kill()
            else:
                self._server.kill()
                if victim == "both":
                    self._server.kill_engine()
            self._server.begin()
        self.found.crashes[victim] = self.found.crashes.get(victim, 0) + 1
        for writer in self._writers:
            writer.told += 1
        if not last and self._draw.random() < AT_ONCE:
            return
        self._await_all()
        self.found.back.setdefault(victim, []).append(time.monotonic() - self._crashes[-1])

    def _kill_engine(self) -> None:
        until = time.monotonic() + LIMIT
        while not self._server.kill_engine():
            self._server.supervise()
            if time.monotonic() > until:
                raise Wrong(f"there was no engine for {LIMIT:g} s")
            time.sleep(RETRY)

    def _await_all(self) -> None:
        self._server.ready()
        until = time.monotonic() + 2 * LIMIT
        while any(writer.looked < writer.told for writer in self._writers):
            if time.monotonic() > until:
                raise Wrong(f"not every client was back in {2 * LIMIT:g} s")
            time.sleep(RETRY)


def table(all_found: list[Found]) -> Table:
    """Returns what was found as a table, for people."""
    made = Table(title="Crashes", caption="back: s until all keys could be read, median and worst")
    made.add_column("fsync")
    for found in all_found:
        made.add_column(found.fsync, justify="right")
    rows: list[tuple[str, list[str]]] = [
        (f"killed: {victim}", [str(found.crashes.get(victim, 0)) for found in all_found])
        for victim in dict.fromkeys(VICTIMS)
    ]
    rows += [
        (name, [f"{getattr(found, name):,}" for found in all_found])
        for name in ("acknowledged", "not_done", "unsure", "checks", "missing")
    ]
    rows.append(("longest missing, s", [f"{found.longest_missing:.3f}" for found in all_found]))
    rows += [
        (f"back: {victim}", [_both(found.back.get(victim, [])) for found in all_found])
        for victim in dict.fromkeys(VICTIMS)
    ]
    rows.append(("seconds", [f"{found.seconds:.0f}" for found in all_found]))
    rows.append(("sound", ["yes" if found.sound else "NO" for found in all_found]))
    for name, values in rows:
        made.add_row(name, *values)
    return made


def _both(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f}, {max(seconds):.2f}" if seconds else "-"


def main() -> int:
    """Reads the options, kills, and shows what came of it."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--crashes", type=int, default=70, help="crashes with each policy")
    options.add_argument("--fsync", nargs="*", default=[*MAY_MISS], choices=[*MAY_MISS])
    options.add_argument("--victims", nargs="*", default=VICTIMS, choices=dict.fromkeys(VICTIMS))
    options.add_argument("--store-program", default="", help="the engine's program")
    options.add_argument("--seed", default=str(random.randrange(2**31)))
    options.add_argument("--json", action="store_true", help="print the figures for programs")
    chosen = options.parse_args()
    console = Console(stderr=True)
    console.print(f"seed {chosen.seed}")
    all_found = []
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[seen]}"))
    with Progress(*columns, console=console) as progress:
        for fsync in chosen.fsync:
            bar = progress.add_task(fsync, total=chosen.crashes, seen="")
            folder = Path(tempfile.mkdtemp(prefix="tensorkeep"))
            campaign = Campaign(folder, fsync, chosen.seed, chosen.store_program)
            all_found.append(campaign.found)
            for found in campaign.run(chosen.crashes, chosen.victims):
                seen = f"{found.acknowledged:,} acknowledged, {found.missing} missing"
                progress.update(bar, completed=sum(found.crashes.values()), seen=seen)
            if campaign.found.sound:
                shutil.rmtree(folder)
            else:
                console.print(f"{fsync}: the data and the log are in {folder}", markup=False)
    if chosen.json:
        print(json.dumps([{**asdict(each), "sound": each.sound} for each in all_found], indent=1))
    else:
        Console(width=None if console.is_terminal else 110).print(table(all_found))
    for each in all_found:
        for line in each.wrong:
            console.print(f"{each.fsync}: {line}", style="red", markup=False)
    return 0 if all(each.sound for each in all_found) else 1


if __name__ == "__main__":
    sys.exit(main())
