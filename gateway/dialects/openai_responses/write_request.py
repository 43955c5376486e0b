"""A conversation as a request to OpenAI's Responses."""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    ResponseFormat,
    ServerToolCall,
    Text,
    Tool,
    ToolChoice,
    Uri,
)
from gateway.dialects.openai_chat.write_request import is_strict
from gateway.dialects.openai_responses.read_parts import NAME
from gateway.dialects.openai_responses.read_request import LOGPROBS
from gateway.dialects.openai_responses.write_parts import (
    Json,
    forgo,
    result_of,
    write_content,
    write_item,
    write_reasoning,
)
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.extra import sibling_format
from gateway.dialects.shared.messages import named, one_prompt, plain_text
from gateway.dialects.shared.reasoning import drop_unsupported, level
from gateway.dialects.shared.tool_ids import identified
from gateway.dialects.shared.writer import Dropped, Written

_PARAMETERS = {
    name.MAX_TOKENS: "max_output_tokens",
    name.TEMPERATURE: "temperature",
    name.TOP_P: "top_p",
    name.PREVIOUS_RESPONSE_ID: "previous_response_id",
}
_ELSEWHERE = {name.STREAM, name.REASONING_LEVEL, name.OUTPUT_TYPE}


def write_request(request: ChatRequest) -> Written:
    """Write a request. The provider is asked to store nothing, unless a client of this dialect asks for it."""
    dropped = Dropped()
    request = one_prompt(request, dropped)
    own = request.extra.get(NAME, {})
    body: Json = {"model": request.model, "input": list(_input(identified(request.input_messages), dropped))}
    if request.system_instructions:
        body["instructions"] = _joined(request.system_instructions, dropped)
    body |= name.write_parameters(request, _PARAMETERS, _ELSEWHERE, dropped)
    if request.stream:
        body["stream"] = True
    reasoning = {"effort": level(request), "summary": "auto" if request.show_reasoning else None}
    drop_unsupported(request, dropped, shows=True)
    text = {"format": None if request.response_format is None else _format(request.response_format)}
    members = {
        "reasoning": _present(reasoning | own.get("reasoning", {})),
        "text": _present(text | own.get("text", {})),
        "top_logprobs": (request.top_logprobs or 0) if request.logprobs else None,
        "metadata": request.metadata,
        "user": request.user,
        "conversation": request.conversation_id,
        "store": False,
    }
    body |= {key: value for key, value in members.items() if value not in (None, {})}
    _add_tools(body, request, dropped)
    dropped.foreign(request.extra, NAME)
    body |= {key: value for key, value in own.items() if key not in {"reasoning", "text"}}
    if request.logprobs:
        body["include"] = [*body.get("include", []), LOGPROBS]
    return Written(body=msgspec.json.encode(body), path="/responses", dropped=dropped.names, media=dropped.media)


def _present(fields: Json) -> Json:
    return {key: value for key, value in fields.items() if value is not None}


def _joined(parts: list[Part], dropped: Dropped) -> str:
    texts = []
    for index, part in enumerate(parts):
        path = f"system.parts[{index}]"
        if isinstance(part, Text):
            texts.append(part.content)
            forgo(part, path, dropped)
        else:
            dropped.add_part(part, path)
    return "\n\n".join(texts)


def _input(messages: list[Message], dropped: Dropped) -> Iterator[Json]:
    for number, message in enumerate(messages):
        path = f"messages[{number}]"
        dropped.foreign(message.extra, NAME, path)
        if message.name and message.role == "assistant":
            dropped.add(f"{path}.name")
        yield from _items(message, named(message), path, dropped)


def _items(message: Message, parts: list[Part], path: str, dropped: Dropped) -> Iterator[Json]:
    """Write a turn: its content as messages, and parts that are items of their own between them."""
    content: list[tuple[int, Part]] = []
    last: Json = {}  # the call before, to which a result may belong
    thoughts: list[Json] = []  # the summary of an item of reasoning that is not whole
    for index, part in enumerate(parts):
        at = f"{path}.parts[{index}]"
        if last and (result := result_of(last, part)) is not None:
            last |= result
            continue
        if _stands_in_content(part):
            content.append((index, part))
            continue
        yield from [last] if last else []
        yield from _message(message.role, content, path, dropped)
        content, last = [], {}
        item: Json | None
        if isinstance(part, Reasoning):
            thoughts, item = _thought(part, thoughts, parts[index + 1 :], at, dropped)
        else:
            item = write_item(part, at, dropped)
        if item is not None and isinstance(part, ServerToolCall):
            last = item
        elif item is not None:
            yield item
    yield from [last] if last else []
    yield from _message(message.role, content, path, dropped)
    if not parts:
        yield {"type": "message", "role": "user" if message.role == "tool" else message.role, "content": ""}


