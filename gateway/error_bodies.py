"""Errors born in the gateway, as each dialect's clients expect them. Pure."""

import msgspec

from gateway.errors import ExchangeError
from gateway.routing import Family


def body(error: ExchangeError, family: Family, request_id: str) -> bytes:
    """Return the JSON body of an error response."""
    if family == "anthropic":
        return msgspec.json.encode(
            {
                "type": "error",
                "error": {"type": error.kind.fact.anthropic, "message": error.message},
                "request_id": request_id,
            }
        )
    return msgspec.json.encode(
        {
            "error": {
                "message": error.message,
                "type": error.kind.fact.openai,
                "param": None,
                "code": error.code,
            }
        }
    )


def event(error: ExchangeError, family: Family, request_id: str) -> bytes:
    """Return the server-sent event that tells a client of an error in the middle of a stream."""
    data = body(error, family, request_id)
    name = b"event: error\n" if family == "anthropic" else b""
    return name + b"data: " + data + b"\n\n"
