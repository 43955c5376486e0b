"""A conversation as a chat completions request."""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.dialects.conversation import (
    ChatRequest,
    File,
    Message,
    Reasoning,
    Refusal,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
)
from gateway.dialects.openai_chat.read_parts import NAME
from gateway.dialects.openai_chat.write_parts import (
    Json,
    Marks,
    Placed,
    placed,
    unsigned,
    write_call,
    write_content,
    write_thought,
)
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.extra import sibling_format
from gateway.dialects.shared.messages import one_prompt
from gateway.dialects.shared.reasoning import drop_unsupported, level
from gateway.dialects.shared.tool_ids import identified
from gateway.dialects.shared.writer import Dropped, Written
from gateway.semconv import TEXT_COMPLETION

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


# Written to fields of their own, or not at all.
_ELSEWHERE = {name.STREAM, name.REASONING_LEVEL, name.OUTPUT_TYPE}


# Fields that only the older completions have.
_OLDER = {"suffix", "echo", "best_of"}


def write_request(request: ChatRequest, *, marks: bool = False) -> Written:
    """Write a request. `marks`: whether cache marks are written; OpenAI itself refuses them."""
    dropped = Dropped()
    request = one_prompt(request, dropped)
    marking = Marks(dropped, known=marks)
    body: Json = {"model": request.model, "messages": list(_messages(request, dropped, marking))}
    body |= name.write_parameters(request, _PARAMETERS, _ELSEWHERE, dropped)
    if request.stream:
        body["stream"] = True
        if request.include_usage is not None:
            body["stream_options"] = {"include_usage": request.include_usage}
    if (effort := level(request)) is not None:
        body["reasoning_effort"] = effort
    drop_unsupported(request, dropped, shows=False)
    _add_tools(body, request, dropped, marking)
    if request.response_format is not None:
        body["response_format"] = _response_format(request.response_format)
    members = {
        "logprobs": request.logprobs,
        "top_logprobs": request.top_logprobs,
        "metadata": request.metadata or None,
        "user": request.user,
    }
    body |= {key: value for key, value in members.items() if value is not None}
    if request.conversation_id:
        dropped.add("conversation")
    dropped.foreign(request.extra, NAME)
    for key, value in request.extra.get(NAME, {}).items():
        if request.operation == TEXT_COMPLETION and key in _OLDER:
            dropped.add(key)
        else:
            body[key] = value
    return Written(body=msgspec.json.encode(body), path="/chat/completions", dropped=dropped.names, media=dropped.media)


def _messages(request: ChatRequest, dropped: Dropped, marks: Marks) -> Iterator[Json]:
    if request.system_instructions:
        yield {
            "role": "system",
            "content": write_content(placed(request.system_instructions, "system"), "system", dropped, marks),
        }
    shown: list[Placed] = []  # by tools: a tool's message holds text alone
    for number, message in enumerate(identified(request.input_messages)):
        path = f"messages[{number}]"
        if shown and message.role != "tool":
            yield {"role": "user", "content": write_content(shown, "user", dropped, marks)}
            shown = []
        dropped.foreign(message.extra, NAME, path)
        if message.role == "assistant":
            if (turn := _assistant(message, path, dropped, marks)) is not None:
                yield turn
            continue
        rest: list[Placed] = []
        for part, at in placed(message.parts, path):
            if isinstance(part, ToolCallResponse):
                yield _tool_result(part, at, shown, dropped, marks)
            else:
                rest.append((part, at))
        if rest or not message.parts:
            role = "user" if message.role == "tool" else message.role
            written: Json = {"role": role, "content": write_content(rest, role, dropped, marks)}
            if message.name:
                written["name"] = message.name
            yield written
    if shown:
        yield {"role": "user", "content": write_content(shown, "user", dropped, marks)}


