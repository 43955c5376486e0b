"""Requests to Bedrock's Converse and ConverseStream read into the conversation form.

The path has the model, and whether the response streams.
"""

import re
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct

from gateway.dialects.bedrock.models import own_fields
from gateway.dialects.bedrock.read_parts import NAME, cache_mark, read_content
from gateway.dialects.conversation import ChatRequest, Message, ResponseFormat, Tool, ToolCallResponse, ToolChoice
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.extra import own
from gateway.dialects.shared.parameters import output_type, parameters
from gateway.dialects.shared.writer import Dropped
from gateway.dialects.wire.json import count, decode, definitions, fields, json_value, objects, text, without
from gateway.semconv import CHAT

_PATH = re.compile(r"/model/(.+)/(converse(?:-stream)?|invoke(?:-with-response-stream)?|count-tokens)/?$")


def model_in(path: str) -> tuple[str, str] | None:
    """Return the model and the operation that a path names; None for a path of another API.

    >>> model_in("/bedrock/model/us.amazon.nova-pro-v1%3A0/converse-stream")
    ('us.amazon.nova-pro-v1:0', 'converse-stream')
    """
    found = _PATH.search(path)
    return (unquote(found[1]), found[2]) if found else None


class _Request(Struct, gc=False, rename="camel"):
    system: Any = None
    messages: Any = None
    inference_config: Any = None
    tool_config: Raw = Raw()
    additional_model_request_fields: Any = None
    output_config: Any = None


class _ToolConfig(Struct, gc=False):
    tools: Raw = Raw()


_REQUEST = msgspec.json.Decoder(_Request)
_TOOL_CONFIG = msgspec.json.Decoder(_ToolConfig)
_OBJECT = msgspec.json.Decoder(dict[str, Any])


def read_request(body: bytes) -> ChatRequest:
    """Read a request's body."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=CHAT)
    config = decode(bytes(request.tool_config), _TOOL_CONFIG) if bytes(request.tool_config) else None
    return ChatRequest(
        operation=CHAT,
        system_instructions=read_content(request.system),
        input_messages=[m for message in objects(request.messages) for m in _messages(message)],
        tool_definitions=definitions(config.tools) if config else None,
        parameters=_parameters(
            fields(request.inference_config),
            fields(request.additional_model_request_fields),
            fields(request.output_config),
        ),
    )


def _parameters(config: dict[str, Any], more: dict[str, Any], output: dict[str, Any]) -> name.Parameters:
    nova = fields(more.get("reasoningConfig"))
    level = (
        output.get("effort")
        or _thinking(more).get("type")
        or more.get("reasoning_effort")
        or nova.get("maxReasoningEffort")
        or nova.get("type")
    )
    top_k = more.get("top_k", more.get("k", fields(more.get("inferenceConfig")).get("topK")))
    return parameters(
        {
            name.MAX_TOKENS: config.get("maxTokens"),
            name.TEMPERATURE: config.get("temperature"),
            name.TOP_P: config.get("topP"),
            name.TOP_K: top_k,
            name.STOP_SEQUENCES: config.get("stopSequences"),
            name.REASONING_LEVEL: level,
            name.OUTPUT_TYPE: output_type(fields(output.get("textFormat")).get("type")),
        }
    )


def _thinking(more: dict[str, Any]) -> dict[str, Any]:
    """Return a Claude's `thinking`, by its present or its first name."""
    return fields(more.get("thinking")) or fields(more.get("reasoning_config"))


def _messages(message: dict[str, Any]) -> list[Message]:
    """Read one turn; tool results, which stand in the user's, become turns of the role tool."""
    role = text(message.get("role")) or "user"
    extra = own(NAME, {key: value for key, value in message.items() if key not in {"role", "content"}})
    messages: list[Message] = []
    for part in read_content(message.get("content")):
        part_role = "tool" if isinstance(part, ToolCallResponse) else role
        if not messages or messages[-1].role != part_role:
            messages.append(Message(role=part_role, parts=[], extra=extra))
        messages[-1].parts.append(part)
    return messages or [Message(role=role, parts=[], extra=extra)]


