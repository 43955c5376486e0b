"""The one typed form that every dialect reads into: the OpenTelemetry GenAI message schema.

A reader is fed bytes and never raises: what it could read is in the result, the rest is None. Encoding a list
of `Message` with msgspec gives `gen_ai.input.messages` as the conventions define it. Source: the JSON schemas
beside the GenAI span conventions (open-telemetry/semantic-conventions-genai).
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct


class Text(Struct, frozen=True, kw_only=True, tag="text"):
    """Plain text."""

    content: str


class Reasoning(Struct, frozen=True, kw_only=True, tag="reasoning"):
    """The model's thinking, as far as the provider shows it: empty where it is redacted or encrypted."""

    content: str


class Refusal(Struct, frozen=True, kw_only=True, tag="refusal"):
    """The model's words for why it will not answer; the schema leaves room for such parts."""

    content: str


class Compaction(Struct, frozen=True, kw_only=True, tag="compaction", omit_defaults=True):
    """Stands for earlier turns that were summed up; the summary, where the provider shows it."""

    id: str | None = None
    content: str | None = None


class ToolCall(Struct, frozen=True, kw_only=True, tag="tool_call", omit_defaults=True):
    """The model asks for a tool; `arguments` is the JSON value, or the text where it was no valid JSON."""

    id: str | None = None
    name: str
    arguments: Any = None


class ToolCallResponse(Struct, frozen=True, kw_only=True, tag="tool_call_response", omit_defaults=True):
    """What a tool gave back: its text, or a list of parts."""

    id: str | None = None
    response: Any
    is_error: bool = False


class ServerToolCall(Struct, frozen=True, kw_only=True, tag="server_tool_call", omit_defaults=True):
    """The provider ran a tool of its own (web search, code interpreter)."""

    id: str | None = None
    name: str
    server_tool_call: dict[str, Any]


class ServerToolCallResponse(Struct, frozen=True, kw_only=True, tag="server_tool_call_response", omit_defaults=True):
    """What the provider's own tool gave back."""

    id: str | None = None
    server_tool_call_response: dict[str, Any]


class Blob(Struct, frozen=True, kw_only=True, tag="blob", omit_defaults=True):
    """Inline data; `content` is base64."""

    modality: str
    mime_type: str | None = None
    content: str


class Uri(Struct, frozen=True, kw_only=True, tag="uri", omit_defaults=True):
    """Data elsewhere."""

    modality: str
    mime_type: str | None = None
    uri: str


class File(Struct, frozen=True, kw_only=True, tag="file", omit_defaults=True):
    """A file the provider keeps."""

    modality: str
    mime_type: str | None = None
    file_id: str


class Other(Struct, frozen=True, kw_only=True, tag="other", omit_defaults=True):
    """A part this form has no word for; `kind` is the dialect's own word, `value` what stood there."""

    kind: str
    value: Any = None


Part = (
    Text
    | Reasoning
    | Refusal
    | Compaction
    | ToolCall
    | ToolCallResponse
    | ServerToolCall
    | ServerToolCallResponse
    | Blob
    | Uri
    | File
    | Other
)


def tool_answer(parts: list[Part]) -> str | list[Part]:
    """Return what a tool gave back: its text where it is nothing else, else the parts."""
    if not parts:
        return ""
    return parts[0].content if len(parts) == 1 and isinstance(parts[0], Text) else parts


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn. `finish_reason` stands on output messages only (Phoenix drops those without one)."""

    role: str
    parts: list[Part]
    name: str | None = None
    finish_reason: str | None = None


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens by the conventions: input includes cached ones, output reasoning. Unknown is None, never 0."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: Literal["reported", "estimated"] = "reported"


class Asked(Struct, frozen=True, kw_only=True):
    """What a request asks for; `parameters` are attributes by their names, ready for a span."""

    operation: str
    model: str | None = None
    stream: bool = False
    system_instructions: list[Part] = msgspec.field(default_factory=list)
    input_messages: list[Message] = msgspec.field(default_factory=list)
    tool_definitions: msgspec.Raw | None = None
    parameters: dict[str, str | int | float | bool | list[str]] = msgspec.field(default_factory=dict)
    conversation_id: str | None = None
    user: str | None = None


class Answered(Struct, frozen=True, kw_only=True):
    """What came back, whole or as far as a stream got; `finish_reasons` has a word per choice that ended."""

    id: str | None = None
    model: str | None = None
    finish_reasons: list[str] = msgspec.field(default_factory=list)
    output_messages: list[Message] = msgspec.field(default_factory=list)
    usage: Usage | None = None
    error_type: str | None = None  # the provider's own word, from an error body or a mid-stream error event
    error_message: str | None = None
    conversation_id: str | None = None
