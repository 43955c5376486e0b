"""Responses to write, and their forms as clients read them."""

import json
from collections.abc import Iterable
from typing import Any

from anthropic.types import Message as AnthropicMessage

from gateway.dialects import events
from gateway.dialects.anthropic import MESSAGES_WRITER
from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Message,
    Part,
)
from tests.dialects import sdk_types
from tests.dialects.streams import written

NOW = 1795162800.25
ASKED = ChatRequest(operation="chat", model="claude-sonnet-5")


def answer(*parts: Part, **more: Any) -> ChatResponse:
    """Make a response with one choice."""
    message = Message(role="assistant", parts=list(parts), finish_reason=more.pop("finish_reason", "stop"))
    return ChatResponse(id="r-1", model="m", output_messages=[message], **more)


def whole(answered: ChatResponse) -> tuple[dict[str, Any], list[str]]:
    """Write a whole response, that the SDK takes; return it and the names of the losses."""
    body, dropped = MESSAGES_WRITER.response(answered, ASKED, NOW)
    AnthropicMessage.model_validate_json(body)
    return json.loads(body), dropped


def streamed(emitted: Iterable[events.Event]) -> tuple[list[dict[str, Any]], AnthropicMessage, list[str]]:
    """Write a stream; return its events, the SDK's result, and the names of the losses."""
    stream, writer = written(MESSAGES_WRITER, ASKED, emitted, NOW)
    return list(sdk_types.data_of(stream)), sdk_types.anthropic_message(stream), writer.dropped


BEGUN = events.Begun(id="r-1", model="m")
