"""Streams of Anthropic's messages, written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import events
from gateway.dialects.anthropic import MESSAGES, MESSAGES_WRITER
from gateway.dialects.conversation import (
    Citation,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from tests.dialects import drawing, sdk_types
from tests.dialects import strategies_messages as drawn
from tests.dialects.anthropic.responses import ASKED, BEGUN, NOW, answer, streamed, whole
from tests.dialects.streams import folded, read, stream_events, written


@given(st.data())
def test_a_stream_comes_back_as_it_was(data: st.DataObject) -> None:
    """A written stream, cut anywhere, is read as the same events."""
    answered = data.draw(drawn.answered())
    stream, writer = written(MESSAGES_WRITER, ASKED, stream_events(answered, data.draw(st.integers(1, 20))))
    assert writer.dropped == []
    reader, emitted = read(MESSAGES, stream, data.draw(st.lists(st.integers(0, 9999), max_size=8)))
    assert reader.response() == answered
    assert (reader.ended, reader.unread) == (True, 0)
    assert folded(emitted) == answered.output_messages


PLAIN = st.one_of(
    st.builds(Text, content=drawing.PROSE),
    st.builds(Text, content=drawing.PROSE, citations=st.lists(st.builds(Citation, uri=drawing.ADDRESSES), max_size=2)),
    drawn.SIGNED,
    st.builds(Reasoning, content=drawing.WORDS),
    st.builds(Refusal, content=drawing.WORDS),
    drawing.custom_calls(iter(range(10**6))),
    drawing.calls(iter(range(10**6))),
)


@given(st.lists(PLAIN, max_size=6), st.none() | drawing.usages(), st.integers(1, 20))
def test_the_sdk_makes_of_a_stream_what_it_reads_whole(parts: list[Part], usage: Usage | None, piece: int) -> None:
    """Anthropic's SDK knows each event, in an order that it takes, and makes the same message of them."""
    answered = answer(*parts, usage=usage)
    body, _ = whole(answered)
    _, made, _ = streamed(stream_events(answered, piece))
    assert made.to_dict() | {"usage": None} == body | {"usage": None, "stop_details": None}
    assert made.usage.to_dict() == body["usage"]


def test_a_stream_as_it_is_written() -> None:
    """A message begins, its blocks stop before the next one starts, and its last event but one has the counts."""
    usage = Usage(input_tokens=30, output_tokens=4, cache_read_tokens=20, cache_write_tokens=3, reasoning_tokens=1)
    emitted = stream_events(
        answer(
            Reasoning(content="Hm.", extra={"anthropic-messages": {"signature": "EqQB"}}),
            Text(content="Hi"),
            ToolCall(name="f"),
            finish_reason="tool_calls",
            usage=usage,
        )
    )
    stream, made, dropped = streamed(emitted)
    counts = {"input_tokens": 7, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3}
    details = {"output_tokens_details": {"thinking_tokens": 1}}
    head = {"type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    assert stream == [
        {
            "type": "message_start",
            "message": {"id": "r-1", **head, "stop_sequence": None, "usage": {**counts, "output_tokens": 0, **details}},
        },
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQB"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 1},
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "tool_use", "id": made.content[2].id, "name": "f", "input": {}},
        },
        {"type": "content_block_stop", "index": 2},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {**counts, "output_tokens": 4, **details},
        },
        {"type": "message_stop"},
    ]
    assert made.content[2].id.startswith("call_")
    assert dropped == []


def call(index: int, **more: Any) -> events.PartBegun:
    """Begin a call."""
    return events.PartBegun(index=index, part=ToolCall(id=f"c{index}", name="f", **more))


def grown(index: int, text: str) -> events.PartGrown:
    """Add to a part."""
    return events.PartGrown(index=index, text=text)


def done(index: int, arguments: Any) -> events.PartDone:
    """Say that a call is whole."""
    return events.PartDone(index=index, part=ToolCall(id=f"c{index}", name="f", arguments=arguments))


ENDS = [events.ChoiceDone(finish_reason="tool_calls"), events.Ended()]


