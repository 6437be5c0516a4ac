"""`tensorkeep plugins`: which backends and stores are installed, and whether they work."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tensorkeep import stores
from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep.errors import BackendUnavailable
from tensorkeep.places import Places

if TYPE_CHECKING:
    from tensorkeep.backend import Backend
    from tensorkeep.backends import BackendStatus
    from tensorkeep.hookspecs import DeviceInfo
    from tensorkeep.stores import StoreStatus


def plugins(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the installed backends and stores, and try each.

    Each backend is loaded, checked, and run once: in a process of its own where that works, as the
    server does it by default. Each store is loaded.
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
    kept = [_described_store(each) for each in stores.status()]
    if as_json:
        typer.echo(json.dumps({"backends": found, "stores": kept}, indent=2))
    else:
        _show(found, places.unavailable, sandbox)
        _show_stores(kept)


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


def _described_store(store: StoreStatus) -> dict[str, Any]:
    return {
        "schemes": list(store.schemes),
        "distribution": store.distribution,
        "works": not store.reason,
        "reason": store.reason,
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
        framework, devices = "", ""
        if backend["works"]:
            framework = f"{backend['framework']} {backend['framework_version']}"
            devices = "\n".join(
                f"{device['name']} ({device['description']})" for device in backend["devices"]
            )
        table.add_row(
            escape(backend["name"]),
            escape(backend["distribution"]),
            escape(framework),
            escape(devices),
            backend.get("isolated", ""),
            _state(backend),
        )
    console.print(table)
    if unavailable:
        console.print(f"Nothing can be isolated: {unavailable}", highlight=False, markup=False)
    elif sandbox:
        console.print(f"Sandbox of what is isolated: {sandbox}", highlight=False, markup=False)


def _show_stores(kept: list[dict[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - the server starts without it
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    if not kept:
        console.print("No store is installed.")
        return
    table = Table("store", "from", "state")
    for store in kept:
        schemes = "\n".join(f"{scheme}:" for scheme in store["schemes"])
        table.add_row(escape(schemes), escape(store["distribution"]), _state(store))
    console.print(table)


def _state(plugin: dict[str, Any]) -> str:
    from rich.markup import escape  # noqa: PLC0415 - the server starts without it

    if plugin["works"]:
        return "[green]works[/green]"
    return f"[red]does not work:[/red] {escape(plugin['reason'])}"
