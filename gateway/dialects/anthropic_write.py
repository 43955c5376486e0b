"""A conversation as a request to Anthropic's messages."""

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.dialects import parameters as name
from gateway.dialects.anthropic_blocks import NAME
from gateway.dialects.claude import thinks_adaptively
from gateway.dialects.conversation import (
    Asked,
    Blob,
    Citation,
    Compaction,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    Uri,
)
from gateway.dialects.dropping import Dropped
from gateway.dialects.effort import budget, level
from gateway.dialects.turns import named, plain_text, word_of
from gateway.dialects.writing import Written

Json = dict[str, Any]

MAX_TOKENS = 4096
"""What is sent where the client named no limit: the dialect wants one (the seed's choice)."""

_LEAST_BUDGET = 1024
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_PARAMETERS = {
    name.TEMPERATURE: "temperature",
    name.TOP_P: "top_p",
    name.TOP_K: "top_k",
    name.STOP_SEQUENCES: "stop_sequences",
}
_ELSEWHERE = {name.MAX_TOKENS, name.STREAM, name.REASONING_LEVEL, name.OUTPUT_TYPE}


def write_request(asked: Asked) -> Written:
    """Write what was asked."""
    dropped = Dropped()
    limit = asked.parameters.get(name.MAX_TOKENS)
    body: Json = {"model": asked.model, "max_tokens": limit if isinstance(limit, int) else MAX_TOKENS}
    system, messages = _turns(asked)
    if system:
        body["system"] = _system(system, dropped)
    body["messages"] = _messages(messages, dropped)
    for attribute, value in asked.parameters.items():
        if attribute in _PARAMETERS:
            body[_PARAMETERS[attribute]] = value
        elif attribute not in _ELSEWHERE:
            dropped.add(attribute.removeprefix("gen_ai.request."))
    if asked.stream:
        body["stream"] = True
    if tools := [written for tool in asked.tools if (written := _tool(tool, dropped)) is not None]:
        body["tools"] = tools
    _add_tool_choice(body, asked, dropped)
    _add_thinking(body, asked, limited=limit is not None)
    _add_format(body, asked, dropped)
    if asked.user:
        body["metadata"] = {"user_id": asked.user}
    for said, word in (
        (asked.logprobs, "logprobs"),
        (asked.top_logprobs, "top_logprobs"),
        (asked.metadata, "metadata"),
        (asked.conversation_id, "conversation"),
    ):
        if said:
            dropped.add(word)
    dropped.foreign(asked.extra, NAME)
    for key, value in asked.extra.get(NAME, {}).items():
        body[key] = body[key] | value if isinstance(body.get(key), dict) and key != "thinking" else value
    return Written(body=msgspec.json.encode(body), path="/messages", dropped=dropped.names)


def _turns(asked: Asked) -> tuple[list[Part], list[Message]]:
    """Return the system's parts, wherever they stand, and the turns that the dialect has: tool results are a user's."""
    system = list(asked.system_instructions)
    turns: list[Message] = []
    for message in asked.input_messages:
        if message.role in {"system", "developer"}:
            system += message.parts
            continue
        last = turns[-1] if turns else None
        follows = last is not None and last.role == "tool" and message.role in {"tool", "user"}
        if last is not None and (follows or last.role == message.role == "assistant"):
            # A turn after tool results goes on where they stand; one after another of the assistant's is the same one.
            turns[-1] = Message(role=message.role, parts=[*last.parts, *named(message)], extra=last.extra)
        else:
            turns.append(msgspec.structs.replace(message, parts=named(message)))
    return system, turns


def _system(parts: list[Part], dropped: Dropped) -> str | list[Json]:
    return plain_text(parts) or _blocks(parts, "system", dropped)


def _messages(turns: Iterable[Message], dropped: Dropped) -> list[Json]:
    written = []
    for number, message in enumerate(turns):
        path = f"messages[{number}]"
        dropped.foreign(message.extra, NAME, path)
        role = "assistant" if message.role == "assistant" else "user"
        if content := plain_text(message.parts) or _blocks(message.parts, path, dropped):
            written.append({"role": role, "content": content})
    return written


def _blocks(parts: Iterable[Part], path: str, dropped: Dropped) -> list[Json]:
    blocks = []
    for index, part in enumerate(parts):
        at = f"{path}.parts[{index}]"
        dropped.foreign(getattr(part, "extra", {}), NAME, at)
        if isinstance(part, Text) and not part.content and not part.extra:
            continue  # the API refuses an empty one
        block = write_block(part, index, at, dropped)
        if block is None:
            dropped.add(f"{at}: {word_of(part)}")
            continue
        if cache := getattr(part, "cache", None):
            block["cache_control"] = _cache_control(cache)
        blocks.append(block)
    return blocks


def write_block(part: Part, index: int, path: str, dropped: Dropped) -> Json | None:
    """Write a part as a block; None where the dialect has none for it."""
    own: Json = getattr(part, "extra", {}).get(NAME, {})
    match part:
        case Text():
            if document := own.get("block"):
                return dict(document)
            block: Json = {"type": "text", "text": part.content}
            if citations := write_citations(part.citations):
                block["citations"] = citations
            return block
        case Reasoning():
            if "data" in own:
                return {"type": "redacted_thinking", "data": own["data"]}
            # Thinking that the provider has not signed is refused.
            return {"type": "thinking", "thinking": part.content, **own} if "signature" in own else None
        case Refusal():
            return {"type": "text", "text": part.content}
        case Compaction(content=str(content)):
            return {"type": "compaction", "content": content, **own}
        case ToolCall():
            return {
                "type": "tool_use",
                "id": part.id or f"call_{index}",
                "name": part.name,
                "input": _input(part),
                **own,
            }
        case ToolCallResponse():
            return _tool_result(part, path, dropped)
        case ServerToolCall() if own:
            call = part.server_tool_call
            block = {"type": own["type"], "id": part.id, "name": part.name, "input": call.get("input")}
            return block | ({"server_name": call["server_name"]} if "server_name" in call else {})
        case ServerToolCallResponse() if own:
            return {"tool_use_id": part.id, **part.server_tool_call_response}
        case Blob() | Uri() | File():
            return _media(part, own)
        case Other(dialect="anthropic-messages", value=dict(value)):
            return {"type": part.kind, **value}
    return None


