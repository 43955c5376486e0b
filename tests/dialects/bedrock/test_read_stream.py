import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EventStreamError

from gateway.dialects import events
from gateway.dialects.bedrock import CONVERSE
from gateway.dialects.conversation import (
    Blob,
    ChatResponse,
    Citation,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    ToolCall,
    ToolCallResponse,
    Usage,
)
from gateway.dialects.wire.eventstream import event, exception, frame
from tests.dialects.botocores import framed, operation, streamed
from tests.dialects.botocores import given as shaped
from tests.dialects.strategies_bedrock import folded, hidden, own, proven

Read = Callable[[str], bytes]


def answer(*parts: Part, finish_reason: str | None, finish_word: str | None = None) -> Message:
    """Make an output message."""
    return Message(role="assistant", parts=list(parts), finish_reason=finish_reason, finish_word=finish_word)


STREAMS = {
    "bedrock_text.events": ChatResponse(
        finish_reasons=["stop"],
        output_messages=[answer(Text(content="Hello, 世界!"), finish_reason="stop", finish_word="end_turn")],
        usage=Usage(input_tokens=25, output_tokens=15, total_tokens=40, cache_read_tokens=0, cache_write_tokens=0),
        extra=own({"metrics": {"latencyMs": 813}}),
    ),
    "bedrock_thinking_tools.events": ChatResponse(
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Reasoning(content="The user wants two cities.", extra=proven("EqoBCkgIARABGAIiQ==")),
                Reasoning(content="", extra=hidden("EmwKAhgBEgy=")),
                Text(content="Looking it up."),
                ToolCall(id="tooluse_01", name="get_weather", arguments={"city": "Paris"}),
                ToolCall(id="tooluse_02", name="get_time", arguments={}),
                finish_reason="tool_calls",
                finish_word="tool_use",
            )
        ],
        usage=Usage(
            input_tokens=12 + 300 + 2048,
            output_tokens=96,
            total_tokens=2456,
            cache_read_tokens=2048,
            cache_write_tokens=300,
        ),
        extra=own(
            {
                "metrics": {"latencyMs": 2210},
                "additionalModelResponseFields": {"stop_sequence": None},
                "performanceConfig": {"latency": "standard"},
                "cacheDetails": [{"inputTokens": 300, "ttl": "5m"}],
            }
        ),
    ),
    "bedrock_cited.events": ChatResponse(
        finish_reasons=["length"],
        output_messages=[
            answer(
                ServerToolCall(
                    id="tooluse_07",
                    name="nova_grounding",
                    server_tool_call={"type": "nova_grounding", "input": {"query": "tides"}},
                    extra=own({"type": "server_tool_use"}),
                ),
                ServerToolCallResponse(
                    id="tooluse_07",
                    server_tool_call_response={
                        "type": "nova_grounding_result",
                        "content": [{"text": "Tides turn."}, {"json": {"pages": 1}}],
                    },
                    extra=own({"type": "nova_grounding_result", "status": "success"}),
                ),
                Text(
                    content="Twice a day.",
                    citations=[
                        Citation(
                            uri="https://example.com/tides",
                            title="Tides",
                            quote="Tides turn.",
                            extra=own(
                                {"location": {"web": {"url": "https://example.com/tides", "domain": "example.com"}}}
                            ),
                        ),
                        Citation(
                            uri="almanac.pdf",
                            title="Almanac",
                            extra=own(
                                {
                                    "source": "almanac.pdf",
                                    "location": {"documentPage": {"documentIndex": 0, "start": 3, "end": 4}},
                                }
                            ),
                        ),
                    ],
                ),
                Blob(modality="image", mime_type="image/png", content="iVBORw0KGgo="),
                finish_reason="length",
                finish_word="max_tokens",
            )
        ],
        usage=Usage(input_tokens=10, output_tokens=51, total_tokens=61),
        extra=own(
            {
                "metrics": {"latencyMs": 99},
                "trace": {
                    "promptRouter": {
                        "invokedModelId": "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
                    }
                },
                "serviceTier": {"type": "default"},
            }
        ),
    ),
    "bedrock_exception.events": ChatResponse(
        output_messages=[answer(Text(content="Half an ans"), finish_reason=None)],
        error_type="throttlingException",
        error_message="Too many tokens, please wait before trying again.",
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_whole(read: Read, name: str) -> None:
    """All content of a stream is in the record."""
    reader = CONVERSE.stream_reader()
    reader.feed(b"".join(framed(read(name))))
    assert reader.response() == STREAMS[name]
    assert reader.unread == 0


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_one_that_botocore_knows(read: Read, name: str) -> None:
    """Every event of a fixture is read by botocore, strictly, and an exception is raised by it."""
    broken = "exception" in name
    shape = operation(stream=True).output_shape.members["stream"]
    for line in read(name).splitlines()[: -1 if broken else None]:
        kind, _, payload = line.partition(b" ")
        (found,) = streamed(event(kind.decode(), payload))
        fields = {key: value for key, value in json.loads(payload).items() if key != "p"}
        assert found == shaped(shape, {kind.decode(): fields})
    if broken:
        with pytest.raises(EventStreamError, match="Too many tokens"):
            streamed(*framed(read(name)))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_ends_with_its_last_event_only(read: Read, name: str) -> None:
    """`ended` turns true with metadata or an exception, not before; what comes after is no more of it."""
    reader = CONVERSE.stream_reader()
    frames = framed(read(name))
    ended = []
    for each in frames:
        reader.feed(each)
        ended.append(reader.ended)
    assert ended == [*[False] * (len(frames) - 1), True]
    reader.feed(event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"late"}}'))
    assert reader.response() == STREAMS[name]


