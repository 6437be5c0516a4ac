"""Addresses of engines, as URLs that redis-py knows, and of the Sentinels that name one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio.connection import RedisSSLContext, parse_url

from tensorkeep.errors import StoreError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

SCHEMES: Final = {"redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss"}
"""Schemes of an engine's own address, and how redis-py calls them; the secure ones end with `s`."""

_SENTINEL: Final = "+sentinel"
_DEFAULT_PORT: Final = 6379
_DEFAULT_SENTINEL_PORT: Final = 26379
_PORTS: Final = 65536
_OPTIONS: Final = frozenset({"db", "socket_timeout", "socket_connect_timeout"})
_SENTINEL_OPTIONS: Final = frozenset({"sentinel_username", "sentinel_password"})
# How redis-py calls the options of TLS, and how its context does.
_TLS_OPTIONS: Final = {
    "ssl_keyfile": "keyfile",
    "ssl_certfile": "certfile",
    "ssl_cert_reqs": "cert_reqs",
    "ssl_include_verify_flags": "include_verify_flags",
    "ssl_exclude_verify_flags": "exclude_verify_flags",
    "ssl_ca_certs": "ca_certs",
    "ssl_ca_path": "ca_path",
    "ssl_ca_data": "ca_data",
    "ssl_check_hostname": "check_hostname",
    "ssl_min_version": "min_version",
    "ssl_ciphers": "ciphers",
    "ssl_password": "password",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who somebody is towards an engine.

    Attributes:
        user: Name; None for the user `default`.
        password: Password.
    """

    user: bytes | None
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine is.

    Attributes:
        shown: The address for people, without passwords and options.
        host: Name or number; empty for a Unix socket, and with Sentinels.
        port: TCP port.
        path: Path of a Unix socket, or empty.
        database: Number of the database that clients begin in.
        credentials: Who the server itself is towards the engine; None if it does not say so.
        tls: Makes the settings of TLS; None for none.
        sentinels: Hosts and ports of the Sentinels; none if the engine is named itself.
        service: Name under which the Sentinels know the engine.
        sentinel_credentials: Who the server is towards the Sentinels.
        timeout: Seconds that the engine may take for a request of the server's own.
        connect_timeout: Seconds that connecting may take.
    """

    shown: str
    host: str = ""
    port: int = _DEFAULT_PORT
    path: str = ""
    database: int = 0
    credentials: Credentials | None = None
    tls: RedisSSLContext | None = field(default=None, repr=False)
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_credentials: Credentials | None = None
    timeout: float = 30.0
    connect_timeout: float = 5.0

    def tls_context(self) -> ssl.SSLContext | None:
        """Returns the settings of TLS, reading the files that they name; None for none.

        Raises:
            StoreError: A file is missing or is not what it should be.
        """
        if self.tls is None:
            return None
        try:
            return self.tls.get()
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise StoreError(
                f"ERR the TLS options of the store's address {self.shown} cannot be used: {error}"
            ) from error


def parse(url: str) -> Address:
    """Reads an address.

    Args:
        url: For example `valkey://user:password@host:6379/0`; the README of this package has all.

    Raises:
        StoreError: It is not one; the error names the part, and no password.
    """
    scheme, _, rest = url.partition(":")
    scheme = scheme.lower()
    try:
        query = parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=False)
    except ValueError:
        raise _wrong("it is no URL; [ ] stand around an IPv6 address only") from None
    if "@" in rest.partition("?")[2] or "#" in rest:  # both belong to a password, most likely
        raise _wrong(_SPECIAL)
    base, dash, _ = scheme.partition(_SENTINEL)
    secure = SCHEMES.get(base) == "rediss"
    _check_options(query, secure=secure, sentinel=bool(dash))
    if dash and base in SCHEMES:
        return _sentinels(scheme, base, rest, query)
    if scheme == "unix":
        return _unix(rest, query)
    if scheme not in SCHEMES:
        known = ", ".join([*SCHEMES, "unix", *(each + _SENTINEL for each in SCHEMES)])
        raise _wrong(f"its scheme {scheme!r} is none of {known}")
    netloc, path = _authority(rest)
    found = _read(SCHEMES[scheme] + ":" + rest)
    host, port = _host_and_port(netloc.rpartition("@")[2], _DEFAULT_PORT)
    database = _database(path, query)
    return Address(
        shown=f"{scheme}://{_joined(host, port)}/{database}",
        host=host,
        port=port,
        database=database,
        tls=_tls(found) if secure else None,
        **_common(found),
    )


