"""TLS as it is set: Redis' settings, and the context of Python's `ssl` that they make.

New connections are given the context that there is when they come. When certificates are read anew,
connections that are open keep theirs.
"""

from __future__ import annotations

import logging
import os
import ssl
from dataclasses import dataclass, field
from typing import Final

_log = logging.getLogger(__name__)

AUTH_CLIENTS: Final = {
    "no": ssl.CERT_NONE,
    "yes": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
}
"""What `tls-auth-clients` may be."""

AUTH_CLIENTS_USER: Final = ("off", "CN")
"""What `tls-auth-clients-user` may be."""

_VERSIONS: Final = {  # in order
    "tlsv1": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}
_DEFAULT_PROTOCOLS: Final = "TLSv1.2 TLSv1.3"


class TlsError(Exception):
    """TLS cannot be set up as it is set; the message names the setting."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Redis' settings of TLS; each is spelled as Redis' with `tls-` before it.

    Attributes:
        port: TCP port; 0 takes a free one, None for no TLS.
        cert_file: The server's certificate, and those between it and the CA's behind it, in PEM.
        key_file: Its private key.
        key_file_pass: What the key's file is encrypted with, empty for nothing.
        ca_cert_file: Certificates of the CAs that sign those of clients.
        ca_cert_dir: Directory of such certificates, named as `openssl rehash` does.
        auth_clients: Whether clients must have a certificate (yes), may (optional) or are not asked
            (no).
        auth_clients_user: `CN` logs a client in as the user that its certificate is issued to, if
            there is such a user; `off` does not.
        protocols: Versions with blanks between them, empty for TLSv1.2 and TLSv1.3.
        ciphers: Ciphers of TLSv1.2 and before, as OpenSSL lists them; empty for the usual ones.
        ciphersuites: Those of TLSv1.3; only empty where Python cannot set them.
    """

    port: int | None = None
    cert_file: str = ""
    key_file: str = ""
    key_file_pass: str = field(default="", repr=False)
    ca_cert_file: str = ""
    ca_cert_dir: str = ""
    auth_clients: str = "yes"
    auth_clients_user: str = "off"
    protocols: str = ""
    ciphers: str = ""
    ciphersuites: str = ""


def read_protocols(text: str) -> tuple[ssl.TLSVersion, ssl.TLSVersion]:
    """Reads versions of TLS.

    Args:
        text: Versions with blanks between them, in any case; empty for TLSv1.2 and TLSv1.3.

    Returns:
        The lowest and the highest one.

    Raises:
        ValueError: One is not known, or one between two others is left out.
    """
    known = list(_VERSIONS)
    words = set((text or _DEFAULT_PROTOCOLS).lower().split())
    if not words <= set(known):
        raise ValueError("must be of TLSv1, TLSv1.1, TLSv1.2 and TLSv1.3, with blanks between")
    places = sorted(map(known.index, words))
    if places != list(range(places[0], places[-1] + 1)):
        raise ValueError("must not leave out a version between two others")
    return _VERSIONS[known[places[0]]], _VERSIONS[known[places[-1]]]


