"""The events that readers emit for each event on the wire. The other dialects' own tests have the same of theirs."""

from typing import Any

import pytest

from gateway.dialects.conversation import Part, Reasoning, Refusal, Text, ToolCall, Usage
from gateway.dialects.events import (
    Begun,
    Broken,
    ChoiceDone,
    Ended,
    Event,
    PartBegun,
    PartDone,
    PartGrown,
    UsageUpdated,
)
from tests.dialects.pairs import SPOKEN, family, pieces_of


def begun(index: int, part: Part) -> PartBegun:
    """Begin a part."""
    return PartBegun(index=index, part=part)


def grown(index: int, text: str) -> PartGrown:
    """Add to a part."""
    return PartGrown(index=index, text=text)


def done(index: int, part: Part) -> PartDone:
    """Say that a part is whole."""
    return PartDone(index=index, part=part)


def call(ident: str, name: str, arguments: Any = None, **more: Any) -> ToolCall:
    """Make a tool call."""
    return ToolCall(id=ident, name=name, arguments=arguments, **more)


THOUGHT = Reasoning(
    content="The user wants two cities.",
    extra={"anthropic-messages": {"signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk="}},
)
HIDDEN = Reasoning(content="", extra={"anthropic-messages": {"data": "EmwKAhgBEgy3va3pzix/LafPsn4a"}})
PATCH = "*** Begin Patch\n*** End Patch\n"

EMITTED: dict[str, list[list[Event]]] = {
    "chat_calls.sse": [
        [Begun(id="chatcmpl-calls", model="gpt-5.4-2026-03-05", created=1790000012)],
        [begun(0, call("call_w", "get_weather"))],
        [grown(0, '{"ci')],
        [grown(0, 'ty":"Pa')],
        [grown(0, 'ris"}')],
        [begun(1, call("call_t", "get_time"))],
        [grown(1, "{}")],
        [begun(2, call("call_o", "get_weather"))],
        [grown(2, '{"city"')],
        [grown(2, ':"Oslo"}')],
        [
            done(0, call("call_w", "get_weather", {"city": "Paris"})),
            done(1, call("call_t", "get_time", {})),
            done(2, call("call_o", "get_weather", {"city": "Oslo"})),
            ChoiceDone(finish_reason="tool_calls"),
        ],
        [Ended()],
    ],
    "chat_reasoning.sse": [
        [],  # a comment
        [
            Begun(id="gen-1", model="deepseek-reasoner", created=1790000003),
            begun(0, Reasoning(content="")),
            grown(0, "Two and "),
        ],
        [grown(0, "two.")],
        [done(0, Reasoning(content="Two and two.")), begun(1, Text(content="")), grown(1, "4")],
        [
            done(1, Text(content="4")),
            ChoiceDone(finish_reason="stop"),
            UsageUpdated(
                usage=Usage(input_tokens=12, output_tokens=9, total_tokens=21, cache_read_tokens=0, reasoning_tokens=7)
            ),
        ],
        [Ended()],
    ],
    "chat_error.sse": [
        [
            Begun(id="chatcmpl-bad", model="gpt-5.4-2026-03-05", created=1790000005),
            begun(0, Text(content="")),
            grown(0, "Once upon"),
        ],
        [Broken(type="server_error", message="The server had an error while processing your request.")],
    ],
    "messages_thinking_tools.sse": [
        [
            Begun(
                id="msg_02",
                model="claude-opus-5-20260701",
                usage=Usage(input_tokens=2360, cache_read_tokens=2048, cache_write_tokens=300),
            )
        ],
        [begun(0, Reasoning(content=""))],
        [grown(0, "The user wants ")],
        [grown(0, "two cities.")],
        [],
        [done(0, THOUGHT)],
        [begun(1, HIDDEN)],
        [done(1, HIDDEN)],
        [begun(2, Text(content=""))],
        [grown(2, "Looking it up.")],
        [done(2, Text(content="Looking it up."))],
        [begun(3, call("toolu_01", "get_weather"))],
        [],
        [grown(3, '{"city": "Pa')],
        [grown(3, 'ris"}')],
        [done(3, call("toolu_01", "get_weather", {"city": "Paris"}))],
        [begun(4, call("toolu_02", "get_time"))],
        [grown(4, "{}"), done(4, call("toolu_02", "get_time", {}))],
        [
            ChoiceDone(finish_reason="tool_calls", finish_word="tool_use"),
            UsageUpdated(
                usage=Usage(
                    input_tokens=2360,
                    output_tokens=96,
                    total_tokens=2456,
                    cache_read_tokens=2048,
                    cache_write_tokens=300,
                    reasoning_tokens=40,
                )
            ),
        ],
        [Ended()],
    ],
    "responses_refusal.sse": [
        [Begun(id="resp_7", model="gpt-5.4-2026-03-05", created=1790000010)],
        [],
        [],
        [],
        [begun(0, Refusal(content="")), grown(0, "I won't")],
        [grown(0, " delete that.")],
        [],
        [done(0, Refusal(content="I won't delete that."))],
        [],
        [begun(1, call("call_p", "apply_patch", custom=True))],
        [grown(1, "*** Begin Patch\n")],
        [grown(1, "*** End Patch\n")],
        [],
        [done(1, call("call_p", "apply_patch", PATCH, custom=True))],
        [
            UsageUpdated(
                usage=Usage(
                    input_tokens=40,
                    output_tokens=21,
                    total_tokens=61,
                    cache_read_tokens=0,
                    cache_write_tokens=0,
                    reasoning_tokens=0,
                )
            ),
            ChoiceDone(finish_reason="tool_calls"),
            Ended(),
        ],
    ],
    "responses_error.sse": [
        [Begun(id="resp_5", model="gpt-5.4-2026-03-05", created=1790000010)],
        [Broken(type="rate_limit_exceeded", message="Slow down.")],
    ],
}