@pytest.mark.parametrize(
    ("name", "first"),
    [("bedrock_text.events", 1), ("bedrock_thinking_tools.events", 1), ("bedrock_cited.events", 1)],
)
def test_output_begins_with_content(read: Read, name: str, first: int) -> None:
    """`first_output` turns true with the first words or a tool's name."""
    reader = CONVERSE.stream_reader()
    seen = []
    for each in framed(read(name)):
        reader.feed(each)
        seen.append(reader.first_output)
    assert seen.index(True) == first
    assert all(seen[first:])


@pytest.mark.parametrize(
    ("delta", "output"),
    [
        ({"text": ""}, False),
        ({"reasoningContent": {"text": ""}}, False),
        ({"reasoningContent": {"redactedContent": "QQ=="}}, True),
        ({"toolUse": {"input": "{"}}, True),
        ({"novel": {}}, False),
    ],
)
def test_empty_deltas_are_no_output(delta: dict[str, Any], output: bool) -> None:
    """An empty text is no part; a thought that is hidden is output all the same."""
    reader = CONVERSE.stream_reader()
    reader.feed(event("contentBlockDelta", json.dumps({"contentBlockIndex": 0, "delta": delta}).encode()))
    assert reader.first_output is output


@pytest.mark.parametrize("name", STREAMS)
def test_what_is_told_is_what_is_kept(read: Read, name: str) -> None:
    """The events make the same message, and a reader that tells them keeps the same record."""
    reader = CONVERSE.stream_reader()
    reader.events = []
    reader.feed(b"".join(framed(read(name))))
    assert reader.response() == STREAMS[name]
    assert folded(reader.events) == STREAMS[name].output_messages


