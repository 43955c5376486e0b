"""Canaries are unique, identified by their numbers, and never shown whole."""

import random

import pytest

from gateway.cli.doctor.canaries import Canaries, plant
from gateway.config.model import Redacted
from gateway.errors import ConfigError
from tests.cli.doctor.examples import planted_canaries


def test_a_canary_shows_little_of_itself():
    """Neither repr nor the printed form has the value."""
    canaries, key, _ = planted_canaries()
    canary = canaries.all[-2]
    assert key not in repr(canary) + canary.shown + repr(canaries)
    assert len(canary.shown) < 12


def test_a_canary_is_found_by_its_number_and_class_only():
    """A number of another class, one that does not exist, or one that is cut off finds none."""
    canaries, key, _ = planted_canaries()
    number = f"{len(canaries.all) - 2:04x}"
    found = canaries.numbered("secret", number)
    assert found is not None
    assert (found.value, found.request) == (key, "p001")
    for of, text in (("content", number), ("secret", "ffff"), ("secret", number[1:]), ("secret", "zzzz")):
        assert canaries.numbered(of, text) is None


def test_every_stem_has_a_slash_and_half_of_a_key_identifies_it():
    """Encodings differ in slashes; a key that is cut in half still has its whole stem and number."""
    canaries, key, _ = planted_canaries()
    assert all("/" in stem for stem in canaries.stems.values())
    assert canaries.stems["secret"] in key[: len(key) * 2 // 3]


def test_each_built_in_kind_has_a_value_that_is_found():
    """The planted values are matched by the redaction, and an example belongs to the patterns that match it."""
    for seed in range(50):
        canaries = Canaries(random.Random(seed))
        redaction = Redacted(
            builtin=["keys", "emails", "cards", "phones"], patterns={"ticket": r"TICKET-\d+", "other": "x{9}"}
        )
        planted = plant(canaries, redaction, ["TICKET-12"])
        assert planted.untested == ("other",)
        assert len(canaries.all) == 5
    assert plant(Canaries(random.Random(3)), Redacted(), []).text == ""


def test_an_example_that_no_pattern_finds_is_refused():
    """It would look like a leak; the message does not repeat it."""
    with pytest.raises(ConfigError, match="--example number 1") as caught:
        plant(Canaries(random.Random(3)), Redacted(patterns={"ticket": r"TICKET-\d+"}), ["TIKET-12"])
    assert "TIKET-12" not in str(caught.value)
