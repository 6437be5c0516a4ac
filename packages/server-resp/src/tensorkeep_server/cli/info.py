"""`tensorkeep info`: what a running server says of itself, its models and its scripts."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import unquote_to_bytes

import typer

from tensorkeep_server.cli.client import (
    DEFAULT_URL,
    CaCert,
    Cert,
    CertKey,
    Host,
    Identity,
    Password,
    Port,
    UnixSocket,
    Url,
    User,
    UseTls,
    client_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis
    from rich.console import Console

_MEGABYTE: Final = 1_000_000
_MILLISECOND: Final = 1000  # microseconds
_ISOLATION: Final = "isolation_"  # before the names of INFO's fields that count workers
_PLACE: Final = ("where", "why", "crashes", "refused")
_KINDS: Final = {"MODEL": "models", "SCRIPT": "scripts"}  # by the type that AI.INFO says

# The numbers of INFO's Server, Clients, Stats and Memory sections that people look for.
_SERVER: Final = {
    "version": "tensorkeep_version",
    "pid": "process_id",
    "uptime_seconds": "uptime_in_seconds",
    "clients": "connected_clients",
    "commands": "total_commands_processed",
    "memory_bytes": "used_memory",
}


def info(  # noqa: PLR0913 - one parameter for each option
    key: Annotated[
        str | None, typer.Argument(help="Only the model or script under this key.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    url: Url = DEFAULT_URL,
    host: Host = None,
    port: Port = None,
    unix_socket: UnixSocket = None,
    user: User = None,
    password: Password = None,
    tls: UseTls = False,
    cacert: CaCert = None,
    cert: Cert = None,
    cert_key: CertKey = None,
) -> None:
    """Describe a running server, its models and its scripts."""
    identity = Identity(user, password, tls, cacert, cert, cert_key)
    with client_of(url, host, port, unix_socket, identity) as client:
        if key is None:
            told = _everything(client)
        else:
            found = _counted(client, key)
            kind = found["type"]
            fields = _info_fields(client, "MODELS")
            place = _places(fields, kind.lower()).get(os.fsencode(key), {})
            told = {_KINDS[kind]: [found | place]}
    if as_json:
        typer.echo(json.dumps(told, indent=2))
    else:
        _show(told)


def _info_fields(client: Redis, section: str) -> dict[str, str]:
    # redis-py would take a version such as 1.20 for a number.
    client.set_response_callback("INFO", bytes.decode)
    return parsed(client.execute_command("INFO", section))


def _everything(client: Redis) -> dict[str, Any]:
    fields = _info_fields(client, "EVERYTHING")
    if "tensorkeep_version" not in fields:
        raise ValueError("this server is not Tensorkeep")
    return {
        "server": {name: _number(fields[field]) for name, field in _SERVER.items()},
        "databases": dict(_described(fields, "db")),
        "backends": dict(_described(fields, "backend_")),
        "devices": {name.replace("_", ":"): told for name, told in _described(fields, "device_")},
        "isolation": {
            name.removeprefix(_ISOLATION): _number(value)
            for name, value in fields.items()
            if name.startswith(_ISOLATION)
        },
        "workers": dict(_described(fields, "worker_")),
        "models": _all_counted(client, "model", fields),
        "scripts": _all_counted(client, "script", fields),
    }


def parsed(text: str) -> dict[str, str]:
    """Returns the fields of INFO's text."""
    lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in lines if colon}