@pytest.mark.parametrize("name", EMITTED)
def test_each_event_is_told_when_it_comes(name: str) -> None:
    """Nothing waits for the next one, but the content that only the next one completes."""
    reader = SPOKEN[family(name)].dialect.stream_reader()
    emitted = []
    for piece in pieces_of(name):
        reader.events = []
        reader.feed(piece)
        emitted.append(reader.events)
    assert emitted == EMITTED[name]


def test_a_stream_that_is_resumed_near_its_end_is_told_from_its_last_event() -> None:
    """The last event of Responses has the whole of it."""
    reader = SPOKEN["responses"].dialect.stream_reader()
    reader.events = []
    reader.feed(pieces_of("responses_refusal.sse")[-1])
    refusal, patch = Refusal(content="I won't delete that."), call("call_p", "apply_patch", PATCH, custom=True)
    assert reader.events[1:-3] == [
        begun(0, Refusal(content="")),
        grown(0, refusal.content),
        done(0, refusal),
        begun(1, call("call_p", "apply_patch", custom=True)),
        grown(1, PATCH),
        done(1, patch),
    ]


def test_a_call_that_comes_whole_grows_at_once() -> None:
    """Some providers stream no deltas of a call's arguments, but tell them when it is done."""
    pieces = [piece for piece in pieces_of("responses_tools.sse") if b"arguments.d" not in piece]
    reader = SPOKEN["responses"].dialect.stream_reader()
    reader.events = []
    reader.feed(b"".join(pieces[:3]))
    assert reader.events[1:] == [
        begun(0, call("call_a", "get_weather")),
        grown(0, '{"city":"Paris"}'),
        done(0, call("call_a", "get_weather", {"city": "Paris"})),
    ]


def test_a_chat_without_an_end_of_its_choice_ends_with_the_stream() -> None:
    """Some providers tell no finish reason: what began is whole when the stream is."""
    reader = SPOKEN["chat"].dialect.stream_reader()
    reader.events = []
    reader.feed(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n')
    assert reader.events[1:] == [
        begun(0, Text(content="")),
        grown(0, "a"),
        done(0, Text(content="a")),
        ChoiceDone(finish_reason=None),
        Ended(),
    ]


def test_a_call_begins_when_its_name_is_known() -> None:
    """Content that came before it is emitted then."""
    reader = SPOKEN["chat"].dialect.stream_reader()
    reader.events = []
    for function in (b'{"arguments":"{\\"a\\""}', b'{"name":"f"}', b'{"arguments":":1}"}'):
        chunk = b'{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":%s}]}}]}' % function
        reader.feed(b"data: " + chunk + b"\n\n")
    assert reader.events[1:] == [begun(0, call("c", "f")), grown(0, '{"a"'), grown(0, ":1}")]
