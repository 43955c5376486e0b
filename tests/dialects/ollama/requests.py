"""Requests to write, and their forms as a provider reads them."""

import json
from typing import Any

from msgspec.structs import replace

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    Message,
)
from gateway.dialects.ollama import OLLAMA_WRITER

NOW = 1795162800.25
PNG = Blob(modality="image", mime_type="image/png", content="iVBORw0KGgo=")
ASKED = ChatRequest(operation="chat", model="qwen3")
PROMPTED = ChatRequest(operation="text_completion", model="qwen3")


def sent(asked: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """Write a request; return its body and the names of the losses."""
    written = OLLAMA_WRITER.request(asked)
    return json.loads(written.body), written.dropped


def chat(*messages: Message, **more: Any) -> ChatRequest:
    """Make a request to chat."""
    return replace(ASKED, input_messages=list(messages), **more)