@pytest.mark.parametrize(
    "emitted",
    [
        [
            call(0),
            grown(0, '{"a"'),
            grown(0, ":0}"),
            call(1),
            grown(1, '{"a":1}'),
            done(0, {"a": 0}),
            done(1, {"a": 1}),
        ],
        [call(0), call(1), grown(0, '{"a"'), grown(1, '{"a":'), grown(0, ":0}"), grown(1, "1}"), done(0, {"a": 0})],
        [call(0), call(1), grown(1, '{"a":1}'), done(1, {"a": 1}), grown(0, '{"a":0}'), done(0, {"a": 0})],
        [call(0), call(1), grown(1, '{"a":'), grown(1, "1}"), done(1, {"a": 1}), done(0, {"a": 0})],
    ],
    ids=["one after the other", "by turns", "the second is done first", "the first comes whole"],
)
def test_calls_that_interleave_are_told_one_after_the_other(emitted: list[events.Event]) -> None:
    """Whatever their order, each call is one block with its own arguments, and none goes on once it has stopped."""
    _, made, dropped = streamed([BEGUN, *emitted, *ENDS])
    assert [(block.id, block.input) for block in made.content] == [("c0", {"a": 0}), ("c1", {"a": 1})]
    assert dropped == []


def test_three_calls_that_grow_at_once_come_in_order() -> None:
    """Those that wait follow in the order in which they began."""
    began = [call(0), call(1), call(2)]
    pieces = [grown(2, '{"a":2}'), grown(1, '{"a":1}'), grown(0, '{"a":0}')]
    ended = [done(number, {"a": number}) for number in (2, 1, 0)]
    _, made, dropped = streamed([BEGUN, *began, *pieces, *ended, *ENDS])
    assert [(block.id, block.input) for block in made.content] == [("c0", {"a": 0}), ("c1", {"a": 1}), ("c2", {"a": 2})]
    assert dropped == []


def test_a_call_leaves_at_once_when_the_one_before_is_whole() -> None:
    """Chat completions do not say that a call is whole before all are: its arguments do."""
    writer = MESSAGES_WRITER.stream(ASKED, NOW)
    steps: list[events.Event] = [
        BEGUN,
        call(0),
        grown(0, '{"a":"}'),
        grown(0, '"}'),
        call(1),
        grown(1, "{"),
        grown(0, " "),
    ]
    frames = [writer.write(step) for step in steps]
    assert [bool(each) for each in frames] == [True, True, True, True, True, True, False]
    assert b'"index":1' in frames[5]


def test_what_waits_is_told_as_soon_as_it_can_be() -> None:
    """A call that began while another grew is written as far as it has come, once the other is whole."""
    writer = MESSAGES_WRITER.stream(ASKED, NOW)
    steps: list[events.Event] = [BEGUN, call(0), grown(0, "{"), call(1), grown(1, '{"b"')]
    frames = [writer.write(step) for step in steps]
    assert frames[3:] == [b"", b""]
    rest = list(sdk_types.data_of(writer.write(grown(0, "}"))))
    assert [event["type"].removeprefix("content_block_") for event in rest] == ["delta", "stop", "start", "delta"]
    assert rest[-1]["delta"]["partial_json"] == '{"b"'


def test_a_custom_tools_text_streams_within_its_argument() -> None:
    """Each piece leaves when it comes; together they are the JSON of a function of one string."""
    text = 'a "quote"\n\\ and é'
    begun = events.PartBegun(index=0, part=ToolCall(id="c", name="run", custom=True))
    whole_call = events.PartDone(index=0, part=ToolCall(id="c", name="run", custom=True, arguments=text))
    stream, made, _ = streamed([BEGUN, begun, *(grown(0, letter) for letter in text), whole_call, *ENDS])
    assert made.content[0].input == {"input": text}
    assert sum(event["type"] == "content_block_delta" for event in stream) == len(text) + 1
    _, made, _ = streamed([BEGUN, begun, events.PartDone(index=0, part=begun.part), *ENDS])
    assert made.content[0].input == {"input": ""}


def test_a_stream_that_stops_without_an_end_has_none() -> None:
    """The writer makes none up: its client sees that the message is not whole."""
    stream, _ = written(MESSAGES_WRITER, ASKED, [BEGUN, call(0), grown(0, "{")])
    assert b"message_delta" not in stream
    assert b"content_block_stop" not in stream
