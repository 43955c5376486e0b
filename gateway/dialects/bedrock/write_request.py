"""A conversation as Converse's request."""

import re
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.dialects.bedrock.messages import Placed, tools_used, turns
from gateway.dialects.bedrock.models import own_fields
from gateway.dialects.bedrock.read_parts import NAME
from gateway.dialects.bedrock.write_parts import Blocks
from gateway.dialects.conversation import ChatRequest, ResponseFormat, Tool, ToolCallResponse, ToolChoice
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.custom_tools import SCHEMA
from gateway.dialects.shared.writer import Dropped, Written
from gateway.dialects.wire.json import merged

Json = dict[str, Any]


# Written to fields of their own, to the path, or not at all.
_ELSEWHERE = frozenset({name.STREAM, name.REASONING_LEVEL, name.OUTPUT_TYPE, name.TOP_K})


_INFERENCE = {
    name.MAX_TOKENS: "maxTokens",
    name.TEMPERATURE: "temperature",
    name.TOP_P: "topP",
    name.STOP_SEQUENCES: "stopSequences",
}


_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")


_METADATA_MAX = 16


def write_request(request: ChatRequest) -> Written:
    """Write a Converse request."""
    dropped = Dropped()
    blocks = Blocks(request.model, dropped)
    own = request.extra.get(NAME, {})
    system, merged_turns = turns(request, dropped)
    written = [{"role": turn.role, "content": blocks.content(turn.parts), **turn.extra} for turn in merged_turns]
    messages = [turn for turn in written if turn["content"]]
    body: Json = {"messages": messages}
    if instructions := _system(blocks, system):
        body["system"] = instructions
    fields, effort = own_fields(request, dropped)
    output: Json = {"effort": effort} if effort else {}
    if request.response_format is not None:
        output |= _response_format(request.response_format, dropped)
    members = {
        "inferenceConfig": _inference(request.parameters, dropped),
        "toolConfig": _tool_config(request, blocks, dropped),
        "additionalModelRequestFields": fields,
        "outputConfig": output,
        "requestMetadata": _metadata(request.metadata, dropped),
    }
    body |= merged({key: value for key, value in members.items() if value}, own)
    lost = {
        "parallel_tool_calls": request.parallel_tool_calls is False,
        "logprobs": request.logprobs,
        "top_logprobs": request.top_logprobs,
        "user": request.user,
        "conversation": request.conversation_id,
    }
    for word, value in lost.items():
        if value:
            dropped.add(word)
    dropped.foreign({key: _unsaid(key, value, fields) for key, value in request.extra.items()}, NAME)
    operation = "converse-stream" if request.stream else "converse"
    path = f"/model/{quote(request.model or '', safe='')}/{operation}"
    return Written(body=msgspec.json.encode(body), path=path, dropped=dropped.names, media=dropped.media)


def _unsaid(dialect: str, extra: Json, fields: Json) -> Json:
    """Return another dialect's own fields that were not passed on: a Claude's thinking is."""
    passed = dialect == "anthropic-messages" and fields.get("thinking") is not None
    return {key: value for key, value in extra.items() if not (passed and key == "thinking")}


def _system(blocks: Blocks, parts: list[Placed]) -> list[Json]:
    """Write the system's parts, which may be text alone."""
    written = []
    for block in blocks.content(parts):
        kind = next(iter(block))
        if kind in {"text", "guardContent", "cachePoint"}:
            written.append(block)
        else:
            blocks.dropped.add(f"system: {kind}")
    return written


def _inference(parameters: name.Parameters, dropped: Dropped) -> Json:
    written: Json = {}
    for attribute, value in parameters.items():
        word = attribute.removeprefix("gen_ai.request.")
        if attribute == name.TEMPERATURE and isinstance(value, float) and value > 1.0:
            dropped.add(f"{word}: over 1")
            written["temperature"] = 1.0
        elif attribute == name.STOP_SEQUENCES and isinstance(value, list):
            if sequences := [each for each in value if each]:
                written["stopSequences"] = sequences
        elif attribute in _INFERENCE:
            written[_INFERENCE[attribute]] = value
        elif attribute == name.OUTPUT_TYPE and value not in {"text", "json"}:
            dropped.add(f"output_type: {value}")
        elif attribute not in _ELSEWHERE:
            dropped.add(word)
    return written


def _metadata(metadata: dict[str, str], dropped: Dropped) -> Json:
    written: Json = {}
    for key, value in metadata.items():
        if key and len(written) < _METADATA_MAX and _METADATA.fullmatch(key) and _METADATA.fullmatch(value):
            written[key] = value
        else:
            dropped.add(f"metadata.{key}")
    return written


def _response_format(form: ResponseFormat, dropped: Dropped) -> Json:
    if form.type != "json_schema":
        if form.type == "json":
            dropped.add("response_format: json")
        return {}
    if form.strict is False:  # Converse holds the model to a schema
        dropped.add("response_format.strict")
    schema = form.schema if isinstance(form.schema, str) else msgspec.json.encode(form.schema or {}).decode()
    members = {"schema": schema, "name": form.name, "description": form.description}
    wanted = {key: value for key, value in members.items() if value is not None}
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": wanted}}}


def _tool_config(request: ChatRequest, blocks: Blocks, dropped: Dropped) -> Json:
    """Write the tools and the choice of them. Converse requires the definitions of tools that were used."""
    used = any(isinstance(p, ToolCallResponse) for m in request.input_messages for p in m.parts)
    used = used or bool(tools_used(request.input_messages))
    choice = request.tool_choice
    if choice is not None and choice.mode == "none" and not used:
        return {}
    tools: list[Json] = []
    for tool in request.tools:
        if (written := _tool(tool, dropped)) is not None:
            tools.append(written)
            if tool.cache:
                tools += blocks.cache_point(tool.cache, f"tools.{tool.name}")
    if not tools and used:
        known = tools_used(request.input_messages) or ["tool"]
        tools = [_written(called, "Was there earlier in the conversation.", None, {}) for called in known]
    if not tools:
        return {}
    return {"tools": tools, **_tool_choice(choice, dropped)}


def _tool(tool: Tool, dropped: Dropped) -> Json | None:
    own = tool.extra.get(NAME, {})
    if tool.kind == "server":
        if not own:
            dropped.add(f"tools.{tool.name}")
        return own or None
    dropped.foreign(tool.extra, NAME, f"tools.{tool.name}")
    if tool.kind == "custom":  # the nearest is a function of one text
        return _written(tool.name, tool.description, SCHEMA, own)
    strict = {} if tool.strict is None else {"strict": tool.strict}
    return _written(tool.name, tool.description, tool.parameters, strict | own)


def _written(called: str, description: str | None, schema: Any, more: Json) -> Json:
    members = {"description": description} if description else {}
    form = {"type": "object", "properties": {}} if schema is None else schema
    return {"toolSpec": {"name": called, **members, "inputSchema": {"json": form}, **more}}


def _tool_choice(choice: ToolChoice | None, dropped: Dropped) -> Json:
    if choice is None:
        return {}
    dropped.foreign(choice.extra, NAME, "tool_choice")
    if own := choice.extra.get(NAME):
        return {"toolChoice": own}
    match choice.mode:
        case "auto":
            return {"toolChoice": {"auto": {}}}
        case "required":
            return {"toolChoice": {"any": {}}}
        case "tool" if choice.name:
            return {"toolChoice": {"tool": {"name": choice.name}}}
    dropped.add(f"tool_choice: {choice.mode}")
    return {}
