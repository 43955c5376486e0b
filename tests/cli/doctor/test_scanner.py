"""Canaries are found and identified in every encoding."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.doctor.scanner import Hit, Scanner, encodings
from tests.cli.doctor.examples import FORMS, planted_canaries

SECRET, CONTENT = ("secret",), ("content",)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("before", range(4))
def test_a_canary_is_found_and_named_in_every_form(form, before):
    """Its number is read in the same encoding, at any offset."""
    canaries, key, _ = planted_canaries()
    data = b"\x00\xff" * before + FORMS[form]("x" * before + key + "yz") + b"\xfe"
    (hit,) = Scanner(canaries).find(data, SECRET)
    assert (hit.canary and hit.canary.kind, hit.form) == ("a key", form)


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 99))
def test_base64_is_found_at_every_offset(before, after, seed):
    """A canary is found among any bytes, in both alphabets."""
    canaries, key, _ = planted_canaries(seed)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        hits = list(Scanner(canaries).find(encode(before + key.encode() + after), SECRET))
        assert {hit.canary.kind for hit in hits if hit.canary} == {"a key"}


@given(st.binary(max_size=400))
def test_other_bytes_have_none(data):
    """Bytes without a stem are no canary."""
    assert list(Scanner(planted_canaries()[0]).find(data, ("secret", "content", "redacted"))) == []


def test_a_canary_that_is_cut_off_is_still_one():
    """A stem without its number is a hit of no particular canary."""
    canaries, key, _ = planted_canaries()
    stem, find = key.index("/") + 9, Scanner(canaries).find
    assert list(find(key[:stem].encode(), SECRET)) == [Hit(canary=None, of="secret", form="plain", at=3)]
    assert list(find(key[: stem - 1].encode(), SECRET)) == []


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_found_in_either_byte_order(coding):
    """There is one hit, and its canary is identified."""
    canaries, key, _ = planted_canaries()
    (hit,) = Scanner(canaries).find(f"it is {key}.".encode(coding), SECRET)
    assert (hit.canary and hit.canary.kind) == "a key"


def test_classes_are_told_apart():
    """A search for secrets finds no content, and the reverse."""
    canaries, key, content = planted_canaries()
    scanner, data = Scanner(canaries), f"{key} {content}".encode()
    assert [hit.canary.kind for hit in scanner.find(data, SECRET) if hit.canary] == ["a key"]
    assert [hit.canary.kind for hit in scanner.find(data, CONTENT) if hit.canary] == ["a prompt"]


@pytest.mark.parametrize("form", ["plain", "percent-encoded", "JSON-escaped", "base64"])
def test_a_redacted_value_is_found_in_every_encoding_of_a_provider(form):
    """Values for [redaction] have no stem: each encoding of the whole value is searched, and named."""
    canaries, _, _ = planted_canaries()
    canaries.redacted("a value", "a/b c")
    (hit,) = Scanner(canaries).find(b"x" + encodings("a/b c")[form].encode() + b"x", ("redacted",))
    assert (hit.canary and hit.canary.kind, hit.form, hit.at) == ("a value", form, 1)


def test_a_redacted_value_that_encodings_leave_alone_is_one_hit():
    """A value that is the same in several encodings counts once, as plain."""
    canaries, _, _ = planted_canaries()
    canaries.redacted("a value", "abc")
    assert [hit.form for hit in Scanner(canaries).find(b"abc", ("redacted",))] == ["plain"]
