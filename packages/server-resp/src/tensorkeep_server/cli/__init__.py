"""The command line: `tensorkeep serve`, `plugins`, `store-model` and `info`.

To start the server must be quick, so nothing that it does not need is imported at the top here or
in the modules of the commands: no redis-py, and of rich only what typer itself imports.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tensorkeep_server.cli import info, plugins, serve, store_model
from tensorkeep_server.cli.sources import PREFIX, SettingsCommand
from tensorkeep_server.identity import tensorkeep_version

app = typer.Typer(
    name="tensorkeep",
    help="An in-memory tensor store and model server that speaks the Redis protocol.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: tables cut the names of options on narrow terminals
)
# Every setting of `serve` can be given by a variable such as TENSORKEEP_PORT.
app.command(cls=SettingsCommand, context_settings={"auto_envvar_prefix": PREFIX})(serve.serve)
app.command()(plugins.plugins)
app.command()(store_model.store_model)
app.command()(info.info)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - a callback
    if wanted:
        typer.echo(f"tensorkeep {tensorkeep_version()}")
        raise typer.Exit


@app.callback()
def tensorkeep(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Holds what comes before a command."""
