"""Fallbacks of LiteLLM: lists of tables in two sections, defaults, aliases and cycles."""

import pytest

from gateway.cli.litellm.fallbacks import Fallbacks
from gateway.cli.litellm.notes import Notes

KNOWN = dict.fromkeys("abcd")
CASES = {
    "a list": ({"fallbacks": [{"a": ["b", "c"]}]}, {}, ["b", "c"]),
    "one table": ({"fallbacks": {"a": "b"}}, {}, ["b"]),
    "the other section": ({}, {"fallbacks": [{"a": ["b"]}]}, ["b"]),
    "both sections": ({"fallbacks": [{"a": ["b"]}]}, {"fallbacks": [{"a": ["c"]}]}, ["b", "c"]),
    "in turn": ({"fallbacks": [{"a": ["b"]}, {"b": ["c"]}]}, {}, ["b", "c"]),
    "a cycle": ({"fallbacks": [{"a": ["b"]}, {"b": ["a", "c"]}]}, {}, ["b", "c"]),
    "defaults": ({"default_fallbacks": ["d"]}, {}, ["d"]),
    "defaults after own ones": ({"fallbacks": [{"a": ["b"]}], "default_fallbacks": ["d"]}, {}, ["b", "d"]),
    "for any model": ({"fallbacks": [{"*": ["c"]}]}, {}, ["c"]),
    "an alias": ({"fallbacks": [{"a": ["z"]}], "model_group_alias": {"z": "d"}}, {}, ["d"]),
    "an alias in a table": ({"fallbacks": [{"z": ["b"]}], "model_group_alias": {"z": {"model": "a"}}}, {}, ["b"]),
}


@pytest.mark.parametrize(("router", "litellm", "found"), CASES.values(), ids=CASES)
def test_the_models_after_a_failed_one(router, litellm, found):
    """Each is there once and in order, and nothing is warned of."""
    notes = Notes()
    assert Fallbacks(KNOWN, router, litellm, notes).of("a") == found
    assert notes.warnings == []


WARNED = {
    "unknown model": ({"fallbacks": [{"x": ["b"]}]}, "$.router_settings.fallbacks[0].x: is of no model"),
    "unknown fallback": ({"fallbacks": [{"a": ["x"]}]}, "$.router_settings.fallbacks[0].a[0]: names no model"),
    "no list": ({"fallbacks": 7}, "$.router_settings.fallbacks: is not a list"),
    "no table": ({"fallbacks": ["a"]}, "$.router_settings.fallbacks[0]: is not a table"),
    "a kind": ({"context_window_fallbacks": [{"a": ["b"]}]}, "[0].a: is tried after any failure here"),
}


@pytest.mark.parametrize(("router", "warning"), WARNED.values(), ids=WARNED)
def test_what_cannot_be_converted_is_a_warning(router, warning):
    """The warning has the path."""
    notes = Notes()
    Fallbacks(KNOWN, router, {}, notes)
    assert [warning in line for line in notes.warnings] == [True]
