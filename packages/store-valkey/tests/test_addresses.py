"""Addresses are read as redis-py reads them; errors name what is wrong, and no password."""

import ssl

import pytest

from tensorkeep.errors import StoreError
from tensorkeep_valkey.addresses import Credentials, parse


@pytest.mark.parametrize("scheme", ["valkey", "redis", "VALKEY"])
def test_host_port_database_user_and_password(scheme):
    address = parse(f"{scheme}://ann:p%40ss@example.org:7000/3")

    assert (address.host, address.port, address.database) == ("example.org", 7000, 3)
    assert address.credentials == Credentials(b"ann", b"p@ss")
    assert address.tls_context() is None


@pytest.mark.parametrize(
    ("url", "host", "port", "database"),
    [
        ("valkey://", "localhost", 6379, 0),
        ("valkey://h", "h", 6379, 0),
        ("valkey://h/", "h", 6379, 0),
        ("valkey://h:1/15", "h", 1, 15),
        ("valkey://h?db=4", "h", 6379, 4),
        ("valkey://[::1]:7000", "::1", 7000, 0),
        ("redis://:secret@h", "h", 6379, 0),
    ],
)
def test_what_is_left_out_has_its_usual_value(url, host, port, database):
    address = parse(url)

    assert (address.host, address.port, address.database) == (host, port, database)


def test_a_password_without_a_user_is_that_of_the_default_user():
    assert parse("redis://:secret@h").credentials == Credentials(None, b"secret")


def test_a_unix_socket_has_a_path_and_its_database_as_an_option():
    address = parse("unix://ann:secret@/run/my%20valkey.sock?db=2")

    assert (address.path, address.database) == ("/run/my valkey.sock", 2)
    assert address.credentials == Credentials(b"ann", b"secret")


@pytest.mark.parametrize("scheme", ["valkeys", "rediss"])
def test_tls_verifies_the_certificate_and_the_name_unless_told_otherwise(scheme):
    strict = parse(f"{scheme}://h").tls_context()
    lax = parse(f"{scheme}://h?ssl_cert_reqs=none").tls_context()

    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (lax.verify_mode, lax.check_hostname) == (ssl.CERT_NONE, False)


def test_a_file_of_tls_that_is_missing_is_told():
    with pytest.raises(StoreError, match=r"TLS options .* No such file"):
        parse("valkeys://h?ssl_ca_certs=/nowhere.pem").tls_context()


def test_sentinels_name_the_engine_of_a_service():
    address = parse(
        "valkey+sentinel://ann:pw@one:1,two,[::3]:3/main/2?sentinel_password=spw&socket_timeout=7"
    )

    assert address.sentinels == (("one", 1), ("two", 26379), ("::3", 3))
    assert (address.service, address.database, address.timeout) == ("main", 2, 7.0)
    assert address.credentials == Credentials(b"ann", b"pw")
    assert address.sentinel_credentials == Credentials(None, b"spw")


def test_sentinels_and_tls_go_together():
    assert parse("rediss+sentinel://one/main").tls_context() is not None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://h", "scheme 'http'"),
        ("valkey:h", "//"),
        ("valkey://h:port", "host and port"),
        ("valkey://h:0", "port"),
        ("valkey://h:70000", "port"),
        ("valkey://h/main", "database"),
        ("valkey://h?db=x", "'db'"),
        ("valkey://h?colour=red", "'colour'"),
        ("valkey://h?ssl_ca_certs=x", "'ssl_ca_certs' needs TLS"),
        ("valkeys://h?ssl_cert_reqs=maybe", "'ssl_cert_reqs'"),
        ("valkeys://h?ssl_check_hostname=nonsense&ssl_min_version=x", "'ssl_min_version'"),
        ("valkey://h?socket_timeout=soon", "'socket_timeout'"),
        ("valkey://h?socket_timeout=-1", "'socket_timeout'"),
        ("valkey://h?socket_connect_timeout=nan", "'socket_connect_timeout'"),
        ("valkey://ann@h", "user without a password"),
        ("valkey://[::1", "IPv6"),
        ("unix://", "path"),
        ("valkey+sentinel://one", "service"),
        ("valkey+sentinel://one:x/main", "host and port"),
        ("valkey://h?sentinel_password=x", "'sentinel_password'"),
    ],
)
def test_what_is_wrong_is_named(url, told):
    with pytest.raises(StoreError) as raised:
        parse(url)

    assert told in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "valkey://ann:se/cret@h",
        "valkey://ann:se#cret@h",
        "valkey://ann:se?cret@h",
        "valkey://ann:se?cret=1@h",
        "valkey://ann:secret@h:port",
        "valkey://ann:secret@h?colour=red",
        "valkey+sentinel://ann:secret@one:x/main",
        "valkeys://ann:secret@h?ssl_min_version=x",
        "unix://ann:secret@",
        "valkey://ann:secret@[h",
        "valkey://ann:[secret@h",
    ],
)
def test_no_error_shows_a_password(url):
    with pytest.raises(StoreError) as raised:
        parse(url)

    shown = f"{raised.value!r} {raised.value}"
    assert "cret" not in shown
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "valkey://ann:secret@h:1/2",
        "unix://ann:secret@/run/s?db=1",
        "rediss://:secret@h?ssl_password=secret",
        "valkey+sentinel://ann:secret@one,two/main?sentinel_password=secret",
    ],
)
def test_an_address_is_shown_without_passwords(url):
    address = parse(url)

    assert "secret" not in repr(address)
    assert "secret" not in address.shown
    assert address.shown
