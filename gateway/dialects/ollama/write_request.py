"""The conversation form as requests to Ollama's own API, which has no tool choice, no names and no image URLs.

A completion of a prompt is written as one; everything else is a chat.
"""

from typing import Any

import msgspec

from gateway.dialects.conversation import ChatRequest, Message, ResponseFormat, Text, Tool, ToolCall, ToolCallResponse
from gateway.dialects.ollama.read_parts import NAME, Json
from gateway.dialects.ollama.read_request import OPTIONS
from gateway.dialects.ollama.write_parts import BETWEEN, placed, written, written_result
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.custom_tools import SCHEMA
from gateway.dialects.shared.messages import named
from gateway.dialects.shared.reasoning import level
from gateway.dialects.shared.writer import Dropped, Written
from gateway.dialects.wire.json import fields
from gateway.semconv import TEXT_COMPLETION

# Fields of the completion of a prompt only.
_OF_A_PROMPT = frozenset({"suffix", "template", "raw", "context"})


_HANDLED = frozenset({*OPTIONS.values(), name.STREAM, name.REASONING_LEVEL, name.OUTPUT_TYPE})


def write_request(request: ChatRequest) -> Written:
    """Write a chat, or the completion of a prompt."""
    dropped = Dropped()
    completes = request.operation == TEXT_COMPLETION
    content = _prompt(request, dropped) if completes else _chat(request, dropped)
    body: Json = {"model": request.model or "", **content, **_settings(request, dropped), "stream": request.stream}
    for key, value in request.extra.get(NAME, {}).items():
        if key in _OF_A_PROMPT and not completes:
            dropped.add(key)
        elif key != "options":
            body[key] = value
    dropped.foreign(request.extra, NAME)
    path = "/api/generate" if completes else "/api/chat"
    return Written(body=msgspec.json.encode(body), path=path, dropped=dropped.names, media=dropped.media)


def _settings(request: ChatRequest, dropped: Dropped) -> Json:
    """Write how the answer is to be made."""
    settings: Json = {}
    if (form := _format(request.response_format, dropped)) is not None:
        settings["format"] = form
    if (think := _think(request)) is not None:
        settings["think"] = think
    if request.logprobs is not None:
        settings["logprobs"] = request.logprobs
    if request.top_logprobs is not None:
        settings["top_logprobs"] = request.top_logprobs
    options = {word: request.parameters[known] for word, known in OPTIONS.items() if known in request.parameters}
    if options := options | fields(request.extra.get(NAME, {}).get("options")):
        settings["options"] = options
    unsaid = {
        "parallel_tool_calls": request.parallel_tool_calls is False,
        "user": request.user,
        "metadata": request.metadata,
        "conversation": request.conversation_id,
        "show_reasoning": request.show_reasoning is False,
        "reasoning_budget": request.reasoning_budget is not None and request.reasoning_budget > 0,
        "output_type": request.parameters.get(name.OUTPUT_TYPE) not in {None, "text", "json"},
    }
    for word in [word for word, there in unsaid.items() if there]:
        dropped.add(word)
    for attribute in [each for each in request.parameters if each not in _HANDLED]:
        dropped.add(attribute.removeprefix("gen_ai.request."))
    return settings


def _format(form: ResponseFormat | None, dropped: Dropped) -> Any:
    if form is None or form.type == "text":
        return None
    if form.description is not None:
        dropped.add("response_format.description")
    return form.schema if form.type == "json_schema" and isinstance(form.schema, dict) else "json"


def _think(request: ChatRequest) -> bool | str | None:
    """Write the amount of thinking: a switch, or one of four levels."""
    requested = request.parameters.get(name.REASONING_LEVEL)
    if requested in {"enabled", "adaptive"} and not request.reasoning_budget:
        return True
    wanted = level(request)
    return False if wanted == "none" else {"minimal": "low", "xhigh": "max"}.get(wanted or "", wanted)


def _prompt(request: ChatRequest, dropped: Dropped) -> Json:
    """Write the completion of a prompt: there can be only one."""
    parts = [at for i, m in enumerate(request.input_messages) for at in placed(m.parts, f"messages[{i}].parts")]
    texts = [(at, part) for at, part in parts if isinstance(part, Text)]
    for at, _ in texts[1:]:
        dropped.add(f"{at}: text")
    message = written([*texts[:1], *((at, part) for at, part in parts if not isinstance(part, Text))], dropped)
    for word in [each for each in message if each not in {"content", "images"}]:
        dropped.add(f"messages: {word}")
    members = {"prompt": message["content"], "system": _system(request, dropped), "images": message.get("images")}
    return {key: value for key, value in members.items() if value}


def _system(request: ChatRequest, dropped: Dropped) -> str:
    message = written(placed(request.system_instructions, "system"), dropped, BETWEEN)
    content: str = message.pop("content")
    for word in message:
        dropped.add(f"system: {word}")
    return content


def _chat(request: ChatRequest, dropped: Dropped) -> Json:
    messages: list[Json] = []
    if system := _system(request, dropped):
        messages.append({"role": "system", "content": system})
    called = {
        part.id: part.name for m in request.input_messages for part in m.parts if isinstance(part, ToolCall) and part.id
    }
    for index, message in enumerate(request.input_messages):
        messages += _messages(message, f"messages[{index}]", called, dropped)
    body: Json = {"messages": messages}
    choice = request.tool_choice
    if choice is not None:
        if choice.mode in {"required", "tool"}:
            dropped.add("tool_choice")
        dropped.foreign(choice.extra, NAME, "tool_choice")
    # a model that is shown no tool calls none
    tools = [] if choice is not None and choice.mode == "none" else request.tools
    if written_tools := [written_tool for tool in tools if (written_tool := _tool(tool, dropped)) is not None]:
        body["tools"] = written_tools
    return body


def _messages(message: Message, path: str, called: dict[str, str], dropped: Dropped) -> list[Json]:
    """Write one turn: each tool's result is a message of its own."""
    results = [
        written_result(part, at, part.name or called.get(part.id or ""), dropped)
        for at, part in placed(message.parts, f"{path}.parts")
        if isinstance(part, ToolCallResponse)
    ]
    own = message.extra.get(NAME, {})
    dropped.foreign(message.extra, NAME, path)
    if results and len(results) == len(message.parts):
        results[0] |= own
        return results
    parts = message.parts if message.role == "tool" else named(message)
    rest = [(at, part) for at, part in placed(parts, f"{path}.parts") if not isinstance(part, ToolCallResponse)]
    members = written(rest, dropped, "" if message.role == "assistant" else BETWEEN)
    return [*results, {"role": "system" if message.role == "developer" else message.role, **members, **own}]


def _tool(tool: Tool, dropped: Dropped) -> Json | None:
    path = f"tools.{tool.name}"
    if tool.kind == "server":
        dropped.add(path)
        return None
    if tool.strict:
        dropped.add(f"{path}.strict")
    dropped.foreign(tool.extra, NAME, path)
    rest = dict(tool.extra.get(NAME, {}))
    function: Json = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    nothing = SCHEMA if tool.kind == "custom" else {"type": "object", "properties": {}}
    function["parameters"] = nothing if tool.parameters is None else tool.parameters
    return {"type": "function", "function": {**function, **fields(rest.pop("function", None))}, **rest}
