"""Requests to Anthropic's messages read into the conversation form."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.dialects.anthropic.read_parts import NAME, read_blocks
from gateway.dialects.conversation import (
    ChatRequest,
    Extra,
    Message,
    ResponseFormat,
    Tool,
    ToolCallResponse,
    ToolChoice,
)
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.messages import cache_mark
from gateway.dialects.shared.parameters import output_type, parameters
from gateway.dialects.wire.json import count, decode, definitions, fields, objects, text
from gateway.semconv import CHAT


class _Request(Struct, gc=False):
    model: Any = None
    stream: Any = None
    system: Any = None
    messages: Any = None
    tools: Raw = Raw()
    max_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    top_k: Any = None
    stop_sequences: Any = None
    thinking: Any = None
    output_config: Any = None
    output_format: Any = None
    metadata: Any = None


_REQUEST = msgspec.json.Decoder(_Request)


def read_request(body: bytes) -> ChatRequest:
    """Read the fields of a request that the trace has."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=CHAT)
    return ChatRequest(
        operation=CHAT,
        model=text(request.model),
        stream=request.stream is True,
        system_instructions=read_blocks(request.system),
        input_messages=[m for message in objects(request.messages) for m in _messages(message)],
        tool_definitions=definitions(request.tools),
        parameters=_parameters(request),
        user=text(fields(request.metadata).get("user_id")),
    )


def _parameters(request: _Request) -> name.Parameters:
    config = fields(request.output_config)
    form = fields(config.get("format")) or fields(request.output_format)
    return parameters(
        {
            name.MAX_TOKENS: request.max_tokens,
            name.TEMPERATURE: request.temperature,
            name.TOP_P: request.top_p,
            name.TOP_K: request.top_k,
            name.STOP_SEQUENCES: request.stop_sequences,
            name.STREAM: request.stream,
            # an effort is the level; without one, the switch of thinking is
            name.REASONING_LEVEL: config.get("effort") or fields(request.thinking).get("type"),
            name.OUTPUT_TYPE: output_type(form.get("type")),
        }
    )


def _messages(message: dict[str, Any]) -> list[Message]:
    """Read one turn; tool results, which stand in the user's, become turns of the role tool."""
    role = text(message.get("role")) or "user"
    messages: list[Message] = []
    for part in read_blocks(message.get("content")):
        part_role = "tool" if isinstance(part, ToolCallResponse) else role
        if not messages or messages[-1].role != part_role:
            messages.append(Message(role=part_role, parts=[]))
        messages[-1].parts.append(part)
    return messages or [Message(role=role, parts=[])]


_OBJECT = msgspec.json.Decoder(dict[str, Any])
_KNOWN = frozenset(
    "model messages system stream tools tool_choice max_tokens temperature top_p top_k stop_sequences thinking "
    "output_config output_format metadata".split()
)


def read_conversation(body: bytes, path: str) -> ChatRequest:  # noqa: ARG001  the path has no part in it
    """Read a whole request, for a translation."""
    chat_request, request = read_request(body), decode(body, _OBJECT) or {}
    config, thinking = fields(request.get("output_config")), fields(request.get("thinking"))
    choice = fields(request.get("tool_choice"))
    off = thinking.get("type") == "disabled"
    return msgspec.structs.replace(
        chat_request,
        # an effort without thinking means nothing elsewhere
        parameters={**chat_request.parameters, name.REASONING_LEVEL: "disabled"} if off else chat_request.parameters,
        tools=[_tool(tool) for tool in objects(request.get("tools"))],
        tool_choice=_tool_choice(choice),
        parallel_tool_calls=not one if isinstance(one := choice.get("disable_parallel_tool_use"), bool) else None,
        response_format=_response_format(fields(config.get("format")) or fields(request.get("output_format"))),
        reasoning_budget=count(thinking.get("budget_tokens")),
        show_reasoning={"summarized": True, "omitted": False}.get(str(thinking.get("display"))),
        extra=_own(request, config, thinking),
    )


def _own(request: dict[str, Any], config: dict[str, Any], thinking: dict[str, Any]) -> Extra:
    own = {key: value for key, value in request.items() if key not in _KNOWN and value is not None}
    known = {"format"} if thinking.get("type") == "disabled" else {"effort", "format"}
    if rest := {key: value for key, value in config.items() if key not in known and value is not None}:
        own["output_config"] = rest
    if rest := {key: value for key, value in thinking.items() if key not in {"type", "budget_tokens", "display"}}:
        own["thinking"] = rest
    if rest := {key: value for key, value in fields(request.get("metadata")).items() if key != "user_id"}:
        own["metadata"] = rest
    return {NAME: own} if own else {}


def _tool(tool: dict[str, Any]) -> Tool:
    called = text(tool.get("name")) or text(tool.get("type")) or ""
    if tool.get("type") not in (None, "custom"):
        return Tool(name=called, kind="server", extra={NAME: tool})
    known = {"type", "name", "description", "input_schema", "strict", "cache_control"}
    own = {key: value for key, value in tool.items() if key not in known}
    strict = tool.get("strict")
    return Tool(
        name=called,
        description=text(tool.get("description")),
        parameters=tool.get("input_schema"),
        strict=strict if isinstance(strict, bool) else None,
        cache=cache_mark(tool),
        extra={NAME: own} if own else {},
    )


def _tool_choice(choice: dict[str, Any]) -> ToolChoice | None:
    match choice.get("type"):
        case "auto":
            return ToolChoice(mode="auto")
        case "any":
            return ToolChoice(mode="required")
        case "none":
            return ToolChoice(mode="none")
        case "tool":
            return ToolChoice(mode="tool", name=text(choice.get("name")))
    return None


def _response_format(form: dict[str, Any]) -> ResponseFormat | None:
    return ResponseFormat(type="json_schema", schema=form.get("schema")) if form.get("type") == "json_schema" else None
