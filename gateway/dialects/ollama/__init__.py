"""Ollama's own API: chats, completions of a prompt and embeddings."""

import re

from gateway.dialects import Dialect
from gateway.dialects.endpoint import Endpoint
from gateway.dialects.ollama.read_parts import NAME
from gateway.dialects.ollama.read_request import (
    read_chat,
    read_chat_conversation,
    read_embed,
    read_generate,
    read_generate_conversation,
)
from gateway.dialects.ollama.read_response import _read_embedded, _read_response
from gateway.dialects.ollama.read_stream import _LineReader
from gateway.dialects.ollama.write_request import _request
from gateway.dialects.ollama.write_response import error, response
from gateway.dialects.ollama.write_stream import OllamaStreamWriter
from gateway.dialects.shared.writer import Writer
from gateway.errors import Kind
from gateway.semconv import EMBEDDINGS, TEXT_COMPLETION

OLLAMA_CHAT = Dialect(
    name=NAME,
    read_request=read_chat,
    read_response=_read_response,
    stream_reader=_LineReader,
    read_conversation=read_chat_conversation,
)


OLLAMA_GENERATE = Dialect(
    name="ollama-generate",
    part_of=NAME,
    operation=TEXT_COMPLETION,
    read_request=read_generate,
    read_response=_read_response,
    stream_reader=_LineReader,
    read_conversation=read_generate_conversation,
)


# For the trace only: nothing is translated.
OLLAMA_EMBED = Dialect(
    name="ollama-embed",
    part_of=NAME,
    operation=EMBEDDINGS,
    read_request=read_embed,
    read_response=_read_embedded,
    stream_reader=_LineReader,
)


OLLAMA_WRITER = Writer(name=NAME, request=_request, response=response, stream=OllamaStreamWriter, error=error)


def _error_line(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:
    return error(kind, status, message, word, request_id) + b"\n"


ENDPOINT = Endpoint(
    name=NAME,
    dialect=NAME,
    writer=OLLAMA_WRITER,
    provider="ollama",
    operations={
        ("api", "chat"): OLLAMA_CHAT,
        ("api", "generate"): OLLAMA_GENERATE,
        ("api", "embed"): OLLAMA_EMBED,
        ("api", "embeddings"): OLLAMA_EMBED,
    },
    paths=re.compile(r"^/+api/(?!v\d)"),
    stream_type="application/x-ndjson",
    private_model=lambda model: ":" in model,  # a tag: any model can be pulled under any name
    error=error,
    error_event=_error_line,
    models_path="/api/tags",
)
