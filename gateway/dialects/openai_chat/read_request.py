"""Requests to OpenAI's chat completions, completions and embeddings read into the conversation form."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.dialects.conversation import (
    ChatRequest,
    Message,
    Other,
    Part,
    ResponseFormat,
    Text,
    Tool,
    ToolCallResponse,
    ToolChoice,
    tool_answer,
)
from gateway.dialects.openai_chat.read_parts import NAME, content_parts, message_parts
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.messages import cache_mark
from gateway.dialects.shared.parameters import output_type, parameters
from gateway.dialects.shared.tool_names import allowed_tools
from gateway.dialects.wire.json import count, decode, definitions, fields, flag, objects, text
from gateway.semconv import CHAT, EMBEDDINGS, TEXT_COMPLETION


class _Request(Struct, gc=False):
    model: Any = None
    stream: Any = None
    messages: Any = None
    prompt: Any = None
    input: Any = None
    tools: Raw = Raw()
    functions: Raw = Raw()
    n: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    top_k: Any = None
    stop: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    seed: Any = None
    reasoning_effort: Any = None
    reasoning: Any = None
    response_format: Any = None
    modalities: Any = None
    dimensions: Any = None
    encoding_format: Any = None
    user: Any = None
    safety_identifier: Any = None


_REQUEST = msgspec.json.Decoder(_Request)


def read_chat(body: bytes) -> ChatRequest:
    """Read a chat completions request."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=CHAT)
    return _chat_request(request, CHAT, [_message(m) for m in objects(request.messages)])


def read_completion(body: bytes) -> ChatRequest:
    """Read a request to the older completions API."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=TEXT_COMPLETION)
    return _chat_request(request, TEXT_COMPLETION, _inputs(request.prompt))


def read_embeddings(body: bytes) -> ChatRequest:
    """Read an embeddings request."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=EMBEDDINGS)
    return _chat_request(request, EMBEDDINGS, _inputs(request.input))


def _chat_request(request: _Request, operation: str, messages: list[Message]) -> ChatRequest:
    return ChatRequest(
        operation=operation,
        model=text(request.model),
        stream=request.stream is True,
        input_messages=messages,
        tool_definitions=definitions(request.tools, request.functions),
        parameters=_parameters(request),
        user=text(request.user) or text(request.safety_identifier),
    )


def _parameters(request: _Request) -> name.Parameters:
    speech = isinstance(request.modalities, list) and "audio" in request.modalities
    return parameters(
        {
            name.MAX_TOKENS: request.max_tokens
            if request.max_completion_tokens is None
            else request.max_completion_tokens,
            name.TEMPERATURE: request.temperature,
            name.TOP_P: request.top_p,
            name.TOP_K: request.top_k,
            name.STOP_SEQUENCES: request.stop,
            name.FREQUENCY_PENALTY: request.frequency_penalty,
            name.PRESENCE_PENALTY: request.presence_penalty,
            name.SEED: request.seed,
            name.CHOICE_COUNT: request.n,
            name.STREAM: request.stream,
            name.REASONING_LEVEL: request.reasoning_effort or fields(request.reasoning).get("effort"),
            name.OUTPUT_TYPE: "speech" if speech else output_type(fields(request.response_format).get("type")),
            name.ENCODING_FORMATS: request.encoding_format,
            name.DIMENSION_COUNT: request.dimensions,
        }
    )


def _inputs(value: Any) -> list[Message]:
    """Read a prompt or the input of an embedding: a text, a list of them, or the same in tokens."""
    whole = isinstance(value, str) or (isinstance(value, list) and bool(value) and isinstance(value[0], int))
    inputs = [value] if whole else value
    if not isinstance(inputs, list):
        return []
    parts: list[Part] = [Text(content=i) if isinstance(i, str) else Other(kind="tokens", value=i) for i in inputs]
    return [Message(role="user", parts=parts)]


def _message(message: dict[str, Any]) -> Message:
    role = text(message.get("role")) or "user"
    if role in {"tool", "function"}:
        parts: list[Part] = [_tool_response(message)]
        return Message(role="tool", parts=parts)
    return Message(role=role, parts=message_parts(message), name=text(message.get("name")))


def _tool_response(message: dict[str, Any]) -> ToolCallResponse:
    """Read a tool's result; a mark to cache it may be on its parts, or on its message."""
    parts = content_parts(message.get("content"))
    marks = [mark for part in parts if (mark := getattr(part, "cache", None))]
    return ToolCallResponse(
        id=text(message.get("tool_call_id")),
        name=text(message.get("name")),
        response=tool_answer([Text(content=p.content) if isinstance(p, Text) else p for p in parts]),
        cache=cache_mark(message) or (marks[-1] if marks else None),
    )


