"""Parts read in their whole form, for translations."""

import json
from typing import Any

from gateway.dialects.bedrock import CONVERSE
from gateway.dialects.conversation import (
    ChatRequest,
)

PATH = "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"


def full(body: dict[str, Any], path: str = PATH) -> ChatRequest:
    """Read a request for a translation."""
    return CONVERSE.read_conversation(json.dumps(body).encode(), path)
