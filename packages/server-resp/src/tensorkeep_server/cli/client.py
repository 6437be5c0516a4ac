"""How the commands for people reach a running server, and what they say when they cannot."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
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
        help="Where the server is: redis://host:port/database, rediss:// for TLS, or unix:///path;"
        " user and password may stand before the host: redis://user:password@host.",
    ),
]
Host: TypeAlias = Annotated[str | None, typer.Option(help="Its host, instead of a URL.")]
Port: TypeAlias = Annotated[int | None, typer.Option(help="Its TCP port, instead of a URL.")]
UnixSocket: TypeAlias = Annotated[
    str | None, typer.Option(help="Path of its Unix socket, instead of a URL.")
]
User: TypeAlias = Annotated[
    str | None, typer.Option(help="Who asks; the user `default` without it.")
]
Password: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--pass",
        help="The user's password. Others see the command line: rather put it into"
        f" {URL_VARIABLE}.",
    ),
]
UseTls: TypeAlias = Annotated[bool, typer.Option("--tls", help="Whether to speak TLS.")]
CaCert: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="Certificates to trust, in PEM; those of the system without it.",
    ),
]
Cert: TypeAlias = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Certificate to show the server, in PEM."),
]
CertKey: TypeAlias = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="The certificate's key, if it is elsewhere."),
]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, and how that and the server's identity are made sure of.

    Attributes:
        user: The user, None for the default one.
        password: The password, None for none.
        tls: Whether to speak TLS; certificates ask for that, too.
        ca_cert: File of the certificates to trust.
        cert: File of the certificate to show.
        cert_key: File of its key.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca_cert: Path | None = None
    cert: Path | None = None
    cert_key: Path | None = None

    @property
    def secured(self) -> bool:
        """Whether TLS is spoken, unless a URL says so."""
        return self.tls or any((self.ca_cert, self.cert, self.cert_key))

    def options(self) -> dict[str, Any]:
        """Returns what redis-py is told, without what was not given."""
        given = {
            "username": self.user,
            "password": self.password,
            "ssl_ca_certs": self.ca_cert,
            "ssl_certfile": self.cert,
            "ssl_keyfile": self.cert_key,
        }
        return {name: str(value) for name, value in given.items() if value is not None}


NOBODY: Final = Identity()
"""Who asks without saying who it is, and without TLS."""


@contextmanager
def client_of(  # noqa: PLR0913 - a place may be given in three ways
    url: str,
    host: str | None,
    port: int | None,
    unix_socket: str | None,
    identity: Identity = NOBODY,
    *,
    patience: float | None = 5.0,
) -> Iterator[Redis]:
    """Connects to a server; what goes wrong becomes one line and exit code 1.

    Args:
        url: Where the server is, unless one of the others says so.
        host: Its host.
        port: Its port.
        unix_socket: Path of its Unix socket.
        identity: Who asks.
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
        **identity.options(),
    }
    try:
        if unix_socket is not None:
            client = Redis(unix_socket_path=unix_socket, **options)
        elif host is not None or port is not None:
            port = 6379 if port is None else port
            client = Redis(host or "127.0.0.1", port, ssl=identity.secured, **options)
        else:
            if identity.secured and url.startswith("redis://"):
                url = url.replace("redis://", "rediss://", 1)
            client = Redis.from_url(url, **options)
        with client:
            yield client
    except (RedisError, OSError, ValueError) as error:
        typer.echo(f"tensorkeep: {error}", err=True)
        raise typer.Exit(1) from error
