"""AI.INFO and the scans: what is known of models and scripts by the names of their storing.

One that was renamed is found here under its old name, as in the original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.command import (
    MODULE,
    READONLY,
    TO_READ,
    Command,
    Difference,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK
from tensorkeep.model import Model, ModelSpec, Script
from tensorkeep.stats import RunStats
from tensorkeep.store import Record, is_remote
from tensorkeep_server.commands.ai import wanted
from tensorkeep_server.commands.ai.models import encoded
from tensorkeep_server.later import Later
from tensorkeep_server.remote_calls import session_of
from tensorkeep_server.scan_order import scan_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorkeep.commands.args import Args
    from tensorkeep.commands.reply import Reply
    from tensorkeep.model import ScriptSpec
    from tensorkeep_server.state import Client


# --------------------------------------------------------------------------- AI.INFO
class Info(NamedTuple):
    """AI.INFO key [RESETSTAT]; another word than RESETSTAT means nothing."""

    key: bytes
    reset: bool


def parse_info(args: Args) -> Info:
    """Parses AI.INFO."""
    if not 1 <= len(args) <= 2:  # noqa: PLR2004 - key and RESETSTAT
        raise args.wrong_arity()
    return Info(args.take(), args.peek() == b"RESETSTAT")


def info(client: Client, request: Info) -> Reply:
    """Returns what was counted of a model's or script's runs, or sets the counters back."""
    if client.session is None:
        found = client.server.engine.catalog.get(request.key)
    else:
        stored = client.keys.get(request.key)
        found = client.session.built(request.key) if isinstance(stored, Record) else None
        if isinstance(stored, Record) and (
            found is None or found.spec != stored.spec
        ):  # not built here yet, or replaced since
            return OK if request.reset else _told(request.key, stored.spec, RunStats())
    if found is None:
        raise CommandError("ERR cannot find run info for key")
    spec, stats = found.spec, found.stats
    if request.reset:
        stats.reset()
        return OK
    told = _told(request.key, spec, stats)
    if isinstance(found, Model) and found.spec.batching.size and found.unshared:
        # Only where there is something to say: clients of the original see what they know.
        return (*told, b"batching", f"none: {found.unshared}".encode("utf-8", "backslashreplace"))
    return told


def _told(key: bytes, spec: ModelSpec | ScriptSpec, stats: RunStats) -> tuple[Reply, ...]:
    return (
        b"key",
        key,
        b"type",
        b"MODEL" if isinstance(spec, ModelSpec) else b"SCRIPT",
        b"backend",
        encoded(spec.backend),
        b"device",
        encoded(spec.device.name),
        b"tag",
        encoded(spec.tag),
        b"duration",
        stats.duration_us,
        b"samples",
        stats.samples,
        b"calls",
        stats.calls,
        b"errors",
        stats.errors,
    )


# --------------------------------------------------------------------------- the scans
def parse_scan(args: Args) -> None:
    """Parses AI._MODELSCAN and AI._SCRIPTSCAN."""
    if len(args):
        raise args.wrong_arity()


def model_scan(client: Client, _: None) -> Reply | Later:
    """Lists all models with their tags."""
    return _scan(client, Model)


def script_scan(client: Client, _: None) -> Reply | Later:
    """Lists all scripts with their tags."""
    return _scan(client, Script)


def _scan(client: Client, kind: type[Model | Script]) -> Reply | Later:
    """Lists what is of one kind, in the order of the one table that has both kinds."""
    store = client.server.store
    if is_remote(store):
        later = Later()
        store.catalog(
            kind,
            session_of(client),
            lambda found: later.resolve(lambda: _listed(dict(found()))),
        )
        return later
    catalog = dict(client.server.engine.catalog)
    if not client.user.unrestricted:  # nobody hears of keys that he may not read
        may_use = client.user.rights.may_use
        catalog = {key: each for key, each in catalog.items() if may_use(key, TO_READ)}
    return _listed(
        {key: each.spec.tag for key, each in catalog.items() if isinstance(each, kind)},
        scan_order(catalog),
    )


def _listed(tags: dict[bytes, str], order: Iterable[bytes] | None = None) -> Reply:
    names = scan_order(tags) if order is None else [key for key in order if key in tags]
    return tuple((key, encoded(tags[key])) for key in names)


_NO_WARNING: Final = Difference(
    "Logs a warning at each call: the command is experimental and might be removed.",
    "Logs nothing.",
    "It stays: `tensorkeep info` asks it.",
)

COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ai._modelscan",
        parse_scan,
        model_scan,
        summary="Lists all models and their tags.",
        differences=(_NO_WARNING,),
        group="module",
        flags=(READONLY, MODULE),
        categories=("model",),
    ),
    command(
        "ai._scriptscan",
        parse_scan,
        script_scan,
        summary="Lists all scripts and their tags.",
        differences=(_NO_WARNING,),
        group="module",
        flags=(READONLY, MODULE),
        categories=("script",),
    ),
    command(
        "ai.info",
        parse_info,
        info,
        summary="Returns what was counted of the runs of a model or script, or sets it back.",
        wanted=wanted.record,
        group="module",
        flags=(READONLY, MODULE),
        categories=("model", "script"),
        keys=(1, 1, 1),
        syntax="key [RESETSTAT]",
        differences=(
            Difference(
                "Has nine fields.",
                "Of a model that has `BATCHSIZE` and whose requests share no runs, a tenth says so:"
                " `batching`, with the reason.",
                "It could not be seen elsewhere. Clients make a map of the fields.",
            ),
        ),
    ),
)
