"""A conversation as a request to OpenAI's Responses."""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.dialects import parameters as name
from gateway.dialects.conversation import (
    Asked,
    Blob,
    Compaction,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    ResponseFormat,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
)
from gateway.dialects.dropping import Dropped
from gateway.dialects.effort import level
from gateway.dialects.responses_items import NAME
from gateway.dialects.turns import named, plain_text, word_of
from gateway.dialects.writing import Written

Json = dict[str, Any]

_PARAMETERS = {
    name.MAX_TOKENS: "max_output_tokens",
    name.TEMPERATURE: "temperature",
    name.TOP_P: "top_p",
    name.PREVIOUS_RESPONSE_ID: "previous_response_id",
}
_ELSEWHERE = {name.STREAM, name.REASONING_LEVEL, name.OUTPUT_TYPE}


def write_request(asked: Asked) -> Written:
    """Write what was asked. The provider is told to keep nothing, unless a client of this dialect said otherwise."""
    dropped = Dropped()
    own = asked.extra.get(NAME, {})
    body: Json = {"model": asked.model, "input": list(_input(asked.input_messages, dropped))}
    if asked.system_instructions:
        body["instructions"] = _joined(asked.system_instructions, dropped)
    for attribute, value in asked.parameters.items():
        if attribute in _PARAMETERS:
            body[_PARAMETERS[attribute]] = value
        elif attribute not in _ELSEWHERE:
            dropped.add(attribute.removeprefix("gen_ai.request."))
    if asked.stream:
        body["stream"] = True
    effort = level(asked)
    reasoning = {
        "effort": effort,
        "summary": "auto" if asked.show_reasoning else None,
        **own.get("reasoning", {}),
    }
    text = {"format": None if asked.response_format is None else _format(asked.response_format), **own.get("text", {})}
    said = {
        "reasoning": _present(reasoning),
        "text": _present(text),
        "tools": [written for tool in asked.tools if (written := _tool(tool, dropped)) is not None],
        "tool_choice": None if asked.tool_choice is None else _tool_choice(asked.tool_choice, asked.tools, dropped),
        "parallel_tool_calls": asked.parallel_tool_calls,
        "top_logprobs": (asked.top_logprobs or 0) if asked.logprobs else None,
        "metadata": asked.metadata,
        "user": asked.user,
        "conversation": asked.conversation_id,
        "store": own.get("store", False),
        "include": ["message.output_text.logprobs"] if asked.logprobs else None,
    }
    body |= {key: value for key, value in said.items() if value not in (None, [], {})}
    dropped.foreign(asked.extra, NAME)
    body |= {key: value for key, value in own.items() if key not in {"reasoning", "text"}}
    return Written(body=msgspec.json.encode(body), path="/responses", dropped=dropped.names)


def _present(fields: Json) -> Json:
    return {key: value for key, value in fields.items() if value is not None}


def _joined(parts: list[Part], dropped: Dropped) -> str:
    texts = []
    for index, part in enumerate(parts):
        if isinstance(part, Text):
            texts.append(part.content)
            _forgo(part, f"system[{index}]", dropped)
        else:
            dropped.add(f"system[{index}]: {word_of(part)}")
    return "\n\n".join(texts)


def _forgo(part: Part, path: str, dropped: Dropped) -> None:
    """Name what stands on a part that the dialect has no place for."""
    if getattr(part, "cache", None):
        dropped.add("cache_control")
    dropped.foreign(getattr(part, "extra", {}), NAME, path)


def _input(messages: list[Message], dropped: Dropped) -> Iterator[Json]:
    for number, message in enumerate(messages):
        path = f"messages[{number}]"
        dropped.foreign(message.extra, NAME, path)
        content: list[Part] = []
        for index, part in enumerate(named(message)):
            at = f"{path}.parts[{index}]"
            if not isinstance(part, Text | Refusal | Blob | Uri | File) and not _stands_in_content(part):
                if content:
                    yield _message(message.role, content, path, dropped)
                    content = []
                item = write_item(part, index, at, dropped)
                if item is None:
                    dropped.add(f"{at}: {word_of(part)}")
                elif item:
                    yield item
            else:
                content.append(part)
        if content or not message.parts:
            yield _message(message.role, content, path, dropped)


def _stands_in_content(part: Part) -> bool:
    return isinstance(part, Other) and part.kind.startswith(("input_", "output_"))


def _message(role: str, content: list[Part], path: str, dropped: Dropped) -> Json:
    role = "user" if role == "tool" else role
    if role != "assistant" and (text := plain_text(content)) is not None:
        return {"type": "message", "role": role, "content": text}
    written = []
    for index, part in enumerate(content):
        at = f"{path}.parts[{index}]"
        said = _content(part, role, at, dropped)
        if said is None:
            dropped.add(f"{at}: {word_of(part)}")
        else:
            _forgo(part, at, dropped)
            written.append(said)
    return {"type": "message", "role": role, "content": written}