def _assistant(message: Message, path: str, dropped: Dropped, marks: Marks) -> Json | None:
    """Write a turn of the model; None if the dialect can express nothing of it."""
    members: Json = {}
    content: list[Placed] = []
    for part, at in placed(message.parts, path):
        match part:
            case Reasoning():
                write_thought(part, members, carries=False)
                dropped.foreign(part.extra, NAME, at)
            case Refusal() if not content:
                members["refusal"] = members.get("refusal", "") + part.content
                dropped.foreign(part.extra, NAME, at)
            case ToolCall():
                call = write_call(part)
                marks.put(call, part.cache)
                members.setdefault("tool_calls", []).append(call)
                dropped.foreign(unsigned(part.extra), NAME, at)
            case File(modality="audio", file_id=file_id):
                members["audio"] = {"id": file_id}
            case _:
                content.append((part, at))
    text = write_content(content, "assistant", dropped, marks)
    if message.parts and not (members or text):
        return None
    alone = not members.keys() & {"tool_calls", "refusal", "audio"}
    written = {"role": "assistant", **members, "content": text if text or alone else None}
    return written | ({"name": message.name} if message.name else {})


def _tool_result(part: ToolCallResponse, path: str, shown: list[Placed], dropped: Dropped, marks: Marks) -> Json:
    response = part.response
    if isinstance(response, list):
        parts: list[Placed] = [(each, f"{path}.response[{i}]") for i, each in enumerate(response)]
        shown += [each for each in parts if not isinstance(each[0], Text)]
        content: Any = write_content([each for each in parts if isinstance(each[0], Text)], "tool", dropped, marks)
    else:
        content = response if isinstance(response, str) else msgspec.json.encode(response).decode()
    if part.is_error:
        dropped.add(f"{path}.is_error")
    dropped.foreign(part.extra, NAME, path)
    written: Json = {"role": "tool", "tool_call_id": part.id, "content": content}
    if part.name:
        written["name"] = part.name
    marks.put(written, part.cache)
    return written


def _add_tools(body: Json, request: ChatRequest, dropped: Dropped, marks: Marks) -> None:
    """Write the tools and the choice of them, which is refused without tools."""
    tools = [written for tool in request.tools if (written := _tool(tool, dropped, marks)) is not None]
    choice = request.tool_choice
    if tools:
        body["tools"] = tools
        if choice is not None:
            body["tool_choice"] = _tool_choice(choice, request.tools, dropped)
        if request.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    elif choice is not None and choice.mode in {"required", "tool"}:
        dropped.add("tool_choice")


def _tool(tool: Tool, dropped: Dropped, marks: Marks) -> Json | None:
    own = dict(tool.extra.get(NAME, {}))
    if tool.kind == "server":
        if not own:
            dropped.add(f"tools.{tool.name}")
        return own or None
    extra = tool.extra
    members: Json = {"name": tool.name}
    if tool.description is not None:
        members["description"] = tool.description
    if tool.kind == "custom":
        own, extra = sibling_format(own, extra, NAME)
    dropped.foreign(extra, NAME, f"tools.{tool.name}")
    if tool.kind == "custom":
        marks.put({}, tool.cache)
        return {"type": "custom", "custom": members | own}
    if tool.parameters is not None:
        members["parameters"] = tool.parameters
    if tool.strict is not None:
        members["strict"] = tool.strict and is_strict(tool.parameters)
    if tool.strict and not members["strict"]:
        dropped.add(f"tools.{tool.name}.strict")
    written: Json = {"type": "function", "function": members}
    marks.put(written, tool.cache)
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
    members = {
        "name": form.name or "answer",
        "description": form.description,
        "schema": form.schema,
        "strict": form.strict,
    }
    return {"type": "json_schema", "json_schema": {key: value for key, value in members.items() if value is not None}}


_DEEP = 64


def is_strict(schema: Any, depth: int = 0) -> bool:
    """Whether a schema may be strict; one that is not is refused, together with the request."""
    if not isinstance(schema, dict):
        return not isinstance(schema, list) or (depth < _DEEP and all(is_strict(each, depth + 1) for each in schema))
    if "properties" in schema or schema.get("type") == "object":
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if schema.get("additionalProperties") is not False or not isinstance(required, list):
            return False
        if not isinstance(properties, dict) or any(name not in required for name in properties):
            return False
    return depth < _DEEP and all(is_strict(each, depth + 1) for each in schema.values())
