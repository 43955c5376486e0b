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
from gateway.dialects.ollama.read_response import read_embedded, read_failure, read_response
from gateway.dialects.ollama.read_stream import OllamaStreamReader
from gateway.dialects.ollama.write_request import write_request
from gateway.dialects.ollama.write_response import write_error, write_response
from gateway.dialects.ollama.write_stream import OllamaStreamWriter
from gateway.dialects.shared.writer import Writer
from gateway.errors import Kind
from gateway.semconv import EMBEDDINGS, TEXT_COMPLETION

OLLAMA_CHAT = Dialect(
    name=NAME,
    json_streams=True,
    read_request=read_chat,
    read_response=read_response,
    stream_reader=OllamaStreamReader,
    read_conversation=read_chat_conversation,
)


OLLAMA_GENERATE = Dialect(
    name="ollama-generate",
    json_streams=True,
    part_of=NAME,
    operation=TEXT_COMPLETION,
    read_request=read_generate,
    read_response=read_response,
    stream_reader=OllamaStreamReader,
    read_conversation=read_generate_conversation,
)


# For the trace only: nothing is translated.
OLLAMA_EMBED = Dialect(
    name="ollama-embed",
    part_of=NAME,
    operation=EMBEDDINGS,
    read_request=read_embed,
    read_response=read_embedded,
    stream_reader=OllamaStreamReader,
)


OLLAMA_WRITER = Writer(
    name=NAME, request=write_request, response=write_response, stream=OllamaStreamWriter, error=write_error
)


def _error_line(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:
    return write_error(kind, status, message, word, request_id) + b"\n"


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
    resources=re.compile(
        r"^/+api/(chat|generate|embed|embeddings|tags|show|ps|version|pull|push|create|copy|delete|blobs|me|signin"
        r"|signout|web_search|web_fetch|experimental)(/|$)"
    ),
    stream_type="application/x-ndjson",
    private_model=lambda model: ":" in model,  # a tag: any model can be pulled under any name
    error=write_error,
    error_event=_error_line,
    models_path="/api/tags",
    read_failure=read_failure,
    tool_names=None,
)
