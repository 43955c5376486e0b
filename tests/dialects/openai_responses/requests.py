"""Requests to write, and their forms as a provider reads them."""

import json
from typing import Any

from msgspec.structs import replace

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    Message,
    Part,
)
from gateway.dialects.openai_responses import RESPONSES_WRITER
from tests.dialects import sdk_types

PNG = Blob(modality="image", mime_type="image/png", content="iVBORw0KGgo=")


def sent(asked: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """Write a request that the SDK's types take; return its body and the names of the losses."""
    request = RESPONSES_WRITER.request(asked)
    body = json.loads(request.body)
    sdk_types.check_request("openai-responses", body)
    return body, request.dropped


def chat(*messages: Message, **more: Any) -> ChatRequest:
    """Make a request."""
    return replace(ChatRequest(operation="chat", model="m", input_messages=list(messages)), **more)


def user(*parts: Part, **more: Any) -> Message:
    """Make a user's turn."""
    return Message(role="user", parts=list(parts), **more)


def model(*parts: Part, **more: Any) -> Message:
    """Make a turn of the model's."""
    return Message(role="assistant", parts=list(parts), **more)
