"""redis-cli as people use it: what a terminal shows while they type.

Each test has a pseudo-terminal of its own, and a screen that does with the control sequences what
a terminal does. What a test reads is what a person would see.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

PATIENCE = 20.0  # seconds
CONTROL = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")
ERASE = "\x15"  # Ctrl-U
COLUMNS = 200
UNTIL = "EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds"


class Screen:
    """What a terminal shows, with the control sequences that redis-cli writes."""

    def __init__(self):
        self.lines = [""]
        self.row = self.column = 0
        self._rest = ""

    def feed(self, text):
        text = self._rest + text
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                control = CONTROL.match(text, at)
                if control is None:  # the rest of it comes later
                    break
                self._control(*control.groups())
                at = control.end()
            else:
                self._letter(text[at])
                at += 1
        self._rest = text[at:]

    def _letter(self, letter):
        if letter == "\r":
            self.column = 0
        elif letter == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append("")
        elif letter == "\b":
            self.column -= 1
        elif letter != "\a":
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
            self.column += 1

    def _control(self, numbers, kind):
        number = int(numbers or 0) if kind != "m" else 0
        match kind:
            case "m":  # colours
                pass
            case "C":
                self.column += number
            case "G":
                self.column = max(number - 1, 0)
            case "A":
                self.row -= number
            case "B":
                self.row += number
            case "K":
                kept = 0 if number == 2 else self.column
                self.lines[self.row] = self.lines[self.row][:kept]
            case "H":
                self.row = self.column = 0
            case "J":
                self.lines = [""]
                self.row = self.column = 0
            case _:
                raise AssertionError((numbers, kind))


class Terminal:
    """redis-cli in a terminal.

    Args:
        command: The program and its arguments.
        home: Folder for the history and the preferences.
    """

    def __init__(self, command, home):
        self.screen = Screen()
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "TERM": "xterm", "HOME": str(home)},
        )
        os.close(theirs)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def line(self):
        """The line with the cursor."""
        return self.screen.lines[self.screen.row]

    def wait(self, done, what):
        """Reads until what is shown is as it should be."""
        end = time.monotonic() + PATIENCE
        while not done():
            ready = select.select([self._ours], [], [], max(end - time.monotonic(), 0))[0]
            assert ready, f"{what!r} is not shown, but: {self.screen.lines}"
            self.screen.feed(os.read(self._ours, 65536).decode("utf-8", "replace"))

    def type(self, keys):
        os.write(self._ours, keys.encode())

    def shows(self, line):
        """Waits until the line with the cursor is this one."""
        self.wait(lambda: self.line.rstrip() == line.rstrip(), line)

    def shows_below(self, text):
        """Waits until a text is shown anywhere."""
        self.wait(lambda: any(text in line for line in self.screen.lines), text)

    def enter(self, line, prompt):
        """Enters a line, waits for the next prompt, and returns the lines in between."""
        before = self.screen.row
        self.type(line + "\r")
        self.wait(lambda: self.screen.row > before and self.line == prompt, prompt)
        return self.screen.lines[before + 1 : self.screen.row]

    def ends(self):
        """Waits until redis-cli ends, and returns its exit code."""
        return self.process.wait(PATIENCE)

    def interrupt(self):
        """Does what Ctrl-C does where no line is being typed."""
        self.process.send_signal(signal.SIGINT)


@pytest.fixture
def open_terminal(tool, tmp_path, redis_cli_version):
    """Opens terminals with redis-cli for a port, and further options."""
    if redis_cli_version != (7, 0):
        pytest.skip("this redis-cli is not 7.0, whose ways in a terminal are described here")
    opened = []

    def open_terminal(port, *options):
        terminal = Terminal([tool("redis-cli"), "-p", port, *options], tmp_path)
        opened.append(terminal)
        return terminal

    yield open_terminal
    for terminal in opened:
        terminal.close()


@pytest.fixture
def prompt(serving):
    return f"127.0.0.1:{serving.port}> "


@pytest.fixture
def terminal(open_terminal, serving, prompt):
    terminal = open_terminal(serving.port)
    terminal.shows(prompt)
    return terminal


# --------------------------------------------------------------------------- hints, help, names
TERMS = (
    " [NX|XX] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds"
    "|KEEPTTL]"
)


@pytest.mark.memory_store("the engine describes its commands")
@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("AI.TENSORSET", " key type [dim [dim ...]] [BLOB data|VALUES value [value ...]]" + TERMS),
        ("ai.tensorset k FLOAT ", "[dim [dim ...]] [BLOB data|VALUES value [value ...]]" + TERMS),
        ("AI.TENSORGET k ", "[META] [BLOB|VALUES]"),
        (
            "AI.MODELEXECUTE m INPUTS 1 x ",
            "[input ...] OUTPUTS count output [output ...] [TIMEOUT ms]" + TERMS,
        ),
        (
            "AI.DAGEXECUTE_RO ",
            "[LOAD count key [key ...]] [ROUTING tag] [TIMEOUT ms] |> op [|> op ...]",
        ),
        ("AI.INFO m", " [RESETSTAT]"),
        ("set k v ", f"[NX|XX] [GET] [{UNTIL}|KEEPTTL]"),
        ("getex k ", f"[{UNTIL}|PERSIST]"),
        ("HSET h ", "field value [field value ...]"),
        ("mset a 1", " [key value ...]"),
        ("LMOVE a b ", "LEFT|RIGHT LEFT|RIGHT"),
        ("memory usage ", "key [SAMPLES count]"),
        ("dbsize", ""),
        ("nosuch ", ""),
    ],
)
def test_arguments_are_hinted_while_a_person_types(terminal, prompt, typed, hint):
    terminal.type(typed)
    terminal.shows(prompt + typed + hint)
    terminal.type(ERASE)
    terminal.shows(prompt)


@pytest.mark.memory_store("COMMAND DOCS came with Redis 7.0", on=("redis-6.2",))
def test_hints_are_switched_off_and_on(terminal, prompt):
    terminal.enter(":set nohints", prompt)
    terminal.type("AI.INFO ")
    terminal.shows(prompt + "AI.INFO")
    terminal.type(ERASE)
    terminal.shows(prompt)
    terminal.enter(":set hints", prompt)
    terminal.type("AI.INFO ")
    terminal.shows(prompt + "AI.INFO key [RESETSTAT]")


def test_preferences_are_read_from_a_file(open_terminal, serving, prompt, tmp_path):
    (tmp_path / ".redisclirc").write_text(":set nohints\n", encoding="ascii")
    terminal = open_terminal(serving.port)
    terminal.shows(prompt)

    terminal.type("AI.INFO ")
    terminal.shows(prompt + "AI.INFO")


@pytest.mark.memory_store("COMMAND DOCS came with Redis 7.0", on=("redis-6.2",))
def test_names_are_completed_one_after_another(terminal, prompt):
    terminal.type("ai.scripts\t")
    terminal.shows(prompt + "AI.SCRIPTSET key device [TAG tag] SOURCE source")
    terminal.type(ERASE)
    terminal.shows(prompt)
    terminal.type("AI.TENSOR\t")
    terminal.shows(prompt + "AI.TENSORGET key [META] [BLOB|VALUES]")
    terminal.type("\t")
    terminal.shows(
        prompt
        + "AI.TENSORSET key type [dim [dim ...]] [BLOB data|VALUES value [value ...]]"
        + TERMS
    )


@pytest.mark.memory_store("the engine describes its commands")
@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            "help ai.tensorset",
            [
                "  AI.TENSORSET key type [dim [dim ...]] [BLOB data|VALUES value [value ...]]"
                + TERMS,
                "  summary: Stores a tensor.",
                "  since: 1.0.0",
                "  group: module",
            ],
        ),
        (
            "help memory usage",
            [
                "  MEMORY USAGE key [SAMPLES count]",
                "  summary: Returns about how many bytes a key and its value take.",
                "  since: 4.0.0",
                "  group: server",
            ],
        ),
        ("help nosuch", []),
    ],
)
def test_a_command_is_explained(terminal, prompt, line, shown):
    assert [each for each in terminal.enter(line, prompt) if each] == shown


@pytest.mark.memory_store("COMMAND DOCS came with Redis 7.0", on=("redis-6.2",))
def test_groups_are_listed_with_all_their_commands(terminal, prompt, client):
    commands = {name.decode().upper() for name in client.command_list()}

    for group, prefix in (("module", "AI."), ("transactions", ""), ("set", "S"), ("hash", "H")):
        shown = terminal.enter(f"help @{group}", prompt)
        heads = [shown[at - 1].split()[0] for at, each in enumerate(shown) if "summary:" in each]
        assert len(heads) >= 5
        assert {*heads} <= commands
        assert all(head.startswith(prefix) for head in heads)


def test_a_question_mark_tells_what_can_be_asked(terminal, prompt):
    shown = terminal.enter("?", prompt)

    assert shown == terminal.enter("help", prompt)
    assert shown[0].startswith("redis-cli ")


# --------------------------------------------------------------------------- replies
@pytest.mark.memory_store("Redis 6.2 has other words", on=("redis-6.2",))
def test_replies_are_shown_for_people(terminal, prompt, type_names):
    assert terminal.enter("AI.TENSORSET k INT8 2 VALUES 7 8", prompt) == ["OK"]
    assert terminal.enter("AI.TENSORGET k META VALUES", prompt) == [
        '1) "dtype"',
        '2) "INT8"',
        '3) "shape"',
        "4) 1) (integer) 2",
        '5) "values"',
        "6) 1) (integer) 7",
        "   2) (integer) 8",
    ]
    assert terminal.enter("TYPE k", prompt) == [type_names["AI_TENSOR"]]
    assert terminal.enter("GET nowhere", prompt) == ["(nil)"]
    assert terminal.enter("KEYS nowhere", prompt) == ["(empty array)"]
    assert terminal.enter("AI.TENSORGET nowhere", prompt) == [
        "(error) ERR tensor key is empty or in a different shard"
    ]
    assert terminal.enter("nosuch", prompt) == [
        "(error) ERR unknown command 'nosuch', with args beginning with: "
    ]


def test_bytes_are_typed_and_shown_in_quotes(terminal, prompt):
    assert terminal.enter(r'AI.TENSORSET "\x00key" UINT8 3 BLOB "\x00\xff\n"', prompt) == ["OK"]
    assert terminal.enter(r'AI.TENSORGET "\x00key" BLOB', prompt) == [r'"\x00\xff\n"']
    assert terminal.enter("SET 'two words' \"it's\"", prompt) == ["OK"]
    assert terminal.enter('GET "two words"', prompt) == ['"it\'s"']
    assert terminal.enter('GET "open', prompt) == ["Invalid argument(s)"]


def test_a_line_with_a_number_is_done_as_often(terminal, prompt):
    assert terminal.enter("3 INCR often", prompt) == [f"(integer) {n}" for n in (1, 2, 3)]


def test_resp3_shows_maps_and_doubles(open_terminal, serving, prompt):
    terminal = open_terminal(serving.port, "-3")
    terminal.shows(prompt)

    terminal.enter("AI.TENSORSET k3 DOUBLE 1 VALUES 0.5", prompt)
    assert terminal.enter("AI.TENSORGET k3 VALUES", prompt) == ["1) (double) 0.5"]
    terminal.enter("HSET h3 f v", prompt)
    assert terminal.enter("HGETALL h3", prompt) == ['1# "f" => "v"']
    assert '3# "proto" => (integer) 3' in terminal.enter("HELLO 3", prompt)
    assert terminal.enter("GET nowhere", prompt) == ["(nil)"]


def test_the_screen_is_cleared(terminal, prompt):
    terminal.enter("PING", prompt)
    terminal.type("clear\r")
    terminal.wait(lambda: terminal.screen.lines[0] == prompt, prompt)


def test_lines_are_remembered(terminal, prompt):
    terminal.enter("ECHO first", prompt)
    terminal.enter("ECHO second", prompt)
    terminal.type("\x1b[A\x1b[A")
    terminal.shows(prompt + "ECHO first")
    assert terminal.enter("", prompt) == ['"first"']


@pytest.mark.parametrize("word", ["quit", "exit"])
def test_a_word_ends_it(terminal, word):
    terminal.type(word + "\r")
    assert terminal.ends() == 0


# --------------------------------------------------------------------------- transactions
def test_the_prompt_names_the_database(terminal, prompt):
    third = prompt.replace(">", "[3]>")

    assert terminal.enter("SELECT 3", third) == ["OK"]
    assert terminal.enter("SELECT 99", third) == ["(error) ERR DB index is out of range"]
    assert terminal.enter("SELECT 0", prompt) == ["OK"]


def test_a_database_is_chosen_from_the_beginning(open_terminal, serving, prompt):
    terminal = open_terminal(serving.port, "-n", 4)
    terminal.shows(prompt.replace(">", "[4]>"))
    other = open_terminal(serving.port, "-u", f"redis://127.0.0.1:{serving.port}/5")
    other.shows(prompt.replace(">", "[5]>"))


def test_the_prompt_shows_a_transaction(terminal, prompt):
    begun = prompt.replace(">", "(TX)>")

    assert terminal.enter("MULTI", begun) == ["OK"]
    assert terminal.enter("SET tx 1", begun) == ["QUEUED"]
    assert terminal.enter("AI.TENSORSET txt INT8 1 VALUES 5", begun) == ["QUEUED"]
    assert terminal.enter("AI.TENSORGET txt VALUES", begun) == ["QUEUED"]
    assert terminal.enter("EXEC", prompt) == ["1) OK", "2) OK", "3) 1) (integer) 5"]
    terminal.enter("MULTI", begun)
    assert terminal.enter("nosuch", begun)[0].startswith("(error) ERR unknown command")
    assert terminal.enter("EXEC", prompt) == [
        "(error) EXECABORT Transaction discarded because of previous errors."
    ]
    terminal.enter("MULTI", begun)
    assert terminal.enter("DISCARD", prompt) == ["OK"]


def test_a_database_chosen_in_a_transaction_stays_or_is_given_up(terminal, prompt):
    begun, second = prompt.replace(">", "(TX)>"), prompt.replace(">", "[2]>")
    both = prompt.replace(">", "[2](TX)>")

    terminal.enter("MULTI", begun)
    assert terminal.enter("SELECT 2", both) == ["QUEUED"]
    assert terminal.enter("DISCARD", prompt) == ["OK"]
    terminal.enter("MULTI", begun)
    terminal.enter("SELECT 2", both)
    assert terminal.enter("EXEC", second) == ["1) OK"]


# --------------------------------------------------------------------------- messages, watching
@pytest.mark.parametrize("protocol", ["-2", "-3"])
def test_messages_are_shown_until_an_interrupt(open_terminal, serving, prompt, client, protocol):
    terminal = open_terminal(serving.port, protocol)
    terminal.shows(prompt)

    terminal.type("SUBSCRIBE news weather\r")
    terminal.shows_below("(integer) 2")
    assert client.publish("weather", "rain") == 1
    terminal.shows_below('3) "rain"')
    assert terminal.screen.lines[-4:-1] == ['1) "message"', '2) "weather"', '3) "rain"']
    terminal.interrupt()
    terminal.shows(prompt)
    assert terminal.enter("PING", prompt) == ["PONG"]


@pytest.mark.memory_store("MONITOR shows what the engine is asked for")
def test_commands_of_others_are_shown_until_an_interrupt(terminal, prompt, client):
    terminal.type("MONITOR\r")
    terminal.wait(lambda: terminal.line == "" and terminal.screen.lines[-2] == "OK", "OK")
    client.execute_command("AI.TENSORSET", "watched", "INT8", 1, "VALUES", 3)
    terminal.shows_below('"AI.TENSORSET" "watched" "INT8" "1" "VALUES" "3"')
    terminal.interrupt()
    terminal.shows(prompt)
    assert terminal.enter("PING", prompt) == ["PONG"]


# --------------------------------------------------------------------------- connections
@pytest.mark.memory_store("only the client's connection to the engine is closed")
def test_a_connection_that_was_ended_is_made_again(terminal, prompt, client):
    terminal.enter("SET kept yes", prompt)
    number = terminal.enter("CLIENT ID", prompt)[0].removeprefix("(integer) ")
    client.client_kill_filter(_id=number)

    lost = ["Error: Server closed the connection"]
    assert terminal.enter("GET kept", "not connected> ") == lost
    assert terminal.enter("GET kept", prompt) == ['"yes"']


def test_a_server_that_was_restarted_is_found_again(start, open_terminal):
    with start() as serving:
        port = serving.port
        prompt = f"127.0.0.1:{port}> "
        terminal = open_terminal(port)
        terminal.shows(prompt)
        assert terminal.enter("SET k v", prompt) == ["OK"]
    shown = terminal.enter("PING", "not connected> ")
    assert any("closed" in line or "refused" in line for line in shown)
    assert terminal.enter("PING", "not connected> ") == [
        f"Could not connect to Redis at 127.0.0.1:{port}: Connection refused"
    ]
    with start("--port", str(port)):
        assert terminal.enter("PING", prompt) == ["PONG"]
        assert terminal.enter("GET k", prompt) == ["(nil)"]


def test_another_server_is_chosen(terminal, serving, prompt):
    shown = terminal.enter("connect 127.0.0.1 1", "not connected> ")
    assert shown == ["Could not connect to Redis at 127.0.0.1:1: Connection refused"]
    assert terminal.enter(f"connect 127.0.0.1 {serving.port}", prompt) == []
    assert terminal.enter("PING", prompt) == ["PONG"]


def test_a_password_is_asked_for_and_refused_where_there_is_none(open_terminal, serving, prompt):
    terminal = open_terminal(serving.port, "--askpass")
    terminal.shows("Please input password:")
    terminal.type("secret")
    terminal.shows("Please input password: ******")
    told = "AUTH failed: ERR AUTH <password> called without any password configured"

    assert terminal.enter("", prompt)[0].startswith(told)
    assert terminal.enter("PING", prompt) == ["PONG"]
    assert terminal.enter("AUTH somebody secret", prompt) == [
        "(error) WRONGPASS invalid username-password pair or user is disabled."
    ]


# --------------------------------------------------------------------------- measures
@pytest.mark.memory_store("the memory is the engine's")
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (("--latency",), r"min: \d+, max: \d+, avg: \d+\.\d\d \(\d{2,} samples\)"),
        (("--latency-history", "-i", "0.05"), r".* -- \d+\.\d\d seconds range"),
        (("--stat", "-i", "0.05"), r"\d+ +\d+\.\d\dM +\d+ +\d+ +\d+ \(\+1\) +\d+ *"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_measures_are_shown_as_they_come(open_terminal, serving, options, shown):
    terminal = open_terminal(serving.port, *options)
    fits = re.compile(shown).fullmatch
    terminal.wait(lambda: any(fits(line) for line in terminal.screen.lines), shown)
