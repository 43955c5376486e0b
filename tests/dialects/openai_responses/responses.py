"""Responses to write, and their forms as clients read them."""

import json
from collections.abc import Iterable
from typing import Any

from openai.types.responses import Response

from gateway.dialects import events
from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Message,
    Part,
    Text,
)
from gateway.dialects.openai_responses import RESPONSES_WRITER
from tests.dialects import sdk_types
from tests.dialects.streams import written

NOW = 1795162800.25
ASKED = ChatRequest(
    operation="chat",
    model="gpt-5.4",
    system_instructions=[Text(content="Be short.")],
    parameters={"gen_ai.request.max_tokens": 9, "gen_ai.request.reasoning.level": "low"},
    metadata={"a": "b"},
    parallel_tool_calls=False,
    user="u-1",
)


def answer(*parts: Part, **more: Any) -> ChatResponse:
    """Make a response with one choice."""
    message = Message(role="assistant", parts=list(parts), finish_reason=more.pop("finish_reason", "stop"))
    return ChatResponse(id="resp_1", model="m", created=7, output_messages=[message], **more)


def whole(answered: ChatResponse) -> tuple[dict[str, Any], list[str]]:
    """Write a whole response, that the SDK takes; return it and the names of the losses."""
    body, dropped = RESPONSES_WRITER.response(answered, ASKED, NOW)
    Response.model_validate_json(body)
    return json.loads(body), dropped


def streamed(emitted: Iterable[events.Event]) -> tuple[list[dict[str, Any]], Response, list[str]]:
    """Write a stream; return its events, the SDK's result, and the names of the losses."""
    stream, writer = written(RESPONSES_WRITER, ASKED, emitted, NOW)
    return list(sdk_types.data_of(stream)), sdk_types.response(stream), writer.dropped
