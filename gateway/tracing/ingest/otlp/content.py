"""Content in the attributes of applications' spans, known by its names, and captured as `[capture]` sets.

Instrumentations have names of their own: OpenTelemetry's of today and before, OpenInference's, Traceloop's, Langfuse's
and the AI SDK's; so have the events of coding agents (Claude Code, Codex, Gemini CLI). Attributes with other names are
recorded, except secrets.
"""

import re
from functools import lru_cache
from typing import Any

import msgspec

from gateway.config.model import CaptureMode
from gateway.tracing.secrets import scrub_named
from gateway.tracing.truncate import truncate_json

_NAMES = re.compile(
    r"""
    gen_ai\.(input\.messages|output\.messages|system_instructions|system\.message|tool\.definitions
        |tool\.call\.(arguments|result)|tool\.message|user\.message|assistant\.message|choice
        |prompt|completion|content\.(prompt|completion)|input|output)(\..*)?
    |gen_ai\.(prompt|completion)\.\d+\..*
    |(input|output)\.value
    |llm\.(input_messages|output_messages|prompts|completions|prompt_template|tools|function_call|invocation_parameters)(\..*)?
    |(embedding\.embeddings|retrieval\.documents|reranker\.(input|output)_documents)(\..*)?
    |tool\.parameters
    |traceloop\.entity\.(input|output)
    |langfuse\.(observation|trace)\.(input|output)
    |message\.content|body|event\.body
    |ai\.(prompt|response\.(text|object|reasoning|toolCalls)|toolCall\.(args|result))(\..*)?
    |prompt|user_prompt|system_prompt|response|input|output|arguments|content|(request|response)_text
    |(tool|hook)_(input|output|parameters|result)|function_(args|result)|(bash|full)_command|new_context
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=4096)
def is_content(name: str) -> bool:
    """Return whether an attribute of this name holds content: prompts, completions, tool arguments or documents."""
    return _NAMES.fullmatch(name) is not None


def capture_attributes(attributes: dict[str, Any], mode: CaptureMode, limit: int) -> dict[str, Any]:
    """Return attributes (JSON) for a sink: without secrets, and with content only if `mode` captures it.

    `limit`: bytes up to which each content attribute is captured.
    """
    captured: dict[str, Any] = {}
    for name, value in attributes.items():
        if not is_content(name):
            captured[name] = scrub_named(name, value)
        elif mode in {"full", "truncated"}:
            captured[name] = _truncated(value, limit)
    return captured


def _truncated(value: Any, limit: int) -> Any:
    """Return a value in about `limit` bytes; a text that is JSON stays JSON."""
    if isinstance(value, dict | list):
        encoded = msgspec.json.encode(value)
        # Truncation would damage bytes in base64 (`values`).
        whole = len(encoded) <= limit or b'"otlp.' in encoded
        return value if whole else msgspec.json.decode(truncate_json(encoded, limit))
    if not isinstance(value, str) or len(value) <= limit // 4:
        return value
    encoded = value.encode()
    if len(encoded) <= limit:
        return value
    if value.startswith(("[", "{")):
        try:
            return truncate_json(encoded, limit).decode()
        except ValueError:  # it merely began like JSON
            pass
    return f"{encoded[:limit].decode(errors='ignore')}… [{len(encoded) - limit} more bytes]"
