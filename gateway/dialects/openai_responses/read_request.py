"""Requests to OpenAI's Responses read into the conversation form."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.dialects.conversation import ChatRequest, Message, Other, ResponseFormat, Text, Tool, ToolChoice
from gateway.dialects.openai_responses.read_parts import ADDITIONAL_TOOLS, NAME, read_input
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.parameters import output_type, parameters
from gateway.dialects.shared.tool_names import allowed_tools
from gateway.dialects.wire.json import count, decode, definitions, fields, flag, objects, text
from gateway.semconv import CHAT


class _Request(Struct, gc=False):
    model: Any = None
    stream: Any = None
    instructions: Any = None
    input: Any = None
    tools: Raw = Raw()
    max_output_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    reasoning: Any = None
    text: Any = None
    conversation: Any = None
    previous_response_id: Any = None
    user: Any = None
    safety_identifier: Any = None


_REQUEST = msgspec.json.Decoder(_Request)


def read_request(body: bytes) -> ChatRequest:
    """Read the fields of a request that the trace has."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=CHAT)
    instructions = text(request.instructions)
    return ChatRequest(
        operation=CHAT,
        model=text(request.model),
        stream=request.stream is True,
        system_instructions=[Text(content=instructions)] if instructions else [],
        input_messages=read_input(request.input),
        tool_definitions=definitions(request.tools, _additional(request.input)),
        parameters=parameters(
            {
                name.MAX_TOKENS: request.max_output_tokens,
                name.TEMPERATURE: request.temperature,
                name.TOP_P: request.top_p,
                name.STREAM: request.stream,
                name.REASONING_LEVEL: fields(request.reasoning).get("effort"),
                name.PREVIOUS_RESPONSE_ID: request.previous_response_id,
                name.OUTPUT_TYPE: output_type(fields(fields(request.text).get("format")).get("type")),
            }
        ),
        conversation_id=conversation_id(request.conversation),
        user=text(request.user) or text(request.safety_identifier),
    )


def _tools_within(value: Any) -> Iterator[Any]:
    """Yield the lists of tools that stand in the input, as Codex sends those of newer models."""
    return (item.get("tools") for item in objects(value) if item.get("type") == ADDITIONAL_TOOLS)


def _additional(value: Any) -> Raw:
    tools = [tool for each in _tools_within(value) for tool in objects(each)]
    return Raw(msgspec.json.encode(tools)) if tools else Raw()


def _without_tools(messages: list[Message]) -> list[Message]:
    """Return the messages without the tools in them, which have become the request's."""
    left = [
        msgspec.structs.replace(
            each, parts=[p for p in each.parts if not isinstance(p, Other) or p.kind != ADDITIONAL_TOOLS]
        )
        for each in messages
    ]
    return [after for before, after in zip(messages, left, strict=True) if after.parts or not before.parts]


def conversation_id(conversation: Any) -> str | None:
    """Return the id of a conversation that the provider keeps."""
    return text(conversation) or text(fields(conversation).get("id"))


_OBJECT = msgspec.json.Decoder(dict[str, Any])
_KNOWN = frozenset(
    "model input instructions stream tools tool_choice parallel_tool_calls max_output_tokens temperature top_p "
    "reasoning text conversation previous_response_id user metadata top_logprobs".split()
)


def read_conversation(body: bytes, path: str) -> ChatRequest:  # noqa: ARG001  the path has no part in it
    """Read a whole request, for a translation."""
    chat_request, request = read_request(body), decode(body, _OBJECT) or {}
    top_logprobs = count(request.get("top_logprobs"))
    included = request.get("include")
    logprobs = top_logprobs is not None or (isinstance(included, list) and LOGPROBS in included)
    summary = fields(request.get("reasoning")).get("summary")
    return msgspec.structs.replace(
        chat_request,
        input_messages=_without_tools(chat_request.input_messages),
        tools=[
            each for tools in (request.get("tools"), *_tools_within(request.get("input"))) for each in _tools(tools)
        ],
        tool_choice=_tool_choice(request.get("tool_choice")),
        parallel_tool_calls=flag(request.get("parallel_tool_calls")),
        response_format=_response_format(fields(fields(request.get("text")).get("format"))),
        show_reasoning=True if summary else None,
        logprobs=True if logprobs else None,
        top_logprobs=top_logprobs,
        metadata={k: v for k, v in fields(request.get("metadata")).items() if isinstance(v, str)},
        extra=_own(request),
    )