def _unix(rest: str, query: Mapping[str, list[str]]) -> Address:
    found = _read("unix:" + rest)
    path = str(found.get("path", ""))
    if not path:
        raise _wrong("the path of the Unix socket is missing, as in unix:///run/valkey.sock")
    database = _database("", query)
    return Address(
        shown=f"unix://{path}?db={database}", path=path, database=database, **_common(found)
    )


def _sentinels(scheme: str, base: str, rest: str, query: Mapping[str, list[str]]) -> Address:
    netloc, path = _authority(rest)
    user, at, hosts = netloc.rpartition("@")
    places = tuple(_host_and_port(each, _DEFAULT_SENTINEL_PORT) for each in hosts.split(","))
    service, _, number = path.strip("/").partition("/")
    if not service:
        raise _wrong("the name of the service is missing, as in valkey+sentinel://host:26379/NAME")
    options = "?" + rest.partition("?")[2]
    found = _read(f"{SCHEMES[base]}://{user}{at}host/{options}")
    database = _database(number, query)
    listed = ",".join(_joined(*each) for each in places)
    password = query.get("sentinel_password", [""])[0]
    name = query.get("sentinel_username", [""])[0]
    return Address(
        shown=f"{scheme}://{listed}/{unquote(service)}/{database}",
        database=database,
        tls=_tls(found) if SCHEMES[base] == "rediss" else None,
        sentinels=places,
        service=unquote(service),
        sentinel_credentials=(
            Credentials(name.encode() or None, password.encode()) if password else None
        ),
        **_common(found),
    )


def _check_options(query: Mapping[str, list[str]], *, secure: bool, sentinel: bool) -> None:
    known = set(_OPTIONS)
    if secure:
        known.update(_TLS_OPTIONS)
    if sentinel:
        known |= _SENTINEL_OPTIONS
    for name in query:
        if name in known:
            continue
        if name in _TLS_OPTIONS:
            raise _wrong(f"its option {name!r} needs TLS: valkeys:// or rediss://")
        raise _wrong(f"its option {name!r} is none of {', '.join(sorted(known))}")


def _read(url: str) -> dict[str, Any]:
    """Has redis-py read a URL. Its own errors may show a part of the password."""
    try:
        return dict(parse_url(url))
    except ValueError as error:
        option = re.fullmatch(r"Invalid value for '(\w+)' in connection URL\.", str(error))
        if option is not None:
            raise _wrong(f"its option {option[1]!r} has a value that means nothing") from None
        raise _wrong(_SPECIAL) from None


_SPECIAL: Final = (
    "host and port cannot be told apart; in a user or password, write / as %2F, # as %23,"
    " ? as %3F, @ as %40, : as %3A, % as %25"
)


def _authority(rest: str) -> tuple[str, str]:
    """Returns what stands before the path, and the path, of a URL without its scheme."""
    if not rest.startswith("//"):
        raise _wrong("// is missing behind the scheme")
    netloc, _, path = rest[2:].partition("?")[0].partition("#")[0].partition("/")
    return netloc, path


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:,]*)(?::(\d*))?", text)
    if found is None:
        raise _wrong(_SPECIAL)
    port = int(found[2]) if found[2] else default
    if not 0 < port < _PORTS:
        raise _wrong("its port is not between 1 and 65535")
    return unquote(found[1].strip("[]")) or "localhost", port


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _database(path: str, query: Mapping[str, list[str]]) -> int:
    text = query["db"][0] if "db" in query else unquote(path).strip("/")
    if not text:
        return 0
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _wrong("its database is not a number such as 0, as in valkey://host:6379/0")
    return int(text)


def _common(found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what all kinds of addresses have."""
    common: dict[str, Any] = {}
    user, password = found.get("username"), found.get("password")
    if user and not password:
        raise _wrong("a user without a password")
    if password:
        common["credentials"] = Credentials(user.encode() if user else None, password.encode())
    for option, name in (("socket_timeout", "timeout"), ("socket_connect_timeout", None)):
        seconds = found.get(option)
        if seconds is not None:
            if not 0 < seconds < float("inf"):
                raise _wrong(f"its option {option!r} is not a number of seconds above 0")
            common[name or "connect_timeout"] = seconds
    return common


def _tls(found: Mapping[str, Any]) -> RedisSSLContext:
    options = {ours: found[name] for name, ours in _TLS_OPTIONS.items() if name in found}
    options.setdefault("cert_reqs", "required")
    options.setdefault("check_hostname", True)
    if options["cert_reqs"] not in {"none", "optional", "required"}:
        raise _wrong("its option 'ssl_cert_reqs' is none of none, optional, required")
    return RedisSSLContext(**options)


def _wrong(what: str) -> StoreError:
    return StoreError(f"ERR the store's address is wrong: {what}")
