"""Where the settings of a command come from: flags, environment variables and a TOML file.

A flag wins over the environment, and that over the file. What is wrong is said of the place where
it stands: of a flag, a variable, or a key of the file.
"""

from __future__ import annotations

import os
import tomllib
from difflib import get_close_matches
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

PREFIX: Final = "TENSORKEEP"
"""What the names of environment variables begin with."""

# What a value of a file must be, by the type of the setting.
_EXPECTED: Final[Mapping[type, tuple[Callable[[Any], bool], str]]] = {
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    float: (
        lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        "a number",
    ),
    list: (
        lambda value: (
            isinstance(value, str)
            or (isinstance(value, list) and all(isinstance(item, str) for item in value))
        ),
        "a string or a list of strings",
    ),
    str: (lambda value: isinstance(value, str), "a string"),
}


class SettingsCommand(TyperCommand):
    """A command whose errors name the variable or the file in which a wrong value stands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer names its type nowhere
        """Parses the command line; a value that is refused is said to stand where it stands."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if error.param is not None and error.param.name is not None:
                error.param_hint = place(ctx, error.param.name)
            raise


def place(context: typer.Context, name: str) -> str:
    """Returns where a setting was given, for an error about it.

    Args:
        context: The command's.
        name: The parameter's name.
    """
    source = context.get_parameter_source(name)
    if source is not None and source.name == "ENVIRONMENT":
        return variable(name)
    if source is not None and source.name == "DEFAULT_MAP":
        return f"'{_key(name)}' in {context.params['config']}"
    return f"'--{_key(name)}'"


def variable(name: str) -> str:
    """Returns the name of the environment variable of a setting."""
    return f"{PREFIX}_{name.upper()}"


def unknown_variables(context: typer.Context, known: Collection[str]) -> list[str]:
    """Returns what to say of environment variables that look like settings and are none.

    Args:
        context: The command's.
        known: Other variables with our prefix that have a meaning.
    """
    settings = [(param.name or "").upper() for param in context.command.params]
    said = []
    for name in sorted(os.environ):
        prefix, _, word = name.partition("_")
        if prefix == PREFIX and word not in settings and name not in known:
            close = get_close_matches(word, settings, n=1)
            hint = f", is {PREFIX}_{close[0]} meant?" if close else ""
            said.append(f"{name} is no setting and has no effect{hint}")
    return said


# --------------------------------------------------------------------------- the file
def read_file(context: typer.Context, path: Path | None) -> Path | None:
    """Makes what a file says the default of every other setting.

    Args:
        context: The command's.
        path: The file, None for none.

    Raises:
        typer.BadParameter: The file cannot be read, has an unknown key, or a value of another type.
    """
    if path is None:
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} is not TOML: {error}") from error
    types = _types_by_key(context)
    for key, value in content.items():
        if key not in types:
            known = ", ".join(sorted(types))
            raise typer.BadParameter(f"{path}: unknown key {key!r}; expected one of {known}")
        fits, expected = _EXPECTED[types[key]]
        if not fits(value):
            raise typer.BadParameter(f"{path}: {key} must be {expected}, not {value!r}")
    context.default_map = {
        key.replace("-", "_"): [value] if types[key] is list and isinstance(value, str) else value
        for key, value in content.items()
    }
    return path


def _types_by_key(context: typer.Context) -> dict[str, type]:
    """Returns what a file may say: keys, spelled as the flags, and the types of their values."""
    hints = {
        name: hint
        for name, hint in get_type_hints(context.command.callback).items()
        if name not in {"context", "config", "return"}
    }
    return {_key(name): _plain_type(hint) for name, hint in hints.items()}


def _key(name: str) -> str:
    return name.replace("_", "-")


def _plain_type(hint: Any) -> type:  # noqa: ANN401 - whatever stands behind a colon
    """Returns the type that a value of a setting has in a file."""
    if get_origin(hint) is UnionType:  # with None, for not given
        hint = get_args(hint)[0]
    found: type = get_origin(hint) or hint
    return str if issubclass(found, str) else found
