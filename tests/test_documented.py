"""What is documented is there, what is there is documented, and what is shown runs."""

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path

import pytest
from typer.main import get_command

from tensorkeep_memory.store import MemoryStore
from tensorkeep_server.cli import app
from tensorkeep_server.commands import with_commands_of

COMMANDS = with_commands_of(MemoryStore())

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "examples/*/README.md", "packages/*/README.md")
    for page in ROOT.glob(pattern)
)
TESTS = sorted(
    test
    for pattern in ("tests/test_*.py", "packages/*/tests/test_*.py")
    for test in ROOT.glob(pattern)
    if test.name != Path(__file__).name
)
CONTAINERS = [command for command in COMMANDS if command.subcommands]
ASKABLE = [
    *(command for command in COMMANDS if not command.subcommands or command.arity >= -1),
    *(item for container in CONTAINERS for item in container.subcommands),
]

every_command = pytest.mark.parametrize("item", ASKABLE, ids=lambda item: item.full_name)


def text_of(page):
    return page.read_text("utf-8")


def page_id(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page, language):
    """Returns the fenced blocks of a page that are in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


def pages_with(language):
    """Parametrizes a test by the pages that have blocks in a language."""
    found = [page for page in PAGES if blocks(page, language)]
    return pytest.mark.parametrize("page", found, ids=page_id)


# ------------------------------------------------------------------ commands
@pytest.fixture(scope="module")
def render_commands():
    """The program that writes the page of commands."""
    program = ROOT / "docs/render_commands.py"
    spec = importlib.util.spec_from_file_location(program.stem, program)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@every_command
def test_a_command_says_what_people_and_clients_want_to_know(render_commands, item):
    assert re.fullmatch(r"[A-Z].*\.", item.summary)
    assert item.group in render_commands.SECTIONS
    assert re.fullmatch(r"\d+\.\d+\.\d+", item.since)
    assert all(re.fullmatch(r"[a-z_]+", flag) for flag in item.flags)
    assert not {"write", "readonly"} <= set(item.flags)
    assert item.syntax == item.syntax.strip()
    for opening, closing in ("[]", "()"):
        assert item.syntax.count(opening) == item.syntax.count(closing)


@every_command
def test_a_command_that_takes_arguments_names_them(item):
    alone = 2 if item.parent else 1  # words of a request without arguments
    if item.arity == alone:
        assert item.syntax == ""
    if item.arity > alone or item.arity < -alone:
        assert item.syntax


@every_command
def test_a_command_is_on_the_page_of_commands(item):
    usage = f"{item.full_name.upper().replace('|', ' ')} {item.syntax}".strip()

    assert f"| `{usage}` |".replace("|", r"\|")[1:-2] in (ROOT / "docs/commands.md").read_text()


@pytest.mark.parametrize("name", ["commands.md", "differences.md"])
def test_the_pages_about_commands_are_what_the_command_table_says(render_commands, name):
    written = (ROOT / "docs" / name).read_text("utf-8")
    tables = render_commands.PAGES[name]

    rendered = render_commands.render(written, COMMANDS, tables)

    assert written == rendered, "run python docs/render_commands.py"


@every_command
def test_a_difference_from_the_original_has_a_reason(item):
    for difference in item.differences:
        assert all(re.fullmatch(r".+\.", part) for part in difference)
        assert difference.original != difference.ours


@every_command
def test_a_command_is_on_the_page_of_differences(item):
    name = item.full_name.upper().replace("|", " ")

    assert f"`{name}`" in (ROOT / "docs/differences.md").read_text("utf-8")


def test_what_redis_has_and_is_not_here_is_on_the_page_of_differences(theirs):
    page = (ROOT / "docs/differences.md").read_text("utf-8")
    ours = {command.name for command in COMMANDS}
    ours |= {item.full_name for container in CONTAINERS for item in container.subcommands}
    (not_here,) = re.findall(r"^## Not here$(.*)", page, re.DOTALL | re.MULTILINE)

    known = set()
    for name, *_, subcommands in theirs.wire.read("COMMAND"):
        known.add(name.decode())
        if name.decode() in ours:
            known |= {sub.decode() for sub, *_ in subcommands}

    listed = {name.lower().replace(" ", "|") for name in re.findall("`([A-Z_ -]+)`", not_here)}
    assert listed == known - ours


@pytest.fixture(scope="module")
def asked():
    """The text of all tests."""
    return "\n".join(test.read_text("utf-8") for test in TESTS)


@every_command
def test_a_command_is_asked_in_some_test(asked, item):
    if item.parent and item.name == "help":
        return  # all of them are asked below
    words = [re.escape(word) for word in item.full_name.upper().split("|")]
    name = r"""(?:["', ]|\\r\\n)+""".join(words)

    assert re.search(rf"""["'/(]{name}(?:["' ]|\\r)""", asked), f"no test asks {item.full_name}"


@pytest.mark.memory_store("the engine's words")
@pytest.mark.parametrize("container", CONTAINERS, ids=lambda item: item.name)
def test_a_command_with_subcommands_explains_them_all(wire, container):
    lines = wire.read(container.name.upper(), "HELP")

    for item in container.subcommands:
        at = lines.index(f"{item.name.upper()} {item.syntax}".strip())
        assert lines[at + 1] == f"    {item.summary}"


# ------------------------------------------------------------------ what is shown
@pages_with("python")
def test_the_python_on_a_page_runs(serving, digits, tmp_path, page):
    """All of a page runs as one program, so that its later blocks can build on its first ones.

    Paths on it start at the root of the repository, or at the folder of an example. A server on
    port 6379 is the one that the tests have started.
    """
    program = "\n".join(blocks(page, "python"))
    if "redis" in program:
        assert "6379" in program, "name the port, so that this test can put in another one"
    program = program.replace("6379", str(serving.port))
    folder = page.parent if "examples" in page.parts else ROOT

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pages_with("py")
def test_a_fragment_on_a_page_stands_in_a_program_beside_it(page):
    """A fragment is marked `py` where a program is `python`: it cannot run by itself."""
    programs = [dedent_lines(program.read_text("utf-8")) for program in page.parent.glob("*.py")]

    for fragment in blocks(page, "py"):
        assert any(dedent_lines(fragment) in program for program in programs)


def dedent_lines(text):
    return "".join(f"{line.strip()}\n" for line in text.splitlines())


def transcript(block):
    """Yields each command of a console block with what it is said to print."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = part.replace("\\\n", "").partition("\n")
        yield command, expected


def runnable(command):
    """Returns whether a test may run a command: it installs nothing and comes to an end."""
    words = shlex.split(command)
    return words[0] in {"redis-cli", "tensorkeep"} and words[1:2] != ["serve"]


@pages_with("console")
def test_the_commands_on_a_page_print_what_it_says(serving, tool, page):
    cli = f"{tool('redis-cli')} --no-raw -p {serving.port}"
    tensorkeep = f"{sys.executable} -m tensorkeep_server"
    env = os.environ | {"TENSORKEEP_URL": f"redis://127.0.0.1:{serving.port}"}
    checker, options = OutputChecker(), ELLIPSIS | NORMALIZE_WHITESPACE
    for block in blocks(page, "console"):
        for command, expected in transcript(block):
            if not runnable(command):
                continue
            shown = re.sub(r"^redis-cli\b", cli, command)
            shown = re.sub(r"^tensorkeep\b", tensorkeep, shown)
            done = subprocess.run(
                ["bash", "-c", shown], cwd=ROOT, capture_output=True, text=True, timeout=60,
                env=env, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}: {done.stderr}"  # progress goes to stderr
            assert checker.check_output(expected, done.stdout, options), (
                f"$ {command}\n{done.stdout}\ninstead of\n{expected}"
            )


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_the_tasks_that_a_page_names_are_in_the_noxfile(page):
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    tasks = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}

    assert set(re.findall(r"nox (?:-\w )*-s ([a-z0-9_]+)", text_of(page))) <= tasks


def test_every_task_of_the_noxfile_is_in_the_menu():
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    tasks = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any("nox.session" in ast.unparse(decorator) for decorator in node.decorator_list)
    }
    page = text_of(ROOT / "CONTRIBUTING.md")
    (menu,) = re.findall(r"^## The menu$(.*?)^## ", page, re.DOTALL | re.MULTILINE)

    assert tasks - set(re.findall("[a-z0-9_]+", menu)) == set()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_the_files_that_a_page_links_to_are_there(page):
    links = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text_of(page))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_the_commands_and_options_of_tensorkeep_that_a_page_shows_are_there(page):
    there = {
        name: {"--help", *(flag for each in command.params for flag in flags_of(each))}
        for name, command in get_command(app).commands.items()
    }

    shown = re.findall(
        r"(?:^(?:\$ )?|`)tensorkeep ([a-z][a-z-]*)([^`\n]*)", text_of(page), re.MULTILINE
    )

    for name, rest in shown:
        assert name in there
        assert set(re.findall(r"--[a-z][a-z-]*", rest)) <= there[name]


def flags_of(option):
    return [*option.opts, *option.secondary_opts]