_OBJECT = msgspec.json.Decoder(dict[str, Any])


# Fields that the form has a place for; all others stay this dialect's own.
_KNOWN = frozenset(
    (
        "model stream stream_options messages prompt tools functions tool_choice function_call response_format n "
        "parallel_tool_calls logprobs top_logprobs metadata max_tokens max_completion_tokens temperature top_p top_k "
        "stop frequency_penalty presence_penalty seed reasoning_effort user"
    ).split()
)


def read_chat_conversation(body: bytes, path: str) -> ChatRequest:  # noqa: ARG001  the path has no part in it
    """Read a chat completions request."""
    return _full(read_chat(body), decode(body, _OBJECT) or {})


def read_completion_conversation(body: bytes, path: str) -> ChatRequest:  # noqa: ARG001
    """Read a request to the older completions API."""
    request = decode(body, _OBJECT) or {}
    logprobs = count(request.get("logprobs"))  # there a number
    return msgspec.structs.replace(
        _full(read_completion(body), request), logprobs=logprobs is not None or None, top_logprobs=logprobs
    )


def _full(chat_request: ChatRequest, request: dict[str, Any]) -> ChatRequest:
    tools = [read_tool(tool) for tool in objects(request.get("tools"))]
    tools += [_function(function, {}) for function in objects(request.get("functions"))]
    own = {key: value for key, value in request.items() if key not in _KNOWN and value is not None}
    if fields(own.get("reasoning")).keys() == {"effort"}:  # OpenRouter's way to say the level
        del own["reasoning"]
    return msgspec.structs.replace(
        chat_request,
        tools=tools,
        tool_choice=read_tool_choice(request.get("tool_choice", request.get("function_call"))),
        parallel_tool_calls=flag(request.get("parallel_tool_calls")),
        response_format=_response_format(fields(request.get("response_format"))),
        logprobs=flag(request.get("logprobs")),
        top_logprobs=count(request.get("top_logprobs")),
        include_usage=flag(fields(request.get("stream_options")).get("include_usage")),
        metadata={k: v for k, v in fields(request.get("metadata")).items() if isinstance(v, str)},
        extra={NAME: own} if own else {},
    )


def read_tool(tool: dict[str, Any]) -> Tool:
    """Read a tool: a function, a custom one, or one that the provider runs."""
    kind = text(tool.get("type")) or "function"
    if kind == "function":
        return _function(fields(tool.get("function")) or tool, tool)  # some clients send them flat, as to Responses
    custom = fields(tool.get("custom")) or tool
    if kind == "custom" and custom:
        own = {NAME: {"format": custom["format"]}} if custom.get("format") else {}
        return Tool(
            name=text(custom.get("name")) or "",
            kind="custom",
            description=text(custom.get("description")),
            extra=own,
        )
    return Tool(name=text(tool.get("name")) or kind, kind="server", extra={NAME: tool})


def _function(function: dict[str, Any], tool: dict[str, Any]) -> Tool:
    strict = function.get("strict")
    return Tool(
        name=text(function.get("name")) or "",
        description=text(function.get("description")),
        parameters=function.get("parameters"),
        strict=strict if isinstance(strict, bool) else None,
        cache=cache_mark(tool),
    )


def read_tool_choice(choice: Any) -> ToolChoice | None:
    """Read whether tools are called, and which."""
    if choice in {"auto", "none", "required"} if isinstance(choice, str) else False:
        return ToolChoice(mode=choice)
    wanted = fields(choice)
    named = text((fields(wanted.get("function")) or fields(wanted.get("custom")) or wanted).get("name"))
    if named:
        return ToolChoice(mode="tool", name=named)
    if wanted.get("type") == "allowed_tools":
        return allowed_tools(fields(wanted.get("allowed_tools")), NAME, wanted)
    return ToolChoice(mode="auto", extra={NAME: wanted}) if wanted else None


def _response_format(form: dict[str, Any]) -> ResponseFormat | None:
    match form.get("type"):
        case "text":
            return ResponseFormat(type="text")
        case "json_object":
            return ResponseFormat(type="json")
        case "json_schema":
            schema = fields(form.get("json_schema"))
            return ResponseFormat(
                type="json_schema",
                name=text(schema.get("name")),
                description=text(schema.get("description")),
                schema=schema.get("schema"),
                strict=flag(schema.get("strict")),
            )
    return None
