"""Requests to write, and their forms as a provider reads them."""

import json
from typing import Any

from google.genai import types
from msgspec.structs import replace
from pydantic import TypeAdapter

from gateway.dialects.conversation import (
    ChatRequest,
    Message,
    Part,
)
from gateway.dialects.gemini import GEMINI_WRITER

ASKED = ChatRequest(operation="chat", model="gemini-3-flash")
SKIP = "skip_thought_signature_validator"


def sent(asked: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """Write a request; return its body and the names of the losses."""
    written = GEMINI_WRITER.request(asked)
    return json.loads(written.body), written.dropped


def contents(*messages: Message, model: str = "gemini-3-flash") -> tuple[list[Any], list[str]]:
    """Write a conversation; return its turns and the names of the losses."""
    body, dropped = sent(replace(ASKED, model=model, input_messages=list(messages)))
    TypeAdapter(list[types.Content]).validate_python(body["contents"])
    return body["contents"], dropped


def message_of(role: str, *parts: Part, **more: Any) -> Message:
    """Make a message."""
    return Message(role=role, parts=list(parts), **more)
