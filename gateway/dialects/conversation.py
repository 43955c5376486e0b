"""The one typed form that every dialect reads into and is written from: the OpenTelemetry GenAI message schema.

A reader is fed bytes and never raises: the fields it could read are in the result, the rest is None. Encoding a list
of `Message` with msgspec gives `gen_ai.input.messages` as the conventions define it. Source: the JSON schemas
beside the GenAI span conventions (open-telemetry/semantic-conventions-genai).

Fields of a dialect that the form has no place for are in `extra`, below the dialect's name: that dialect writes it
back as it was, and any other one names it as dropped.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

Extra = dict[str, dict[str, Any]]


class Citation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A source of a text: `start` and `end` are places in the citing text, in characters."""

    uri: str | None = None
    title: str | None = None
    quote: str | None = None
    start: int | None = None
    end: int | None = None
    extra: Extra = {}


class TokenLogprob(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token's log probability, and those of the likeliest in its place."""

    token: str
    logprob: float
    top: list["TokenLogprob"] = []


class Text(Struct, frozen=True, kw_only=True, tag="text", omit_defaults=True):
    """Plain text. `cache`, here and below: the prompt up to and with this is to be cached; how long, or "default"."""

    content: str
    citations: list[Citation] = []
    logprobs: list[TokenLogprob] = []
    cache: str | None = None
    extra: Extra = {}


class Reasoning(Struct, frozen=True, kw_only=True, tag="reasoning", omit_defaults=True):
    """The model's reasoning, as far as the provider shows it: empty if it is redacted or encrypted.

    Its proof for the provider in a later turn (a signature, an encrypted form) is in `extra`.
    """

    content: str
    extra: Extra = {}


class Refusal(Struct, frozen=True, kw_only=True, tag="refusal", omit_defaults=True):
    """The model's words for why it will not answer; the schema leaves room for such parts."""

    content: str
    extra: Extra = {}


class Compaction(Struct, frozen=True, kw_only=True, tag="compaction", omit_defaults=True):
    """A summary in the place of earlier turns; its text, if the provider shows it."""

    id: str | None = None
    content: str | None = None
    extra: Extra = {}


class ToolCall(Struct, frozen=True, kw_only=True, tag="tool_call", omit_defaults=True):
    """A call of a tool; `arguments` is the JSON value, or the text if it is no valid JSON.

    `custom`: a tool that takes any text; `arguments` is that text. `namespace`: of the tool's name, if it has one.
    """

    id: str | None = None
    name: str
    namespace: str | None = None
    arguments: Any = None
    custom: bool = False
    cache: str | None = None
    extra: Extra = {}


class ToolCallResponse(Struct, frozen=True, kw_only=True, tag="tool_call_response", omit_defaults=True):
    """A tool's result: its text, a list of parts, or a JSON object. `name`: the tool's, if it is known."""

    id: str | None = None
    name: str | None = None
    response: Any
    is_error: bool = False
    custom: bool = False
    cache: str | None = None
    extra: Extra = {}


class ServerToolCall(Struct, frozen=True, kw_only=True, tag="server_tool_call", omit_defaults=True):
    """The provider ran a tool of its own (web search, code interpreter)."""

    id: str | None = None
    name: str
    server_tool_call: dict[str, Any]
    extra: Extra = {}


class ServerToolCallResponse(Struct, frozen=True, kw_only=True, tag="server_tool_call_response", omit_defaults=True):
    """The result of the provider's own tool."""

    id: str | None = None
    server_tool_call_response: dict[str, Any]
    extra: Extra = {}


class Blob(Struct, frozen=True, kw_only=True, tag="blob", omit_defaults=True):
    """Inline data; `content` is base64. Modality: image, audio, video or document."""

    modality: str
    mime_type: str | None = None
    content: str
    name: str | None = None
    cache: str | None = None
    extra: Extra = {}


class Uri(Struct, frozen=True, kw_only=True, tag="uri", omit_defaults=True):
    """Data elsewhere."""

    modality: str
    mime_type: str | None = None
    uri: str
    name: str | None = None
    cache: str | None = None
    extra: Extra = {}


class File(Struct, frozen=True, kw_only=True, tag="file", omit_defaults=True):
    """A file the provider keeps."""

    modality: str
    mime_type: str | None = None
    file_id: str
    name: str | None = None
    cache: str | None = None
    extra: Extra = {}


class Other(Struct, frozen=True, kw_only=True, tag="other", omit_defaults=True):
    """A part this form has no word for; `kind` is the dialect's own word, `value` its JSON."""

    kind: str
    value: Any = None
    dialect: str | None = None
    cache: str | None = None


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
    """Return a tool's result: its text if it is nothing else, else the parts."""
    if not parts:
        return ""
    only = parts[0] if len(parts) == 1 else None
    return only.content if isinstance(only, Text) and only == Text(content=only.content) else parts


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn: of the system, developer, user, assistant or tool.

    `finish_reason` is on output messages only (Phoenix drops those without one) and is of one vocabulary: stop,
    length, content_filter, tool_calls, error, else the provider's own word; `finish_word` is that, if it is another.
    """

    role: str
    parts: list[Part]
    name: str | None = None
    finish_reason: str | None = None
    finish_word: str | None = None
    extra: Extra = {}


class Tool(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool that the model may call.

    Attributes:
        kind: A function with a JSON schema for its `parameters`; `custom`, which takes any text; or `server`, which the
            provider runs: then `extra` has the whole of it, below its dialect.
        namespace: The group of tools in which the name is unique; None without groups.
        strict: Whether arguments are held to the schema; None if the request has no setting.

    """

    name: str
    kind: Literal["function", "custom", "server"] = "function"
    namespace: str | None = None
    description: str | None = None
    parameters: Any = None
    strict: bool | None = None
    cache: str | None = None
    extra: Extra = {}


class ToolChoice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The choice of tools: left to the model, none, at least one, or the named one.

    `allowed`: names of the tools that may be called, if not all of the request's may.
    """

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None
    allowed: list[str] = []
    extra: Extra = {}


class ResponseFormat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The form of the output; `schema` is a JSON schema."""

    type: Literal["text", "json", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: Any = None
    strict: bool | None = None


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens by the conventions: input includes cached ones, output reasoning. Unknown is None, never 0."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: Literal["reported", "estimated"] = "reported"


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A request in the conversation form; `parameters` are span attributes by name (`shared.parameters`).

    The fields below `user` are read only for a translation (`full`): the trace has the tools as they were sent.
    """

    operation: str
    model: str | None = None
    stream: bool = False
    system_instructions: list[Part] = []
    input_messages: list[Message] = []
    tool_definitions: msgspec.Raw | None = None
    parameters: dict[str, str | int | float | bool | list[str]] = {}
    conversation_id: str | None = None
    user: str | None = None

    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_budget: int | None = None  # tokens
    show_reasoning: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    include_usage: bool | None = None  # a chat stream's usage chunk
    metadata: dict[str, str] = {}
    extra: Extra = {}


class ChatResponse(Struct, frozen=True, kw_only=True):
    """A response, whole or as far as a stream got; `finish_reasons` has a word per choice that ended."""

    id: str | None = None
    model: str | None = None
    finish_reasons: list[str] = []
    output_messages: list[Message] = []
    usage: Usage | None = None
    error_type: str | None = None  # the provider's own word, from an error body or a mid-stream error event
    error_message: str | None = None
    error_status: int | None = None  # that the error stands for, if its type alone does not
    conversation_id: str | None = None
    created: int | None = None  # Unix seconds
    extra: Extra = {}
