"""Streams of chat completions, written."""

from gateway.dialects import events
from gateway.dialects.conversation import (
    ChatRequest,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_chat import CHAT_COMPLETIONS, CHAT_WRITER
from tests.dialects import sdk_types
from tests.dialects.openai_chat.responses import ASKED, NOW, answer, deltas, streamed
from tests.dialects.streams import read, stream_events, written


def test_a_stream_as_it_is_written() -> None:
    """A role leads; a call begins with its id and name; where none of its arguments came they are an empty object."""
    usage = Usage(input_tokens=3, output_tokens=4, total_tokens=7)
    asked = ChatRequest(operation="chat", model="m", include_usage=True)
    chunks, dropped = streamed(
        answer(Text(content="Hi"), ToolCall(id="c", name="f"), finish_reason="tool_calls", usage=usage), asked
    )
    head = {"id": "r-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert deltas(chunks) == [
        {"role": "assistant", "content": "Hi"},
        {"tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    sequence = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert chunks[-1] == head | {"choices": [], "usage": sequence}
    assert dropped == []


def test_a_stream_that_breaks_off_says_so() -> None:
    """The content so far is written, then the error as its clients raise it, and no end."""
    sequence = [
        events.Begun(id="r-1", model="m"),
        events.PartBegun(index=0, part=Text(content="")),
        events.PartGrown(index=0, text="Once"),
        events.Broken(type="overloaded_error", message="Overloaded"),
    ]
    stream, _ = written(CHAT_WRITER, ASKED, sequence, NOW)
    [*_, error] = sdk_types.data_of(stream)
    body = {"message": "Overloaded", "type": "server_error", "param": None, "code": "overloaded_error"}
    assert error == {"error": body}
    reader, _ = read(CHAT_COMPLETIONS, stream)
    assert reader.response().error_message == "Overloaded"
    assert b"[DONE]" not in stream


def test_a_stream_that_stops_without_an_end_has_none() -> None:
    """The writer makes none up: its client sees that the stream is not whole."""
    sequence = list(stream_events(answer(Text(content="Once"))))[:3]
    stream, _ = written(CHAT_WRITER, ASKED, sequence, NOW)
    assert b"finish_reason" in stream
    assert b'"finish_reason":"' not in stream
