"""Lines of a journal, decoded as far as metrics need them."""

import msgspec
import pytest

from gateway.store.metrics.lines import Dropped, Event, EventsDropped, Received, ReceivedDropped, Span, Start, line_in
from tests.support.metrics_pages import SPAN, line

LINES = [
    (line("start"), Start),
    (line("exchange"), Span),
    (line("attempt"), Span),
    (line("dropped"), Dropped),
    (line("event"), Event),
    (b'{"t":"events_dropped","reason":"disk_full","count":3}', EventsDropped),
    (b'{"t":"received","name":"n"}', Received),
    (b'{"t":"received_dropped","reason":"twice","count":3}', ReceivedDropped),
]


@pytest.mark.parametrize(("raw", "kind"), LINES)
def test_each_kind_of_line_is_known_by_its_tag(raw, kind):
    """With or without a line break."""
    assert type(line_in(raw)) is type(line_in(raw.strip())) is kind


COLUMNS = {
    "duration_ns": 5, "outcome": "ok", "provider": "p", "operation": "chat", "request_model": "m",
    "response_model": "m-1", "reason": "first", "error_type": "500", "http_status": 500, "method": "POST",
    "dialect": "d", "stream": True, "overhead_us": 3, "backoff_ms": 1.5, "ttfb_ms": 2.5, "ttfc_s": 0.5,
    "input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 3, "cache_write_tokens": 4, "reasoning_tokens": 5,
    "usage_source": "reported",
}  # fmt: skip


@pytest.mark.parametrize(("column", "value"), COLUMNS.items())
def test_each_column_that_is_counted_is_read(column, value):
    """Under the name that it has in the journal; one that is missing is None."""
    assert getattr(line_in(line("attempt", **{column: value})), column) == value
    bare = b'{"t":"span","span_id":"%b","kind":"CLIENT","trace_id":"1","start_ns":1}' % SPAN.encode()
    assert getattr(line_in(bare), column) is None


ATTRIBUTES = {
    "gen_ai.provider.name": "genai_provider",
    "gateway.drained_ms": "drained_ms",
    "gateway.overhead.accept_us": "accept_us",
    "gateway.overhead.record_us": "record_us",
    "gateway.attempt.overhead.send_us": "send_us",
    "gateway.attempt.overhead.relay_us": "relay_us",
}


@pytest.mark.parametrize(("attribute", "field"), ATTRIBUTES.items())
def test_attributes_without_a_column_are_read_by_their_own_names(attribute, field):
    """Those that are counted; others are skipped."""
    value = "p" if field == "genai_provider" else 7
    rest = line_in(line("exchange", attributes={attribute: value, "other": {"a": [1]}})).attributes
    assert {name: found for name in ATTRIBUTES.values() if (found := getattr(rest, name)) is not None} == {field: value}


@pytest.mark.parametrize("raw", [b"", b"\n", b'{"t":"journal","version":1}\n', b'{"t":"closed"}\n', b'{"new":1}'])
def test_a_line_that_is_not_counted_is_none(raw):
    """A journal's head and end, and kinds of a later version."""
    assert line_in(raw) is None


@pytest.mark.parametrize("raw", [b"torn", b'{"t":"span","span_id":"1"', b'"closed"}', b'{"t":"journal"', b"\xff\n"])
def test_a_damaged_line_is_an_error(raw):
    """Torn at either end, or no JSON at all."""
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        line_in(raw)
