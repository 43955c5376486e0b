"""Cohere's own API, the second version: chats and embeddings. They are read, and translated into no other dialect."""

import re

import msgspec

from gateway.dialects import Dialect
from gateway.dialects.cohere.read_chat import read_chat, read_embed, read_embedded, read_response
from gateway.dialects.cohere.read_stream import CohereStreamReader
from gateway.dialects.endpoint import Endpoint
from gateway.errors import Kind
from gateway.semconv import EMBEDDINGS

NAME = "cohere"

COHERE_CHAT = Dialect(
    name=NAME,
    trace_only=True,
    read_request=read_chat,
    read_response=read_response,
    stream_reader=CohereStreamReader,
)


COHERE_EMBED = Dialect(
    name="cohere-embed",
    part_of=NAME,
    operation=EMBEDDINGS,
    trace_only=True,
    read_request=read_embed,
    read_response=read_embedded,
    stream_reader=CohereStreamReader,
)


def _error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body; clients distinguish errors by their status alone."""
    return msgspec.json.encode({"id": request_id, "message": message})


def _error_event(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write the last event of a stream that failed."""
    failed = {"type": "message-end", "id": request_id, "delta": {"finish_reason": "ERROR", "error": message}}
    return b"event: message-end\ndata: %b\n\n" % msgspec.json.encode(failed)


ENDPOINT = Endpoint(
    name=NAME,
    dialect=NAME,
    provider="cohere",
    operations={("v2", "chat"): COHERE_CHAT, ("v2", "embed"): COHERE_EMBED},
    paths=re.compile(r"^/+v2/(chat|embed|rerank)(/|$)"),
    private_model=lambda _: True,  # no other provider can be sent the request
    error=_error,
    error_event=_error_event,
)
