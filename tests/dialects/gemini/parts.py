"""Parts read in their whole form, for translations."""

import json
from typing import Any

from gateway.dialects.conversation import (
    ChatRequest,
)
from gateway.dialects.gemini import GEMINI

PATH = "/v1beta/models/gemini-3-flash:generateContent"
OWN = "gemini"


def full(body: Any, path: str = PATH) -> ChatRequest:
    """Read a request for a translation."""
    assert GEMINI.read_conversation is not None
    return GEMINI.read_conversation(body if isinstance(body, bytes) else json.dumps(body).encode(), path)
