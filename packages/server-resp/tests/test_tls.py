"""How TLS is set: what is taken, what is refused with a reason, and files that are read anew."""

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from tensorkeep_server.tls import Tls, TlsError, TlsSettings, make_context, read_protocols

V = ssl.TLSVersion


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("", (V.TLSv1_2, V.TLSv1_3)),
        ("TLSv1.2 TLSv1.3", (V.TLSv1_2, V.TLSv1_3)),
        ("tlsv1.3", (V.TLSv1_3, V.TLSv1_3)),
        ("TLSv1.2", (V.TLSv1_2, V.TLSv1_2)),
        ("TLSv1.3 TLSv1.1 TLSv1.2 TLSv1.1", (V.TLSv1_1, V.TLSv1_3)),
    ],
)
def test_versions_are_read_in_any_order_and_case(text, versions):
    assert read_protocols(text) == versions


@pytest.mark.parametrize("text", ["SSLv3", "TLSv1.2,TLSv1.3", "TLSv1.1 TLSv1.3", "x"])
def test_versions_that_are_unknown_or_leave_one_out_are_refused(text):
    with pytest.raises(ValueError, match="must"):
        read_protocols(text)


@pytest.fixture(scope="module")
def authority(new_authority):
    return new_authority()


@pytest.fixture(scope="module")
def good(authority):
    """Settings that can be used."""
    certificate, key = authority.sign("server")
    return TlsSettings(0, certificate, key, ca_cert_file=authority.certificate)


@pytest.mark.parametrize(
    ("word", "mode"),
    [("yes", ssl.CERT_REQUIRED), ("optional", ssl.CERT_OPTIONAL), ("no", ssl.CERT_NONE)],
)
def test_clients_are_asked_for_certificates_as_is_set(good, word, mode):
    assert make_context(replace(good, auth_clients=word)).verify_mode is mode


def test_a_key_may_stand_in_the_file_of_its_certificate(good, tmp_path):
    both = tmp_path / "both.pem"
    both.write_text(Path(good.cert_file).read_text() + Path(good.key_file).read_text())

    make_context(replace(good, cert_file=str(both), key_file=""))


def test_an_encrypted_key_needs_its_password_and_nobody_is_asked_for_it(authority, good):
    encrypted = replace(good, key_file=authority.encrypt(good.key_file, "secret"))

    make_context(replace(encrypted, key_file_pass="secret"))  # noqa: S106 - of this test alone
    for password in ("", "another", "x" * 2000):
        with pytest.raises(TlsError, match="tls-key-file-pass") as raised:
            make_context(replace(encrypted, key_file_pass=password))
        assert "another" not in str(raised.value)
    assert "secret" not in repr(encrypted)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cert_file": ""}, "tls-cert-file must be given"),
        ({"cert_file": "/nowhere"}, "tls-cert-file /nowhere cannot be read: No such file"),
        ({"key_file": "/nowhere"}, "tls-key-file /nowhere cannot be read: No such file"),
        ({"cert_file": __file__}, "tls-cert-file .* cannot be used"),
        ({"ca_cert_file": ""}, "tls-ca-cert-file or tls-ca-cert-dir must be given"),
        ({"ca_cert_file": "/nowhere"}, "tls-ca-cert-file /nowhere cannot be read"),
        ({"ca_cert_file": __file__}, "tls-ca-cert-file .* cannot be used"),
        ({"ca_cert_dir": "/nowhere"}, "tls-ca-cert-dir /nowhere is not a directory"),
        ({"auth_clients": "maybe"}, "tls-auth-clients must be one of"),
        ({"protocols": "SSLv2"}, "tls-protocols must be of"),
        ({"ciphers": "ROT13"}, "tls-ciphers: No cipher can be"),
        ({"ciphersuites": "ROT13"}, "tls-ciphersuites"),
    ],
)
def test_what_cannot_be_used_is_refused_by_the_name_of_its_setting(good, changed, said):
    with pytest.raises(TlsError, match=said):
        make_context(replace(good, **changed))


def test_a_key_of_another_certificate_is_refused(authority, good):
    _, other = authority.sign("other")

    with pytest.raises(TlsError, match="key values mismatch"):
        make_context(replace(good, key_file=other))


def test_without_a_port_no_file_is_read():
    assert Tls(TlsSettings(cert_file="/nowhere")).context is None


def test_files_are_read_anew_and_bad_ones_are_logged_and_change_nothing(good, tmp_path, caplog):
    mine = tmp_path / "server.crt"
    mine.write_text(Path(good.cert_file).read_text())
    tls = Tls(replace(good, cert_file=str(mine)))
    before = tls.context

    tls.read_anew()
    renewed = tls.context
    mine.write_text("nonsense")
    tls.read_anew()

    assert renewed is not before
    assert tls.context is renewed
    assert "the certificates are not read anew" in caplog.text
