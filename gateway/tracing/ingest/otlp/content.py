"""What an application's spans say of what was said: by which names, and what of it a sink gets.

Each instrumentation has its own: OpenTelemetry's names of today and before, OpenInference's, Traceloop's, Langfuse's.
What `[capture]` keeps out of our own spans is kept out of theirs by these names. Of other names nothing is known, and
what an application says under them is kept.
"""

import re
from typing import Any

from gateway.config.model import CaptureMode
from gateway.tracing.secrets import scrub_named
from gateway.tracing.truncate import fitted

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
    """,
    re.VERBOSE,
)


def is_content(name: str) -> bool:
    """Whether an attribute of this name has what was said in it."""
    return _NAMES.fullmatch(name) is not None


def captured(attributes: dict[str, Any], mode: CaptureMode, limit: int) -> dict[str, Any]:
    """Return attributes (JSON) as a sink may have them: without content, or with as much of each as `limit` bytes.

    Keys by name go always.
    """
    made: dict[str, Any] = {}
    for name, value in attributes.items():
        if not is_content(name):
            made[name] = scrub_named(name, value)
        elif mode in {"full", "truncated"}:
            made[name] = _within(value, limit)
    return made


def _within(value: Any, limit: int) -> Any:
    """Return a value in about `limit` bytes; text that is JSON stays JSON."""
    if not isinstance(value, str) or len(value) <= limit // 4:
        return value
    encoded = value.encode()
    if len(encoded) <= limit:
        return value
    if value.startswith(("[", "{")):
        try:
            return fitted(encoded, limit).decode()
        except ValueError:  # it only looked like it
            pass
    return f"{encoded[:limit].decode(errors='ignore')}… [{len(encoded) - limit} more bytes]"
