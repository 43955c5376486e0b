"""Gemini's generateContent and streamGenerateContent, embeddings and token counts, of the Gemini API and of Vertex."""

import re

from gateway.dialects import Dialect
from gateway.dialects.conversation import ChatResponse
from gateway.dialects.endpoint import Endpoint, PathOperation, server_sent
from gateway.dialects.gemini import paths
from gateway.dialects.gemini.errors import read_failure, write_error
from gateway.dialects.gemini.read_parts import NAME
from gateway.dialects.gemini.read_request import (
    GENERATE,
    STREAM,
    model_in,
    read_conversation,
    read_embed,
    read_request,
)
from gateway.dialects.gemini.read_response import DECODER, read_embedded, read_whole
from gateway.dialects.gemini.read_stream import GeminiStreamReader
from gateway.dialects.gemini.write_request import write_request
from gateway.dialects.gemini.write_response import write_response
from gateway.dialects.gemini.write_stream import array_stream, stream
from gateway.dialects.shared.tool_names import NameForm
from gateway.dialects.shared.usage import counting
from gateway.dialects.shared.writer import Writer
from gateway.dialects.wire.json import decode
from gateway.errors import Kind
from gateway.semconv import EMBEDDINGS, GENERATE_CONTENT

__all__ = ["COUNT_TOKENS", "EMBED", "ENDPOINT", "GEMINI", "GEMINI_ARRAY_WRITER", "GEMINI_WRITER", "model_in"]


def _read_response(body: bytes) -> ChatResponse:
    """Read a whole response, or a stream that came as a JSON array, as its errors do too: both have the same type."""
    if body.lstrip()[:1] == b"[":
        reader = GeminiStreamReader()
        reader.feed(body)
        return reader.response()
    whole = decode(body, DECODER)
    return ChatResponse() if whole is None else read_whole(whole)


def _error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body; clients distinguish errors by their status alone."""
    return write_error(status, message, word, request_id)


GEMINI = Dialect(
    name=NAME,
    operation=GENERATE_CONTENT,
    json_streams=True,
    read_request=read_request,
    read_response=_read_response,
    stream_reader=GeminiStreamReader,
    read_conversation=read_conversation,
)


EMBED = Dialect(
    name="gemini-embed",
    part_of=NAME,
    operation=EMBEDDINGS,
    trace_only=True,
    read_request=read_embed,
    read_response=read_embedded,
    stream_reader=GeminiStreamReader,
)


COUNT_TOKENS = counting(GEMINI, "gemini-count-tokens", "totalTokens")


GEMINI_WRITER = Writer(name=NAME, request=write_request, response=write_response, stream=stream, error=_error)


GEMINI_ARRAY_WRITER = Writer(
    name=NAME, request=write_request, response=write_response, stream=array_stream, error=_error
)
"""For clients whose target has no `alt=sse`: the stream is one JSON array."""


_ACTIONS = {
    GENERATE: GEMINI,
    STREAM: GEMINI,
    "embedContent": EMBED,
    "batchEmbedContents": EMBED,
    "countTokens": COUNT_TOKENS,
}


def _operation(method: str, path: str) -> PathOperation | None:
    if ":" not in path or (named := model_in(path)) is None or not paths.ACTIONS.fullmatch(named[1]):
        return None
    model, action = named
    dialect = _ACTIONS.get(action) if method == "POST" else None
    return PathOperation(NAME, dialect, model, action == STREAM)


ENDPOINT = Endpoint(
    name=NAME,
    dialect=NAME,
    writer=GEMINI_WRITER,
    provider="gemini",
    path_operations=(GEMINI, EMBED, COUNT_TOKENS),
    read_path=_operation,
    write_path=paths.with_model,
    resource="models/",
    version=paths.VERSION,
    paths=paths.OPERATIONS,
    resources=paths.RESOURCES,
    operations_only=True,
    prefixes=paths.PREFIXES,
    join=paths.join,
    base_path="/v1beta",
    key_header="x-goog-api-key",
    query_keys=frozenset({"key", "access_token"}),
    header_prefixes=(b"x-goog-api-client", b"x-goog-user"),
    error=_error,
    error_event=server_sent(_error),
    models_path="/models?pageSize=1000",
    writer_for=lambda target: GEMINI_WRITER if "alt=sse" in target else GEMINI_ARRAY_WRITER,
    read_failure=read_failure,
    tool_names=NameForm(invalid=re.compile(r"[^a-zA-Z0-9_.:-]")),
)
