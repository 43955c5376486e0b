"""Requests to write, and their forms as a provider reads them."""

import json
from typing import Any

from gateway.dialects.bedrock import CONVERSE_WRITER
from gateway.dialects.conversation import (
    ChatRequest,
    Message,
    Part,
    Text,
    Tool,
)
from tests.dialects.botocores import checked

ASKED = ChatRequest(operation="chat", model="anthropic.claude-opus-5-v1:0")


def sent(*messages: Message, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """Write a request, which botocore must take; return its body and what is lost."""
    asked = ChatRequest(**{"operation": "chat", "model": ASKED.model, "input_messages": list(messages), **more})
    written = CONVERSE_WRITER.request(asked)
    body = json.loads(written.body)
    checked(body, asked.model or "", stream=asked.stream)
    return body, written.dropped


def user(*parts: Part, **more: Any) -> Message:
    """Make a user's message."""
    return Message(role="user", parts=list(parts), **more)


def assistant(*parts: Part) -> Message:
    """Make an assistant's message."""
    return Message(role="assistant", parts=list(parts))


HI = Text(content="Hi")
LOOK = Tool(name="look", parameters={"type": "object"})