LOGPROBS = "message.output_text.logprobs"
"""The member of `include` that asks for log probabilities."""


def _own(request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    own = {key: value for key, value in request.items() if key not in _KNOWN and value is not None}
    if request.get("safety_identifier") and not request.get("user"):
        del own["safety_identifier"]  # the form's user
    if isinstance(own.get("include"), list) and LOGPROBS in own["include"]:
        own["include"] = [each for each in own["include"] if each != LOGPROBS]
    if own.get("include") == []:
        del own["include"]
    if own.get("store") is False:  # what a translation asks for in any case
        del own["store"]
    for field, known in (("reasoning", {"effort", "summary"}), ("text", {"format"})):
        settings = fields(request.get(field))
        if rest := {key: value for key, value in settings.items() if key not in known and value is not None}:
            own[field] = rest
    if (summary := fields(request.get("reasoning")).get("summary")) not in (None, "auto"):
        own["reasoning"] = {**own.get("reasoning", {}), "summary": summary}
    return {NAME: own} if own else {}


def _tools(tools: Any) -> list[Tool]:
    """Read tools, those in namespaces too, which make no difference but for their names."""
    read = []
    for tool in objects(tools):
        if tool.get("type") == "namespace" and (namespace := text(tool.get("name"))):
            inner = [msgspec.structs.replace(each, namespace=namespace) for each in _tools(tool.get("tools"))]
            group = {key: value for key, value in tool.items() if key not in {"type", "name", "tools"}}
            if inner and group:  # kept on the first
                own = {NAME: {**inner[0].extra.get(NAME, {}), "namespace": group}}
                inner[0] = msgspec.structs.replace(inner[0], extra=own)
            read += inner
        else:
            read.append(_tool(tool))
    return read


def _tool(tool: dict[str, Any]) -> Tool:
    kind, called = text(tool.get("type")) or "function", text(tool.get("name"))
    if kind == "function" and called:
        known = {"type", "name", "description", "parameters", "strict"}
        own = {key: value for key, value in tool.items() if key not in known and value is not None}
        return Tool(
            name=called,
            description=text(tool.get("description")),
            parameters=tool.get("parameters"),
            strict=flag(tool.get("strict")),
            extra={NAME: own} if own else {},
        )
    if kind == "custom" and called:
        own = {NAME: {"format": tool["format"]}} if tool.get("format") else {}
        return Tool(name=called, kind="custom", description=text(tool.get("description")), extra=own)
    return Tool(name=called or kind, kind="server", extra={NAME: tool})


def _tool_choice(choice: Any) -> ToolChoice | None:
    match choice:
        case "auto" | "none" | "required":
            return ToolChoice(mode=choice)
        case {"type": "function" | "custom", "name": str(called)}:
            return ToolChoice(mode="tool", name=called)
        case {"type": "allowed_tools"}:
            return allowed_tools(choice, NAME, choice)
        case {"type": _}:
            return ToolChoice(mode="auto", extra={NAME: choice})
    return None


def _response_format(form: dict[str, Any]) -> ResponseFormat | None:
    match form.get("type"):
        case "text":
            return ResponseFormat(type="text")
        case "json_object":
            return ResponseFormat(type="json")
        case "json_schema":
            return ResponseFormat(
                type="json_schema",
                name=text(form.get("name")),
                description=text(form.get("description")),
                schema=form.get("schema"),
                strict=flag(form.get("strict")),
            )
    return None