def _content(part: Part, role: str, path: str, dropped: Dropped) -> Json | None:
    """Write a part of a message's content; None where there is no word for it."""
    match part:
        case Text():
            if part.citations:
                dropped.add(f"{path}.citations")
            if role == "assistant":
                return {"type": "output_text", "text": part.content, "annotations": []}
            return {"type": "input_text", "text": part.content}
        case Refusal():
            return {"type": "refusal", "refusal": part.content}
        case Blob(modality="image"):
            url = f"data:{part.mime_type or 'image/png'};base64,{part.content}"
            return {"type": "input_image", "image_url": url, "detail": "auto", **part.extra.get(NAME, {})}
        case Uri(modality="image"):
            return {"type": "input_image", "image_url": part.uri, "detail": "auto", **part.extra.get(NAME, {})}
        case File(modality="image"):
            return {"type": "input_image", "file_id": part.file_id, "detail": "auto", **part.extra.get(NAME, {})}
        case Blob(modality="audio"):
            form = {"audio/mpeg": "mp3"}.get(part.mime_type or "", (part.mime_type or "wav").rpartition("/")[2])
            return {"type": "input_audio", "input_audio": {"data": part.content, "format": form}}
        case Blob(modality="document"):
            data = f"data:{part.mime_type};base64,{part.content}" if part.mime_type else part.content
            return {"type": "input_file", "file_data": data} | ({"filename": part.name} if part.name else {})
        case Uri(modality="document"):
            return {"type": "input_file", "file_url": part.uri} | ({"filename": part.name} if part.name else {})
        case File(modality="document"):
            return {"type": "input_file", "file_id": part.file_id}
        case Other(dialect="openai-responses", value=dict(value)):
            return {"type": part.kind, **value}
    return None


def write_item(part: Part, index: int, path: str, dropped: Dropped) -> Json | None:
    """Write a part that is an item of its own; None where there is no word for it."""
    own: Json = getattr(part, "extra", {}).get(NAME, {})
    _forgo(part, path, dropped)
    match part:
        case Reasoning():
            if not own:  # another provider's thinking means nothing to this one
                return None
            summary = [{"type": "summary_text", "text": part.content}] if part.content else []
            return {"type": "reasoning", "summary": summary, **own}
        case Compaction():
            return {"type": "compaction", "id": part.id, **own} if own else None
        case ToolCall():
            return _call(part, index, own)
        case ToolCallResponse():
            return _call_output(part, path, own, dropped)
        case ServerToolCall() if own:
            return {**part.server_tool_call, "id": part.id, **own}
        case ServerToolCallResponse(server_tool_call_response={"type": str(kind)}) if kind.endswith("_call"):
            return {}  # it stood in the call's own item
        case Other(dialect="openai-responses", value=dict(value)):
            return {"type": part.kind, **value}
    return None


def _call(call: ToolCall, index: int, own: Json) -> Json:
    call_id = call.id or f"call_{index}"
    if "type" in own:
        arguments = call.arguments if isinstance(call.arguments, dict) else {}
        return {**_present(own), "call_id": call_id, **arguments}
    if call.custom:
        return {"type": "custom_tool_call", "call_id": call_id, "name": call.name, "input": call.arguments or ""}
    arguments = call.arguments
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    text = "{}" if arguments is None else text
    return {"type": "function_call", "call_id": call_id, "name": call.name, "arguments": text, **own}


def _call_output(part: ToolCallResponse, path: str, own: Json, dropped: Dropped) -> Json:
    if part.is_error:
        dropped.add(f"{path}.is_error")
    response = part.response
    if isinstance(response, list):
        written = [_content(each, "user", path, dropped) for each in response]
        if None in written:
            dropped.add(f"{path}.response")
        output: Any = [each for each in written if each is not None]
    elif isinstance(response, str) or own:
        output = response
    else:
        output = msgspec.json.encode(response).decode()
    kind = own.get("type") or ("custom_tool_call_output" if part.custom else "function_call_output")
    return {"type": kind, "call_id": part.id, "output": output}


def _tool(tool: Tool, dropped: Dropped) -> Json | None:
    own: Json = tool.extra.get(NAME, {})
    if tool.kind == "server":
        if not own:
            dropped.add(f"tools.{tool.name}")
        return own or None
    dropped.foreign(tool.extra, NAME, f"tools.{tool.name}")
    if tool.cache:
        dropped.add("cache_control")
    written: Json = {"type": tool.kind, "name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.kind == "function":
        written["parameters"] = tool.parameters
        written["strict"] = tool.strict  # absent it would be true
    return written | own


def _tool_choice(choice: ToolChoice, tools: list[Tool], dropped: Dropped) -> Any:
    dropped.foreign(choice.extra, NAME, "tool_choice")
    if own := choice.extra.get(NAME):
        return own
    if choice.mode != "tool":
        return choice.mode
    custom = any(tool.name == choice.name and tool.kind == "custom" for tool in tools)
    return {"type": "custom" if custom else "function", "name": choice.name}


def _format(form: ResponseFormat) -> Json:
    if form.type != "json_schema":
        return {"type": "text" if form.type == "text" else "json_object"}
    said = {
        "name": form.name or "answer",
        "description": form.description,
        "schema": form.schema,
        "strict": form.strict,
    }
    return {"type": "json_schema", **_present(said)}