def _described(fields: dict[str, str], prefix: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """Finds fields whose values are pairs, as in `db0:keys=1,expires=0`."""
    for name, value in fields.items():
        if name.startswith(prefix) and "=" in value:
            pairs = (pair.partition("=") for pair in value.split(","))
            yield name.removeprefix(prefix), {key: _number(part) for key, _, part in pairs}


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _all_counted(client: Redis, kind: str, fields: dict[str, str]) -> list[dict[str, Any]]:
    """Returns what is known of all models or all scripts, in the order of their keys."""
    from redis import ResponseError  # noqa: PLC0415 - the server starts without it

    counted, places = [], _places(fields, kind)
    for key in sorted(key for key, _ in client.execute_command(f"AI._{kind.upper()}SCAN")):
        with suppress(ResponseError):  # it was deleted meanwhile
            counted.append(_counted(client, key) | places.get(key, {}))
    return counted


def _places(fields: dict[str, str], kind: str) -> dict[bytes, dict[str, Any]]:
    """Returns where each model or each script runs, by the fields of INFO."""
    return {
        unquote_to_bytes(key): {name: told[name] for name in _PLACE if name in told}
        for key, told in _described(fields, f"{kind}_")
    }


def _counted(client: Redis, key: str | bytes) -> dict[str, Any]:
    """Returns what was counted of a model or script."""
    reply = client.execute_command("AI.INFO", key)
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: object) -> Any:  # noqa: ANN401 - what is not bytes stays as it is
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


# --------------------------------------------------------------------------- for people
def _show(told: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415 - the server starts without it

    console = Console()
    if "server" in told:
        server = told["server"]
        keys = sum(database["keys"] for database in told["databases"].values())
        console.print(
            f"Tensorkeep {server['version']}, pid {server['pid']},"
            f" up {timedelta(seconds=server['uptime_seconds'])}:"
            f" {_counted_noun(server['clients'], 'client')}, {server['commands']} commands so far,"
            f" {_counted_noun(keys, 'key')},"
            f" {server['memory_bytes'] / _MEGABYTE:.0f} MB of memory",
            highlight=False,
        )
    if "isolation" in told:
        console.print(_isolation_line(told["isolation"]), highlight=False)
    for kind in ("backend", "device", "worker"):
        rows = [{kind: name, **fields} for name, fields in told.get(f"{kind}s", {}).items()]
        _print_table(console, rows)
    for kind in ("model", "script"):
        _print_table(console, [_shown(kind, counted) for counted in told.get(f"{kind}s", ())])
    reasons: dict[str, list[str]] = {}
    for counted in (*told.get("models", ()), *told.get("scripts", ())):
        if counted.get("where") == "isolated":
            reasons.setdefault(counted["why"], []).append(_printable(counted["key"]))
    for why, keys in reasons.items():
        console.print(f"isolated ({why}): {', '.join(keys)}", highlight=False, markup=False)


def _isolation_line(told: dict[str, Any]) -> str:
    from rich.markup import escape  # noqa: PLC0415 - the server starts without it

    line = f"isolated: {told['setting']}"
    if told.get("unavailable"):
        line += f", but all run in the server: {told['unavailable']}"
    if "sandbox" in told:
        counts = ", ".join(
            f"{told[name]} {name}" for name in ("started", "crashed", "killed", "recycled")
        )
        line += f"; workers: {counts}; sandbox: {told['sandbox']}"
    return escape(line)


def _counted_noun(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shown(kind: str, counted: dict[str, Any]) -> dict[str, Any]:
    """Adds what people would work out from the counters of a model or script."""
    runs = counted["calls"] - counted["errors"]
    mean = f"{counted['duration'] / runs / _MILLISECOND:.3f}" if runs else "-"
    shown = {
        name: counted[name] for name in ("backend", "device", "tag", "calls", "errors", "samples")
    }
    if kind == "script":
        del shown["samples"]  # nobody counts them
    shown["ms per run"] = mean
    if "where" in counted:
        shown["where"] = counted["where"]
    if counted.get("crashes"):
        refused = ", refused" if counted["refused"] == "yes" else ""
        shown["crashes"] = f"{counted['crashes']}{refused}"
    if "batching" in counted:
        shown["batching"] = counted["batching"]
    return {kind: counted["key"], **shown}


def _print_table(console: Console, rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Column, Table  # noqa: PLC0415

    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    # Without underscores a title may break between its words.
    titles = [name.replace("_", " ") for name in names]
    table = Table(*(Column(title, overflow="fold") for title in titles))
    for row in rows:
        table.add_row(*(escape(_printable(str(row.get(name, "")))) for name in names))
    console.print(table)


def _printable(text: str) -> str:
    """Returns a text that changes neither the table nor the terminal: keys may be any bytes."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
