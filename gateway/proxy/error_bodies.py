"""Errors born in the gateway, as each dialect's clients expect them. Pure."""

from gateway.dialects.bedrock.write_request import error_type
from gateway.dialects.conversation import ChatRequest
from gateway.dialects.events import Broken
from gateway.dialects.registry import WRITERS
from gateway.errors import ExchangeError, Kind
from gateway.providers.route import Family
from gateway.proxy.chronicle import errors
from gateway.proxy.routing.routes import SPOKEN_TO
from gateway.semconv import CHAT


def body(error: ExchangeError, family: Family, request_id: str) -> bytes:
    """Return the body of an error response."""
    if family == "chronicle":
        return errors.ours(error)
    writer = WRITERS[SPOKEN_TO[family]]
    return writer.error(error.kind, error.status, error.message, error.code, request_id)


def headers(kind: Kind, status: int, family: Family) -> dict[str, str]:
    """Return what stands in the head of an error response: Bedrock's clients read its type there."""
    return {"x-amzn-ErrorType": error_type(kind, status, None)} if family == "aws-bedrock" else {}


def event(error: ExchangeError, family: Family, request_id: str) -> bytes:
    """Return what tells a client of an error in the middle of a stream."""
    if family == "chronicle":
        return errors.event(error.message)
    if family == "aws-bedrock":
        stream = WRITERS[SPOKEN_TO[family]].stream(ChatRequest(operation=CHAT, stream=True), 0.0)
        return stream.write(Broken(type=error.code, message=error.message))
    said = body(error, family, request_id)
    if family == "ollama":
        return said + b"\n"
    name = b"event: error\n" if family == "anthropic" else b""
    return name + b"data: " + said + b"\n\n"
