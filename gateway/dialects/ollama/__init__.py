"""Ollama's own API: chats, completions of a prompt and embeddings."""

import re

from gateway.dialects.endpoint import Endpoint
from gateway.dialects.ollama.parts import NAME
from gateway.dialects.ollama.read_response import OLLAMA_CHAT, OLLAMA_EMBED, OLLAMA_GENERATE
from gateway.dialects.ollama.write_request import OLLAMA_WRITER
from gateway.dialects.ollama.write_response import error
from gateway.errors import Kind


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
