"""Responses to write, and their forms as clients read them."""

import json
from typing import Any

from google.genai import types

from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Message,
    Part,
)
from gateway.dialects.gemini import GEMINI_WRITER

NOW = 1795162800.25
ASKED = ChatRequest(operation="chat", model="gemini-3-flash")


def answered(*parts: Part, **more: Any) -> ChatResponse:
    """Make a response with one message."""
    about = {"finish_reason": "stop", **{k: more.pop(k) for k in ("finish_reason", "finish_word") if k in more}}
    return ChatResponse(output_messages=[Message(role="assistant", parts=list(parts), **about)], **more)


def whole(answer: ChatResponse) -> tuple[dict[str, Any], list[str]]:
    """Write a whole response; return it, and the names of the losses."""
    body, dropped = GEMINI_WRITER.response(answer, ASKED, NOW)
    return json.loads(body), dropped


def streamed(sequence: Any) -> tuple[list[Any], list[str]]:
    """Write a stream; return what each call wrote, as JSON, and the names of the losses."""
    writer = GEMINI_WRITER.stream(ASKED, NOW)
    assert writer.content_type == "text/event-stream"
    written = [writer.write(event) for event in sequence]
    chunks = [json.loads(e.removeprefix(b"data: ")) for data in written for e in data.split(b"\n\n") if e]
    for chunk in chunks:
        if "error" not in chunk:
            types.GenerateContentResponse.model_validate(chunk)
    return chunks, writer.dropped


def parts_of(chunk: Any) -> Any:
    """Return the parts that one event has."""
    return chunk["candidates"][0]["content"]["parts"]