def make_context(settings: TlsSettings) -> ssl.SSLContext:
    """Makes what connections are encrypted with; reads the files.

    Raises:
        TlsError: A file cannot be read or does not fit, or a setting is wrong or missing.
    """
    if not settings.cert_file:
        raise TlsError("tls-cert-file must be given: there is no certificate")
    if settings.auth_clients not in AUTH_CLIENTS:
        raise TlsError(f"tls-auth-clients must be one of {', '.join(AUTH_CLIENTS)}")
    verify = AUTH_CLIENTS[settings.auth_clients]
    if verify is not ssl.CERT_NONE and not (settings.ca_cert_file or settings.ca_cert_dir):
        raise TlsError(
            "tls-ca-cert-file or tls-ca-cert-dir must be given, so that the certificates of clients"
            f" can be verified, as tls-auth-clients is {settings.auth_clients}"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        context.minimum_version, context.maximum_version = read_protocols(settings.protocols)
    except ValueError as error:
        raise TlsError(f"tls-protocols {error}") from error
    _set_ciphers(context, settings)
    _load_certificate(context, settings)
    _load_authorities(context, settings)
    context.verify_mode = verify
    return context


def _set_ciphers(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if settings.ciphers:
        try:
            context.set_ciphers(settings.ciphers)
        except ssl.SSLError as error:
            raise TlsError(f"tls-ciphers: {_reason(error)}") from error
    if settings.ciphersuites:
        setter = getattr(context, "set_ciphersuites", None)  # since Python 3.15
        if setter is None:
            raise TlsError(
                "tls-ciphersuites cannot be set by this version of Python; a file that OPENSSL_CONF"
                " names can"
            )
        try:
            setter(settings.ciphersuites)
        except ssl.SSLError as error:
            raise TlsError(f"tls-ciphersuites: {_reason(error)}") from error


def _load_certificate(context: ssl.SSLContext, settings: TlsSettings) -> None:
    _check_readable("tls-cert-file", settings.cert_file)
    key_file = settings.key_file or settings.cert_file
    _check_readable("tls-key-file", key_file)
    try:
        # Always a password, were it empty: OpenSSL would ask for one at the terminal.
        context.load_cert_chain(settings.cert_file, key_file, lambda: settings.key_file_pass)
    except (ssl.SSLError, ValueError) as error:  # ValueError: the password is too long
        raise TlsError(
            f"tls-cert-file {settings.cert_file} and tls-key-file {key_file} cannot be used"
            f" together with tls-key-file-pass: {_reason(error)}"
        ) from error


def _load_authorities(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if settings.ca_cert_dir and not os.path.isdir(settings.ca_cert_dir):  # noqa: PTH112 - what the setting says, as it is
        raise TlsError(f"tls-ca-cert-dir {settings.ca_cert_dir} is not a directory")
    if settings.ca_cert_file:
        _check_readable("tls-ca-cert-file", settings.ca_cert_file)
    if not (settings.ca_cert_file or settings.ca_cert_dir):
        return
    try:
        context.load_verify_locations(settings.ca_cert_file or None, settings.ca_cert_dir or None)
    except ssl.SSLError as error:
        raise TlsError(
            f"tls-ca-cert-file {settings.ca_cert_file} cannot be used: {_reason(error)}"
        ) from error


def _check_readable(setting: str, path: str) -> None:
    """Makes sure that a file can be read; `ssl` does not say which one it could not."""
    try:
        with open(path, "rb"):  # noqa: PTH123 - what the setting says, as it is
            pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TlsError(f"{setting} {path} cannot be read: {reason}") from error


def _reason(error: Exception) -> str:
    """Returns what OpenSSL says in words that are not its source's."""
    reason = getattr(error, "reason", None)  # not every SSLError has one
    return reason.lower().replace("_", " ") if reason else str(error.args[-1])


class Tls:
    """TLS as it is now.

    Args:
        settings: How it is set; without a port nothing is read.

    Attributes:
        settings: How it is set.
        context: What new connections are encrypted with; None where there is no TLS.

    Raises:
        TlsError: See `make_context`.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self.settings = settings
        self.context = None if settings.port is None else make_context(settings)

    def prepare(self, settings: TlsSettings) -> ssl.SSLContext | None:
        """Makes what other settings ask for, and changes nothing yet.

        Raises:
            TlsError: See `make_context`.
        """
        return None if self.context is None else make_context(settings)

    def set(self, settings: TlsSettings, context: ssl.SSLContext | None) -> None:
        """Gives new connections what other settings ask for.

        Args:
            settings: The settings.
            context: What was prepared for them.
        """
        self.context = context
        self.settings = settings

    def read_anew(self) -> None:
        """Reads the files anew; what is wrong with them is logged, and all stays as it is."""
        if self.context is None:
            return
        try:
            self.context = self.prepare(self.settings)
        except TlsError as error:
            _log.error("the certificates are not read anew, those before stay: %s", error)
        else:
            _log.info("the certificates were read anew, for connections from now on")