# Fields that the form has a place for; all others stay this dialect's own.
_KNOWN = frozenset(
    "messages system inferenceConfig toolConfig additionalModelRequestFields outputConfig requestMetadata".split()
)
_INFERENCE = frozenset("maxTokens temperature topP stopSequences".split())


def read_conversation(body: bytes, path: str) -> ChatRequest:
    """Read a whole request, for a translation."""
    request = decode(body, _OBJECT) or {}
    model, operation = model_in(path) or (None, "")
    stream = operation.endswith("stream")
    read = read_request(body)
    more, output = fields(request.get("additionalModelRequestFields")), fields(request.get("outputConfig"))
    config, thinking = fields(request.get("toolConfig")), _thinking(more)
    chat_request = msgspec.structs.replace(
        read,
        model=model,
        stream=stream,
        parameters=read.parameters | parameters({name.STREAM: stream}),
        tools=_tools(config.get("tools")),
        tool_choice=_tool_choice(fields(config.get("toolChoice"))),
        response_format=_response_format(fields(output.get("textFormat"))),
        reasoning_budget=count(thinking.get("budget_tokens")),
        show_reasoning={"summarized": True, "omitted": False}.get(str(thinking.get("display"))),
        metadata={k: v for k, v in fields(request.get("requestMetadata")).items() if isinstance(v, str)},
    )
    if thinking:
        more = {key: value for key, value in more.items() if key != "reasoning_config"} | {"thinking": thinking}
    thinking_fields, effort = own_fields(chat_request, Dropped())
    known: dict[str, Any] = {"effort": effort} if effort else {}
    if chat_request.response_format is not None:
        known["textFormat"] = output.get("textFormat")
    inference = fields(request.get("inferenceConfig"))
    rest = {key: value for key, value in request.items() if key not in _KNOWN and value is not None}
    rest |= {
        "inferenceConfig": {key: value for key, value in inference.items() if key not in _INFERENCE},
        "toolConfig": {key: value for key, value in config.items() if key not in {"tools", "toolChoice"}},
        "additionalModelRequestFields": without(more, thinking_fields),
        "outputConfig": without(output, known),
    }
    return msgspec.structs.replace(
        chat_request, extra=own(NAME, {key: value for key, value in rest.items() if value != {}})
    )


def _tools(tools: Any) -> list[Tool]:
    """Read the tools; a cache point is a mark on the tool before it."""
    read: list[Tool] = []
    for tool in objects(tools):
        mark = cache_mark(tool)
        if mark and read and read[-1].cache is None:
            read[-1] = msgspec.structs.replace(read[-1], cache=mark)
        else:
            read.append(_tool(tool))
    return read


def _tool(tool: dict[str, Any]) -> Tool:
    spec = fields(tool.get("toolSpec"))
    if not spec:  # one of the provider's: a system tool
        kind, value = next(iter(tool.items()), ("", None))
        return Tool(name=text(fields(value).get("name")) or kind, kind="server", extra={NAME: tool})
    strict = spec.get("strict")
    known = {"name", "description", "inputSchema", "strict"}
    return Tool(
        name=text(spec.get("name")) or "",
        description=text(spec.get("description")),
        parameters=fields(spec.get("inputSchema")).get("json"),
        strict=strict if isinstance(strict, bool) else None,
        extra=own(NAME, {key: value for key, value in spec.items() if key not in known}),
    )


def _tool_choice(choice: dict[str, Any]) -> ToolChoice | None:
    if "auto" in choice:
        return ToolChoice(mode="auto")
    if "any" in choice:
        return ToolChoice(mode="required")
    if called := text(fields(choice.get("tool")).get("name")):
        return ToolChoice(mode="tool", name=called)
    return ToolChoice(mode="auto", extra={NAME: choice}) if choice else None


def _response_format(form: dict[str, Any]) -> ResponseFormat | None:
    if form.get("type") != "json_schema":
        return None
    schema = fields(fields(form.get("structure")).get("jsonSchema"))
    return ResponseFormat(
        type="json_schema",
        name=text(schema.get("name")),
        description=text(schema.get("description")),
        schema=json_value(schema.get("schema")),
    )
