"""Streams of Ollama's, written."""

import json
from itertools import pairwise
from typing import Any

import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import (
    ChatRequest,
    Reasoning,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.ollama import OLLAMA_CHAT, OLLAMA_WRITER
from tests.dialects import strategies_ollama as drawn
from tests.dialects.ollama.requests import ASKED, NOW, PNG, PROMPTED


@pytest.mark.parametrize("asked", [ASKED, PROMPTED])
@given(data=st.data())
def test_a_stream_comes_back_as_it_was(asked: ChatRequest, data: st.DataObject) -> None:
    """A written stream, cut anywhere, is read as the same events; the package takes each line."""
    answered = data.draw(drawn.answered(streamed=True))
    writer = OLLAMA_WRITER.stream(asked, NOW)
    stream = b"".join(writer.write(event) for event in drawn.stream_events(answered, data.draw(st.integers(1, 20))))
    assert writer.dropped == []
    reader = OLLAMA_CHAT.stream_reader()
    reader.events = []
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    for start, end in pairwise([0, *sorted(cuts), len(stream)]):
        reader.feed(stream[start:end])
    assert reader.response() == answered
    assert reader.ended
    assert drawn.folded(reader.events) == answered.output_messages
    for line in stream.splitlines():
        (ollama.ChatResponse if asked is ASKED else ollama.GenerateResponse).model_validate_json(line)


def test_each_delta_leaves_at_once() -> None:
    """A piece of text is a line as soon as it comes; a tool call is one once it is whole."""
    writer = OLLAMA_WRITER.stream(ASKED, NOW)
    call = ToolCall(id="c", name="f", arguments={"a": 1})
    steps: list[tuple[events.Event, dict[str, Any] | None]] = [
        (events.Begun(id="r", model="m", created=0, usage=Usage(input_tokens=5)), None),
        (events.PartBegun(index=0, part=Reasoning(content="")), None),
        (events.PartGrown(index=0, text="hm"), {"role": "assistant", "content": "", "thinking": "hm"}),
        (events.PartBegun(index=1, part=Text(content="")), None),
        (events.PartGrown(index=1, text="a"), {"role": "assistant", "content": "a"}),
        (events.PartDone(index=0, part=Reasoning(content="hm", extra={"gemini": {"x": 1}})), None),
        (events.PartBegun(index=2, part=replace(call, arguments=None)), None),
        (events.PartGrown(index=2, text='{"a":1}'), None),
        (
            events.PartDone(index=2, part=call),
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}],
            },
        ),
        (
            events.PartDone(index=4, part=ToolCall(name="g")),
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"index": 1, "name": "g", "arguments": {}}}],
            },
        ),
        (events.PartDone(index=1, part=Text(content="a")), None),
        (events.PartBegun(index=3, part=PNG), None),
        (events.PartDone(index=3, part=PNG), None),
        (events.PartGrown(index=0, choice=1, text="b"), None),
        (events.ChoiceDone(finish_reason="tool_calls"), None),
        (events.UsageUpdated(usage=Usage(output_tokens=7, reasoning_tokens=1)), None),
    ]
    for event, message in steps:
        line = writer.write(event)
        assert line.endswith(b"\n") or line == b""
        assert (json.loads(line)["message"] if line else None) == message
    assert json.loads(writer.write(events.Ended())) == {
        "model": "m",
        "created_at": "1970-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 5,
        "eval_count": 7,
    }
    assert writer.dropped == [
        "choices[0].parts[0].x",
        "choices[0]: images",
        "choices[1]",
        "usage.reasoning_tokens",
    ]
    assert writer.content_type == "application/x-ndjson"


def test_a_stream_that_breaks_ends_with_the_error() -> None:
    """The package raises the text of an `error` line."""
    for broken, message in (
        (events.Broken(type="overloaded_error", message="busy"), "busy"),
        (events.Broken(type="overloaded_error"), "overloaded_error"),
    ):
        assert json.loads(OLLAMA_WRITER.stream(ASKED, NOW).write(broken)) == {"error": message}
