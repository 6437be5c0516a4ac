"""What INFO says of isolation: the workers outside the server, and where each model runs, and why.

Fields whose values are pairs, as in `db0:keys=1,expires=0`: clients make maps of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote_from_bytes

from tensorkeep.bounded_log import shown
from tensorkeep.naming import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorkeep.engine import Engine
    from tensorkeep.model import Runnable

# What of a key stands in the name of a field: a colon would end it, and lines must stay whole.
_PLAIN: Final = "".join(map(chr, range(0x21, 0x7F))).translate(dict.fromkeys(map(ord, "%:#")))


def workers(engine: Engine) -> Mapping[str, object]:
    """Returns what is isolated, what was counted of workers, and what each does."""
    places = engine.places
    fields: dict[str, object] = {
        "isolation_setting": engine.config.isolate,
        "isolation_unavailable": _one_value(places.unavailable),
    }
    found = places.workers
    if found is None:
        return fields
    fields["isolation_sandbox"] = _one_value(found.sandbox()) or "none"
    fields |= {f"isolation_{name}": count for name, count in found.counts().items()}
    fields |= {
        f"worker_{each.pid}": f"backend={each.backend},memory={each.memory},runs={each.runs},"
        f"models={each.models}"
        for each in found.workers()
    }
    return fields


def models(engine: Engine) -> Mapping[str, object]:
    """Returns where each model and script runs and why, and whether it ends its workers."""
    return {
        f"{kind_of(runnable)}_{quote_from_bytes(key, _PLAIN)}": _told(runnable)
        for key, runnable in sorted(engine.catalog.items())
    }


def _told(runnable: Runnable) -> str:
    placement, crashes = runnable.placement, runnable.crashes
    return (
        f"backend={runnable.spec.backend},device={runnable.spec.device.name},"
        f"where={'isolated' if placement.isolated else 'here'},crashes={crashes.total},"
        f"refused={'yes' if crashes.refused else 'no'},why={_one_value(placement.reason)}"
    )


def _one_value(text: str) -> str:
    """Returns a text without what would end a value, or a line."""
    return shown(text).replace(",", ";").replace("=", " ")
