"""How the commands for people reach a running server, and what they say when they cannot."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

URL_VARIABLE: Final = "TENSORKEEP_URL"
DEFAULT_URL: Final = "redis://127.0.0.1:6379"

Url: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar=URL_VARIABLE,
        help="Where the server is: redis://host:port/database, or unix:///path.",
    ),
]
Host: TypeAlias = Annotated[str | None, typer.Option(help="Its host, instead of a URL.")]
Port: TypeAlias = Annotated[int | None, typer.Option(help="Its TCP port, instead of a URL.")]
UnixSocket: TypeAlias = Annotated[
    str | None, typer.Option(help="Path of its Unix socket, instead of a URL.")
]


@contextmanager
def client_of(
    url: str,
    host: str | None,
    port: int | None,
    unix_socket: str | None,
    *,
    patience: float | None = 5.0,
) -> Iterator[Redis]:
    """Connects to a server; what goes wrong becomes one line and exit code 1.

    Args:
        url: Where the server is, unless one of the others says so.
        host: Its host.
        port: Its port.
        unix_socket: Path of its Unix socket.
        patience: Seconds to wait for a reply; None for as long as it takes.
    """
    from redis import Redis, RedisError  # noqa: PLC0415 - the server starts without it
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    # A person would rather know at once, and nothing is ever sent twice.
    options: dict[str, Any] = {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": patience,
        "socket_connect_timeout": 5.0,
    }
    try:
        if unix_socket is not None:
            client = Redis(unix_socket_path=unix_socket, **options)
        elif host is not None or port is not None:
            port = 6379 if port is None else port
            client = Redis(host or "127.0.0.1", port, **options)
        else:
            client = Redis.from_url(url, **options)
        with client:
            yield client
    except (RedisError, OSError, ValueError) as error:
        typer.echo(f"tensorkeep: {error}", err=True)
        raise typer.Exit(1) from error
