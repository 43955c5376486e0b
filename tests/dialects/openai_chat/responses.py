"""Responses to write, and their forms as clients read them."""

from typing import Any

from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Message,
    Part,
)
from gateway.dialects.openai_chat import CHAT_WRITER
from tests.dialects import sdk_types
from tests.dialects.streams import stream_events, written

NOW = 1795162800.25
ASKED = ChatRequest(operation="chat", model="gpt-5.4")


def answer(*parts: Part, **more: Any) -> ChatResponse:
    """Make a response with one choice."""
    message = Message(role="assistant", parts=list(parts), finish_reason=more.pop("finish_reason", "stop"))
    return ChatResponse(id="r-1", model="m", created=7, output_messages=[message], **more)


def streamed(answered: ChatResponse, asked: ChatRequest = ASKED) -> tuple[list[dict[str, Any]], list[str]]:
    """Write a stream; return its chunks and the names of the losses."""
    stream, writer = written(CHAT_WRITER, asked, stream_events(answered, 99), NOW)
    assert stream.endswith(b"data: [DONE]\n\n")
    return list(sdk_types.data_of(stream)), writer.dropped


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what chunks add to the first choice."""
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
