"""What is printed to standard error meanwhile goes to the log."""

import logging
import os

import pytest

from tensorkeep.noise import logged


def test_standard_error_is_back_afterwards_even_after_a_failure(capfd, caplog):
    caplog.set_level(logging.DEBUG)

    def print_and_fail():
        os.write(2, b"one\ntwo\n")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), logged("Somebody"):
        print_and_fail()
    os.write(2, b"three")

    assert capfd.readouterr().err.endswith("three")
    assert [each.message for each in caplog.records] == ["Somebody: one", "Somebody: two"]


def test_what_others_print_meanwhile_can_go_on_to_standard_error(capfd, caplog):
    caplog.set_level(logging.DEBUG)

    with logged("Somebody", only=r"[IW]\d+ |WARNING"):
        os.write(2, b"I0000 mine\nINFO other\nWARNING: mine too\nother: W1")

    assert capfd.readouterr().err.endswith("INFO other\nother: W1")
    assert [each.message for each in caplog.records] == [
        "Somebody: I0000 mine",
        "Somebody: WARNING: mine too",
    ]


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no files in memory")
def test_no_folder_is_written_to(capfd, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)

    with monkeypatch.context() as patched:
        patched.setattr("tempfile.tempdir", "/nonexistent")
        with logged("Somebody"):
            os.write(2, b"mine\n")

    assert [each.message for each in caplog.records] == ["Somebody: mine"]


def test_without_standard_error_nothing_is_caught_and_nothing_fails(monkeypatch):
    def closed(descriptor):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "dup", closed)

    with logged("Somebody"):
        pass
