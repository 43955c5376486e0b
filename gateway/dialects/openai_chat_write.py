"""A conversation as a chat completions request."""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.dialects import parameters as name
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
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
)
from gateway.dialects.dropping import Dropped
from gateway.dialects.effort import level
from gateway.dialects.openai_request import NAME
from gateway.dialects.turns import word_of
from gateway.dialects.writing import Written

Json = dict[str, Any]

_PARAMETERS = {
    name.MAX_TOKENS: "max_completion_tokens",
    name.TEMPERATURE: "temperature",
    name.TOP_P: "top_p",
    name.TOP_K: "top_k",
    name.STOP_SEQUENCES: "stop",
    name.FREQUENCY_PENALTY: "frequency_penalty",
    name.PRESENCE_PENALTY: "presence_penalty",
    name.SEED: "seed",
    name.CHOICE_COUNT: "n",
}
# Said in fields of their own, or nothing to say.
_ELSEWHERE = {name.STREAM, name.REASONING_LEVEL, name.OUTPUT_TYPE}


def write_request(asked: Asked) -> Written:
    """Write what was asked."""
    dropped = Dropped()
    body: Json = {"model": asked.model, "messages": list(_messages(asked, dropped))}
    for attribute, value in asked.parameters.items():
        if attribute in _PARAMETERS:
            body[_PARAMETERS[attribute]] = value
        elif attribute not in _ELSEWHERE:
            dropped.add(attribute.removeprefix("gen_ai.request."))
    if asked.stream:
        body["stream"] = True
        if asked.include_usage is not None:
            body["stream_options"] = {"include_usage": asked.include_usage}
    if (effort := level(asked)) is not None:
        body["reasoning_effort"] = effort
    tools = [written for tool in asked.tools if (written := _tool(tool, dropped)) is not None]
    if tools:
        body["tools"] = tools
    if asked.tool_choice is not None:
        body["tool_choice"] = _tool_choice(asked.tool_choice, asked.tools, dropped)
    if asked.response_format is not None:
        body["response_format"] = _response_format(asked.response_format)
    said = {
        "parallel_tool_calls": asked.parallel_tool_calls,
        "logprobs": asked.logprobs,
        "top_logprobs": asked.top_logprobs,
        "metadata": asked.metadata or None,
        "user": asked.user,
    }
    body |= {key: value for key, value in said.items() if value is not None}
    if asked.conversation_id:
        dropped.add("conversation")
    dropped.foreign(asked.extra, NAME)
    body |= asked.extra.get(NAME, {})
    return Written(body=msgspec.json.encode(body), path="/chat/completions", dropped=dropped.names)


def _messages(asked: Asked, dropped: Dropped) -> Iterator[Json]:
    if asked.system_instructions:
        yield {"role": "system", "content": _content(asked.system_instructions, "system", dropped)}
    shown: list[Part] = []  # by tools: a tool's message holds text alone
    for number, message in enumerate(asked.input_messages):
        path = f"messages[{number}]"
        if shown and message.role != "tool":
            yield {"role": "user", "content": _content(shown, path, dropped)}
            shown = []
        dropped.foreign(message.extra, NAME, path)
        if message.role == "assistant":
            yield _assistant(message, path, dropped)
            continue
        rest: list[Part] = []
        for index, part in enumerate(message.parts):
            if isinstance(part, ToolCallResponse):
                yield _tool_result(part, f"{path}.parts[{index}]", shown, dropped)
            else:
                rest.append(part)
        if rest or not message.parts:
            role = "user" if message.role == "tool" else message.role
            written: Json = {"role": role, "content": _content(rest, path, dropped)}
            if message.name:
                written["name"] = message.name
            yield written
    if shown:
        yield {"role": "user", "content": _content(shown, "messages", dropped)}


def _assistant(message: Message, path: str, dropped: Dropped) -> Json:
    written: Json = {"role": "assistant"}
    content: list[Part] = []
    for index, part in enumerate(message.parts):
        match part:
            case Reasoning():
                if part.content:
                    written["reasoning_content"] = written.get("reasoning_content", "") + part.content
                written |= part.extra.get(NAME, {})
                dropped.foreign(part.extra, NAME, f"{path}.parts[{index}]")
            case Refusal():
                written["refusal"] = part.content
            case ToolCall():
                written.setdefault("tool_calls", []).append(write_call(part, index))
                dropped.foreign(part.extra, NAME, f"{path}.parts[{index}]")
            case File(modality="audio", file_id=file_id):
                written["audio"] = {"id": file_id}
            case _:
                content.append(part)
    written["content"] = _content(content, path, dropped) if content else None
    if message.name:
        written["name"] = message.name
    return written


def write_call(call: ToolCall, number: int) -> Json:
    """Write a tool call; one without an id gets one by its number."""
    written: Json = {"id": call.id or f"call_{number}"}
    if call.custom:
        written |= {"type": "custom", "custom": {"name": call.name, "input": call.arguments or ""}}
    else:
        written |= {"type": "function", "function": {"name": call.name, "arguments": arguments_text(call.arguments)}}
    if call.cache:
        written["cache_control"] = cache_control(call.cache)
    return written | call.extra.get(NAME, {})


