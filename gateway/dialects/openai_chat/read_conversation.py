"""All that a chat completions request says, for a translation: what the trace reads, and the rest of it."""

from typing import Any

import msgspec

from gateway.dialects.conversation import ChatRequest, ResponseFormat, Tool, ToolChoice
from gateway.dialects.openai_chat.read_request import NAME, read_chat, read_completion
from gateway.dialects.shared.messages import cache_mark
from gateway.dialects.wire.json import count, decode, fields, flag, objects, text

_OBJECT = msgspec.json.Decoder(dict[str, Any])

# What the form has a place for; all else stays this dialect's own.
_KNOWN = frozenset(
    (
        "model stream stream_options messages prompt tools functions tool_choice function_call response_format n "
        "parallel_tool_calls logprobs top_logprobs metadata max_tokens max_completion_tokens temperature top_p top_k "
        "stop frequency_penalty presence_penalty seed reasoning_effort user"
    ).split()
)


def read_chat_conversation(body: bytes, path: str) -> ChatRequest:  # noqa: ARG001  the path says nothing more
    """Read a chat completions request."""
    return _full(read_chat(body), decode(body, _OBJECT) or {})


def read_completion_conversation(body: bytes, path: str) -> ChatRequest:  # noqa: ARG001
    """Read a request to the older completions API."""
    request = decode(body, _OBJECT) or {}
    logprobs = count(request.get("logprobs"))  # there a number
    return msgspec.structs.replace(
        _full(read_completion(body), request), logprobs=logprobs is not None or None, top_logprobs=logprobs
    )


def _full(asked: ChatRequest, request: dict[str, Any]) -> ChatRequest:
    tools = [read_tool(tool) for tool in objects(request.get("tools"))]
    tools += [_function(function, {}) for function in objects(request.get("functions"))]
    own = {key: value for key, value in request.items() if key not in _KNOWN and value is not None}
    if fields(own.get("reasoning")).keys() == {"effort"}:  # OpenRouter's way to say the level
        del own["reasoning"]
    return msgspec.structs.replace(
        asked,
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
    return ToolChoice(mode="auto", extra={NAME: wanted}) if wanted else None


def _response_format(form: dict[str, Any]) -> ResponseFormat | None:
    match form.get("type"):
        case "text":
            return ResponseFormat(type="text")
        case "json_object":
            return ResponseFormat(type="json")
        case "json_schema":
            said = fields(form.get("json_schema"))
            return ResponseFormat(
                type="json_schema",
                name=text(said.get("name")),
                description=text(said.get("description")),
                schema=said.get("schema"),
                strict=flag(said.get("strict")),
            )
    return None