def test_each_event_is_told_when_it_comes(read: Read) -> None:
    """Nothing waits: the k-th delta is emitted at the k-th frame."""
    reader = CONVERSE.stream_reader()
    emitted = []
    for each in framed(read("bedrock_thinking_tools.events")):
        reader.events = []
        reader.feed(each)
        emitted.append(reader.events)
    thought = Reasoning(content="The user wants two cities.", extra=proven("EqoBCkgIARABGAIiQ=="))
    secret = Reasoning(content="", extra=hidden("EmwKAhgBEgy="))
    weather = ToolCall(id="tooluse_01", name="get_weather")
    time = ToolCall(id="tooluse_02", name="get_time")
    assert emitted == [
        [events.Begun()],
        [
            events.PartBegun(index=0, part=Reasoning(content="")),
            events.PartGrown(index=0, text="The user wants "),
        ],
        [events.PartGrown(index=0, text="two cities.")],
        [],
        [events.PartDone(index=0, part=thought)],
        [events.PartBegun(index=1, part=Reasoning(content=""))],
        [events.PartDone(index=1, part=secret)],
        [events.PartBegun(index=2, part=Text(content="")), events.PartGrown(index=2, text="Looking it up.")],
        [events.PartDone(index=2, part=Text(content="Looking it up."))],
        [events.PartBegun(index=3, part=weather)],
        [],
        [events.PartGrown(index=3, text='{"city": "Pa')],
        [events.PartGrown(index=3, text='ris"}')],
        [events.PartDone(index=3, part=ToolCall(id="tooluse_01", name="get_weather", arguments={"city": "Paris"}))],
        [events.PartBegun(index=4, part=time)],
        [events.PartGrown(index=4, text="{}")],
        [events.PartDone(index=4, part=ToolCall(id="tooluse_02", name="get_time", arguments={}))],
        [
            events.ChoiceDone(
                finish_reason="tool_calls",
                finish_word="tool_use",
                extra=own({"additionalModelResponseFields": {"stop_sequence": None}}),
            )
        ],
        [
            events.UsageUpdated(usage=STREAMS["bedrock_thinking_tools.events"].usage or Usage()),
            events.Ended(),
        ],
    ]


def test_an_exception_is_told_as_a_break(read: Read) -> None:
    """A part that had begun stays open, and nothing follows."""
    reader = CONVERSE.stream_reader()
    reader.events = []
    reader.feed(b"".join(framed(read("bedrock_exception.events"))))
    assert reader.events[-1] == events.Broken(
        type="throttlingException", message="Too many tokens, please wait before trying again."
    )
    assert not any(isinstance(each, events.PartDone | events.ChoiceDone) for each in reader.events)


def test_an_error_without_a_type_of_its_own_is_read() -> None:
    """An unmodeled error has its code and message in headers."""
    reader = CONVERSE.stream_reader()
    reader.feed(
        frame([(":message-type", "error"), (":error-code", "InternalFailure"), (":error-message", "sorry")], b"")
    )
    assert reader.ended
    assert reader.response() == ChatResponse(error_type="InternalFailure", error_message="sorry")


def test_a_broken_stream_tells_what_came_and_no_usage(read: Read) -> None:
    """A cut stream has its parts; its counts are unknown."""
    reader = CONVERSE.stream_reader()
    for each in framed(read("bedrock_thinking_tools.events"))[:12]:
        reader.feed(each)
    answered = reader.response()
    assert not reader.ended
    assert answered.usage is None
    assert answered.finish_reasons == []
    assert answered.output_messages[0].parts[2:] == [
        Text(content="Looking it up."),
        ToolCall(id="tooluse_01", name="get_weather", arguments='{"city": "Pa'),
    ]