def arguments_text(arguments: Any) -> str:
    """Return arguments as the JSON text that they are in this dialect."""
    if isinstance(arguments, str):
        return arguments
    return "{}" if arguments is None else msgspec.json.encode(arguments).decode()


def cache_control(cache: str) -> Json:
    """Return the mark to cache the prompt up to here, as OpenRouter takes it from Anthropic."""
    return {"type": "ephemeral"} if cache == "default" else {"type": "ephemeral", "ttl": cache}


def _tool_result(part: ToolCallResponse, path: str, shown: list[Part], dropped: Dropped) -> Json:
    response = part.response
    if isinstance(response, list):
        texts: list[Part] = [each for each in response if isinstance(each, Text)]
        shown += [each for each in response if not isinstance(each, Text)]
        content: Any = _content(texts, path, dropped) if texts else ""
    else:
        content = response if isinstance(response, str) else msgspec.json.encode(response).decode()
    if part.is_error:
        dropped.add(f"{path}.is_error")
    dropped.foreign(part.extra, NAME, path)
    written: Json = {"role": "tool", "tool_call_id": part.id, "content": content}
    if part.name:
        written["name"] = part.name
    if part.cache:
        written["cache_control"] = cache_control(part.cache)
    return written


def _content(parts: list[Part], path: str, dropped: Dropped) -> str | list[Json]:
    """Write content: a string where it is one plain text, else a list of parts."""
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text) and not (parts[0].cache or parts[0].extra):
        _cited(parts[0].citations, path, dropped)
        return parts[0].content
    written = []
    for index, part in enumerate(parts):
        at = f"{path}.parts[{index}]"
        said = _part(part, at, dropped)
        if said is None:
            dropped.add(f"{at}: {word_of(part)}")
            continue
        if cache := getattr(part, "cache", None):
            said["cache_control"] = cache_control(cache)
        dropped.foreign(getattr(part, "extra", {}), NAME, at)
        written.append(said)
    return written


def _part(part: Part, path: str, dropped: Dropped) -> Json | None:
    """Write a part of content; None where there is no word for it."""
    match part:
        case Text():
            _cited(part.citations, path, dropped)
            return {"type": "text", "text": part.content, **part.extra.get(NAME, {})}
        case Refusal():
            return {"type": "refusal", "refusal": part.content}
        case Compaction(content=str(content)):
            return {"type": "text", "text": content}
        case Blob(modality="image"):
            url = f"data:{part.mime_type or 'image/png'};base64,{part.content}"
            return {"type": "image_url", "image_url": {"url": url, **part.extra.get(NAME, {})}}
        case Blob(modality="audio"):
            form = {"audio/mpeg": "mp3", "audio/wav": "wav"}.get(part.mime_type or "")
            form = form or (part.mime_type or "audio/wav").removeprefix("audio/")
            return {"type": "input_audio", "input_audio": {"data": part.content, "format": form}}
        case Blob(modality="document"):
            data = f"data:{part.mime_type};base64,{part.content}" if part.mime_type else part.content
            return {
                "type": "file",
                "file": {"filename": part.name, "file_data": data} if part.name else {"file_data": data},
            }
        case Uri(modality="image" | "video" as kind):
            return {"type": f"{kind}_url", f"{kind}_url": {"url": part.uri, **part.extra.get(NAME, {})}}
        case File(modality="document"):
            return {"type": "file", "file": {"file_id": part.file_id}}
        case Other(dialect="openai-chat", value=dict(value)):
            return {"type": part.kind, **value}
    return None


def _cited(citations: list[Citation], path: str, dropped: Dropped) -> None:
    if citations:
        dropped.add(f"{path}.citations")


def _tool(tool: Tool, dropped: Dropped) -> Json | None:
    own = tool.extra.get(NAME, {})
    if tool.kind == "server":
        if not own:
            dropped.add(f"tools.{tool.name}")
        return own or None
    dropped.foreign(tool.extra, NAME, f"tools.{tool.name}")
    said: Json = {"name": tool.name}
    if tool.description is not None:
        said["description"] = tool.description
    if tool.kind == "custom":
        return {"type": "custom", "custom": said | own}
    if tool.parameters is not None:
        said["parameters"] = tool.parameters
    if tool.strict is not None:
        said["strict"] = tool.strict
    written: Json = {"type": "function", "function": said}
    if tool.cache:
        written["cache_control"] = cache_control(tool.cache)
    return written


def _tool_choice(choice: ToolChoice, tools: list[Tool], dropped: Dropped) -> Any:
    dropped.foreign(choice.extra, NAME, "tool_choice")
    if own := choice.extra.get(NAME):
        return own
    if choice.mode != "tool":
        return choice.mode
    kind = "custom" if any(t.name == choice.name and t.kind == "custom" for t in tools) else "function"
    return {"type": kind, kind: {"name": choice.name}}


def _response_format(form: ResponseFormat) -> Json:
    if form.type != "json_schema":
        return {"type": "text" if form.type == "text" else "json_object"}
    said = {
        "name": form.name or "answer",
        "description": form.description,
        "schema": form.schema,
        "strict": form.strict,
    }
    return {"type": "json_schema", "json_schema": {key: value for key, value in said.items() if value is not None}}
