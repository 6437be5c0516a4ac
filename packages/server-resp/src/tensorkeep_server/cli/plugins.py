"""`tensorkeep plugins`: which backends are installed, and whether they work."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep.errors import BackendUnavailable
from tensorkeep.places import Places

if TYPE_CHECKING:
    from tensorkeep.backend import Backend
    from tensorkeep.backends import BackendStatus
    from tensorkeep.hookspecs import DeviceInfo


def plugins(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the installed backends, and try each.

    Each is loaded, checked, and run once: in a process of its own where that works, as the server
    does it by default.
    """
    # What does not work is told in the list; its traceback as well is for `serve` to log.
    logging.getLogger().addHandler(logging.NullHandler())
    backends = Backends()
    places = Places(backends, EngineConfig(isolate="all"))
    for name in backends.names():
        with suppress(BackendUnavailable):
            places.load(name, places.of_script(name))
    sandbox = places.workers.sandbox() or "none" if places.workers else ""
    found = [_described(status, backends, sandbox) for status in backends.status()]
    places.close()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _show(found, places.unavailable, sandbox)


def _described(status: BackendStatus, backends: Backends, sandbox: str) -> dict[str, Any]:
    backend = status.isolated or status.backend
    if backend is None:
        return {
            "name": status.name,
            "distribution": status.distribution,
            "works": False,
            "reason": status.reason,
        }
    return {
        "name": status.name,
        "distribution": status.distribution,
        "works": True,
        "framework": backend.info.framework,
        "framework_version": backend.info.framework_version,
        "scripts": backend.info.scripts,
        "devices": [_described_device(device) for device in backend.devices],
        "isolated": _isolated(backend, backends),
        "sandbox": sandbox if backend.isolated else "",
    }


def _isolated(backend: Backend, backends: Backends) -> str:
    """Returns what of a backend runs in processes of their own by default, for people."""
    if not backend.isolated:
        return "nothing"
    if not backends.has_judge(backend.name):
        return "everything"
    return "all but harmless models"


def _described_device(device: DeviceInfo) -> dict[str, Any]:
    return {
        "name": device.kind if device.index is None else f"{device.kind}:{device.index}",
        "description": device.description,
        "memory": device.memory,
        "dtypes": sorted(dtype.name for dtype in device.dtypes),
    }


def _show(found: list[dict[str, Any]], unavailable: str, sandbox: str) -> None:
    from rich.console import Console  # noqa: PLC0415 - the server starts without it
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    if not found:
        console.print("No backend is installed.")
        return
    table = Table("backend", "from", "framework", "devices", "isolated", "state")
    for backend in found:
        framework, devices, state = (
            "",
            "",
            f"[red]does not work:[/red] {escape(backend.get('reason', ''))}",
        )
        if backend["works"]:
            framework = f"{backend['framework']} {backend['framework_version']}"
            devices = "\n".join(
                f"{device['name']} ({device['description']})" for device in backend["devices"]
            )
            state = "[green]works[/green]"
        table.add_row(
            escape(backend["name"]),
            escape(backend["distribution"]),
            escape(framework),
            escape(devices),
            backend.get("isolated", ""),
            state,
        )
    console.print(table)
    if unavailable:
        console.print(f"Nothing can be isolated: {unavailable}", highlight=False, markup=False)
    elif sandbox:
        console.print(f"Sandbox of what is isolated: {sandbox}", highlight=False, markup=False)