Script = list[tuple[str, Any]]
SCRIPTS: dict[str, tuple[Script, list[Part]]] = {
    "no start": (
        [("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}})],
        [ToolCall(name="", arguments={})],
    ),
    "kinds mixed in one block": (
        [
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "a"}}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "b"}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "c"}}),
        ],
        [Reasoning(content="a"), Text(content="bc")],
    ),
    "a number used twice": (
        [
            ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "1", "name": "a"}}}),
            ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "2", "name": "b"}}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "[1]"}}}),
        ],
        [ToolCall(id="1", name="a"), ToolCall(id="2", name="b", arguments=[1])],
    ),
    "a delta after the stop": (
        [
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "a"}}),
            ("contentBlockStop", {"contentBlockIndex": 0}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "b"}}),
        ],
        [Text(content="a"), Text(content="b")],
    ),
    "blocks side by side": (
        [
            ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "1", "name": "a"}}}),
            ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "2", "name": "b"}}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "1"}}}),
            ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "2"}}}),
        ],
        [ToolCall(id="1", name="a", arguments=1), ToolCall(id="2", name="b", arguments=2)],
    ),
    "unknown events": (
        [
            ("novel", {"x": 1}),
            ("initial-response", {}),
            ("contentBlockStart", {"contentBlockIndex": 0, "start": {"novel": {}}}),
            ("contentBlockStart", {"contentBlockIndex": 0, "start": {}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"novel": "x"}}),
            ("contentBlockDelta", {"contentBlockIndex": None, "delta": None}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolResult": "x"}}),
            ("contentBlockStop", {"contentBlockIndex": 7}),
        ],
        [ToolCallResponse(response="")],
    ),
    "signatures and citations that are none": (
        [
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": None}}}),
            ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"citation": 7}}),
            ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"citation": {"location": [], "source": 1}}}),
            ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"reasoningContent": {"redactedContent": "QQ=="}}}),
            ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"reasoningContent": {"redactedContent": "Qg=="}}}),
        ],
        [
            Reasoning(content=""),
            Text(content="", citations=[Citation(extra=own({"location": [], "source": 1}))]),
            Reasoning(content="", extra=hidden("QUI=")),
        ],
    ),
    "images in other forms": (
        [
            ("contentBlockStart", {"contentBlockIndex": 0, "start": {"image": {"format": "png"}}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"image": {"source": {"bytes": "not base64"}}}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"image": {"source": {"bytes": "!"}}}}),
            ("contentBlockStart", {"contentBlockIndex": 1, "start": {"image": {"format": "png"}}}),
        ],
        [
            Blob(modality="image", mime_type="image/png", content="not base64!"),
            Blob(modality="image", mime_type="image/png", content=""),
        ],
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_events_out_of_order_are_read_as_far_as_they_go(name: str) -> None:
    """Odd streams are content all the same, and their events keep their order."""
    script, parts = SCRIPTS[name]
    reader = CONVERSE.stream_reader()
    reader.events = []
    for kind, payload in [*script, ("messageStop", {"stopReason": "novel"}), ("metadata", {"usage": []})]:
        reader.feed(event(kind, json.dumps(payload).encode()))
    expected = [answer(*parts, finish_reason="novel")]
    assert reader.response().output_messages == expected
    assert folded(reader.events) == expected


def test_events_that_are_no_json_are_counted() -> None:
    """A payload that cannot be read, and content after the end of the message, are left and counted."""
    reader = CONVERSE.stream_reader()
    reader.feed(event("contentBlockDelta", b"not json") + event("contentBlockDelta", b"[]"))
    reader.feed(
        event("messageStop", b'{"stopReason":"end_turn"}') + event("messageStop", b'{"stopReason":"max_tokens"}')
    )
    reader.feed(event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"late"}}'))
    assert reader.unread == 3
    assert reader.response().output_messages == [answer(finish_reason="stop", finish_word="end_turn")]


def test_metadata_without_a_stop_ends_the_choice() -> None:
    """A stream whose messageStop was lost is read to its end."""
    reader = CONVERSE.stream_reader()
    reader.events = []
    reader.feed(event("contentBlockDelta", b'{"delta":{"text":"a"}}') + event("metadata", b"{}"))
    assert reader.events[-3:] == [
        events.PartDone(index=0, part=Text(content="a")),
        events.ChoiceDone(finish_reason=None),
        events.Ended(),
    ]


def test_an_exception_frame_of_any_name_ends_the_stream() -> None:
    """Exceptions that the service will have one day are errors too."""
    reader = CONVERSE.stream_reader()
    reader.feed(exception("novelException", b"{}"))
    assert reader.ended
    assert reader.response() == ChatResponse(error_type="novelException")