def write_citations(citations: list[Citation]) -> list[Any]:
    """Write those citations that are this dialect's own: the API wants back exactly what it gave."""
    return [own for each in citations if (own := each.extra.get(NAME))]


def _input(call: ToolCall) -> Any:
    if call.custom:
        return {"input": call.arguments or ""}
    if isinstance(call.arguments, str):
        return {"arguments": call.arguments}  # no valid JSON, but the dialect wants an object
    return call.arguments if isinstance(call.arguments, dict) else {}


def _tool_result(part: ToolCallResponse, path: str, dropped: Dropped) -> Json:
    response = part.response
    block: Json = {"type": "tool_result", "tool_use_id": part.id}
    if isinstance(response, list):
        block["content"] = _blocks(response, path, dropped)
    elif response not in ("", None):
        block["content"] = response if isinstance(response, str) else msgspec.json.encode(response).decode()
    if part.is_error:
        block["is_error"] = True
    return block


def _media(part: Blob | Uri | File, own: Json) -> Json | None:
    if "type" in own:
        return {"type": own["type"], "file_id": getattr(part, "file_id", None)}
    if part.modality not in {"image", "document"}:
        return None
    match part:
        case Blob(mime_type=str(mime_type)) if mime_type.startswith("text/"):
            source: Json = {"type": "text", "media_type": "text/plain", "data": _decoded(part.content)}
        case Blob():
            usual = "image/png" if part.modality == "image" else "application/pdf"
            source = {"type": "base64", "media_type": part.mime_type or usual, "data": part.content}
        case Uri():
            source = {"type": "url", "url": part.uri}
        case File():
            source = {"type": "file", "file_id": part.file_id}
    block: Json = {"type": part.modality, "source": source}
    if part.name and part.modality == "document":
        block["title"] = part.name
    return block | own


def _decoded(content: str) -> str:
    try:
        return base64.b64decode(content, validate=False).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return content


def _cache_control(cache: str) -> Json:
    return {"type": "ephemeral"} if cache == "default" else {"type": "ephemeral", "ttl": cache}


def _tool(tool: Tool, dropped: Dropped) -> Json | None:
    own: Json = tool.extra.get(NAME, {})
    if tool.kind == "server":
        if not own:
            dropped.add(f"tools.{tool.name}")
        return own or None
    dropped.foreign(tool.extra, NAME, f"tools.{tool.name}")
    schema = tool.parameters if isinstance(tool.parameters, dict) else {"type": "object", "properties": {}}
    if tool.kind == "custom":
        schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    written: Json = {"name": tool.name, "input_schema": schema}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.strict is not None:
        written["strict"] = tool.strict
    if tool.cache:
        written["cache_control"] = _cache_control(tool.cache)
    return written | own


def _add_tool_choice(body: Json, asked: Asked, dropped: Dropped) -> None:
    choice = asked.tool_choice
    if choice is not None:
        dropped.foreign(choice.extra, NAME, "tool_choice")
        mode = {"auto": "auto", "required": "any", "none": "none", "tool": "tool"}[choice.mode]
        body["tool_choice"] = {"type": mode} | ({"name": choice.name} if choice.mode == "tool" else {})
    if asked.parallel_tool_calls is not None and "tools" in body:
        written = body.setdefault("tool_choice", {"type": "auto"})
        if written["type"] != "none":
            written["disable_parallel_tool_use"] = not asked.parallel_tool_calls


def _add_thinking(body: Json, asked: Asked, *, limited: bool) -> None:
    """Say how much to think, in the way that the model takes; a budget leaves room for an answer within the limit."""
    said = level(asked)
    if said is None:
        return
    said_budget = asked.reasoning_budget is not None
    if thinks_adaptively(asked.model) and not said_budget:
        if said in _EFFORTS:
            body["thinking"] = {"type": "adaptive"}
            body["output_config"] = {"effort": _EFFORTS[said]}
    elif said == "none":
        body["thinking"] = {"type": "disabled"}
    elif asked.parameters.get(name.REASONING_LEVEL) == "adaptive":
        body["thinking"] = {"type": "adaptive"}
    else:
        tokens = budget(asked) or 0
        if not said_budget:
            tokens = max(_LEAST_BUDGET, tokens)
        if not limited:
            body["max_tokens"] = tokens + MAX_TOKENS
        elif body["max_tokens"] <= tokens and not said_budget:
            tokens = max(_LEAST_BUDGET, body["max_tokens"] // 2)
        body["thinking"] = {"type": "enabled", "budget_tokens": tokens}
    if asked.show_reasoning is not None and "thinking" in body:
        body["thinking"]["display"] = "summarized" if asked.show_reasoning else "omitted"


def _add_format(body: Json, asked: Asked, dropped: Dropped) -> None:
    form = asked.response_format
    if form is None or form.type == "text":
        return
    if form.type == "json" or form.schema is None:
        dropped.add("response_format")
        return
    config = body.setdefault("output_config", {})
    config["format"] = {"type": "json_schema", "schema": form.schema}