def _thought(
    part: Reasoning, before: list[Json], after: list[Part], path: str, dropped: Dropped
) -> tuple[list[Json], Json | None]:
    """Return the summary of a reasoning item so far, and the item once it is whole.

    The last part proves all: another provider's thinking, which is not proven, means nothing to this one.
    """
    forgo(part, path, dropped)
    item = write_reasoning(part)
    if part.extra.get(NAME):
        return [], {**item, "summary": before + item["summary"]}
    following = next((each for each in after if not isinstance(each, Reasoning) or each.extra), None)
    if not part.extra and isinstance(following, Reasoning) and following.extra.get(NAME):
        return before + item["summary"], None
    dropped.add(f"{path}: reasoning")
    return [], None


def _stands_in_content(part: Part) -> bool:
    if isinstance(part, Other):
        return part.kind.startswith(("input_", "output_"))
    return isinstance(part, Text | Refusal | Blob | Uri | File)


def _message(role: str, content: list[tuple[int, Part]], path: str, dropped: Dropped) -> Iterator[Json]:
    if not content:
        return
    role = "user" if role == "tool" else role
    first = content[0][1]
    phase = first.extra.get(NAME, {}) if isinstance(first, Text) else {}
    head: Json = {"type": "message", "role": role, **phase}
    parts = [part for _, part in content]
    if (text := plain_text([msgspec.structs.replace(first, extra={}), *parts[1:]] if phase else parts)) is not None:
        yield {**head, "content": text}
        return
    written = (write_content(part, role, f"{path}.parts[{index}]", dropped) for index, part in content)
    if blocks := [each for each in written if each is not None]:
        yield {**head, "content": blocks}


def _add_tools(body: Json, request: ChatRequest, dropped: Dropped) -> None:
    """Write the tools and the choice of them, which means nothing without tools."""
    choice = request.tool_choice
    if tools := _tools(request.tools, dropped):
        body["tools"] = tools
        if choice is not None:
            body["tool_choice"] = _tool_choice(choice, request.tools, dropped)
        if request.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    elif choice is not None and choice.mode in {"required", "tool"}:
        dropped.add("tool_choice")


def _tools(tools: list[Tool], dropped: Dropped) -> list[Json]:
    """Write tools, those of one namespace as a group."""
    listed: list[Json] = []
    for tool in tools:
        if (written := _tool(tool, dropped)) is None:
            continue
        group = written.pop("namespace", {}) if tool.kind != "server" else {}
        if tool.namespace is None:
            listed.append(written)
            continue
        if not listed or listed[-1]["type"] != "namespace" or listed[-1]["name"] != tool.namespace:
            listed.append({"type": "namespace", "name": tool.namespace, **group, "tools": []})
        listed[-1]["tools"].append(written)
    return listed


def _tool(tool: Tool, dropped: Dropped) -> Json | None:
    own = dict(tool.extra.get(NAME, {}))
    if tool.kind == "server":
        if not own:
            dropped.add(f"tools.{tool.name}")
        return own or None
    extra = tool.extra
    if tool.kind == "custom":
        own, extra = sibling_format(own, extra, NAME)
    dropped.foreign(extra, NAME, f"tools.{tool.name}")
    if tool.cache:
        dropped.add("cache_control")
    written: Json = {"type": tool.kind, "name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.kind == "function":
        written["parameters"] = tool.parameters
        # unsaid it would be true, which other dialects' schemas need not fit
        written["strict"] = bool(tool.strict) and is_strict(tool.parameters)
        if tool.strict and not written["strict"]:
            dropped.add(f"tools.{tool.name}.strict")
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
    members = {
        "name": form.name or "answer",
        "description": form.description,
        "schema": form.schema,
        "strict": form.strict,
    }
    return {"type": "json_schema", **_present(members)}
