"""How much of what was said is kept: the configuration is the bound, and a request may ask for less."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.model import Capture, CaptureMode, parse
from gateway.tracing.capture import CapturePolicy, least_capture, parse_capture, policy_of

MODES = get_args(CaptureMode)
modes = st.sampled_from(MODES)


@given(store=modes, otlp=modes, asked=modes, sink=st.sampled_from(["", "store=", "otlp=", "STORE = "]))
def test_no_request_gets_more_than_the_configuration_gives(store, otlp, asked, sink):
    """For each sink the least_capture of both holds; a sink that is not named is as it was."""
    made = CapturePolicy(Capture(store=store, otlp=otlp)).within(f"{sink}{asked}").capture
    for name, configured in (("store", store), ("otlp", otlp)):
        spoken_of = not sink or name in sink.lower()
        assert getattr(made, name) == (least_capture(configured, asked) if spoken_of else configured)
        assert MODES.index(getattr(made, name)) >= MODES.index(configured)


def test_both_sinks_have_their_own_word():
    """In any order, with spaces; the last of two words on one sink counts."""
    assert parse_capture("store=truncated, otlp=off") == {"store": "truncated", "otlp": "off"}
    assert parse_capture(" Metadata ") == {"store": "metadata", "otlp": "metadata"}
    assert parse_capture("metadata, store=full") == {"store": "full", "otlp": "metadata"}


@pytest.mark.parametrize("text", ["", "none", "store", "log=off", "store=", "=off", "full off", "store=off;otlp=off"])
def test_a_word_that_is_none_says_what_is_expected(text):
    """By name."""
    with pytest.raises(ValueError, match="expected one of full, truncated, metadata, off, for all or by sink"):
        parse_capture(text)


def test_what_is_told_has_one_measure_for_all_sinks():
    """Of events and spans that are sent to the gateway the least_capture of all that is asked for is stored."""
    assert CapturePolicy().within_all("otlp=off").capture.store == "off"
    assert CapturePolicy(Capture(store="metadata")).within_all("full").capture.store == "metadata"


def test_a_configuration_has_its_rules():
    """Of `[redaction]`; none without it."""
    toml = "[redaction]\nbuiltin = [\"emails\"]\n[redaction.patterns]\nticket = 'TICKET-\\d+'\n"
    made = policy_of(parse(toml, {}, "test.toml"))
    assert made.redaction.text("TICKET-1 of a@b.io") == "[redacted: ticket] of [redacted: email]"
    assert not policy_of(parse("", {}, "test.toml")).redaction
