"""The conversation form as requests to Ollama's own API, which has no tool choice, no names and no image URLs.

A completion of a prompt is written as one; everything else is a chat.
"""

from typing import Any

import msgspec

from gateway.dialects import parameters as name
from gateway.dialects.conversation import Asked, Message, ResponseFormat, Text, Tool, ToolCall, ToolCallResponse
from gateway.dialects.lenient import fields
from gateway.dialects.ollama_parts import BETWEEN, NAME, Said, foreign, placed, written, written_result
from gateway.dialects.ollama_reply import OllamaStream, error, response
from gateway.dialects.ollama_request import OPTIONS
from gateway.dialects.writing import Writer, Written
from gateway.semconv import TEXT_COMPLETION

# What only the completion of a prompt can be told.
_OF_A_PROMPT = frozenset({"suffix", "template", "raw", "context"})
# Levels of reasoning that go by other words here, as Ollama's own compatible APIs take them.
_THINK: dict[str, bool | str] = {
    "none": False,
    "disabled": False,
    "enabled": True,
    "adaptive": True,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "ultra": "max",
    "max": "max",
}
_HANDLED = frozenset({*OPTIONS.values(), name.STREAM, name.REASONING_LEVEL, name.OUTPUT_TYPE})


def _request(asked: Asked) -> Written:
    lost: list[str] = []
    completes = asked.operation == TEXT_COMPLETION
    said = _prompt(asked, lost) if completes else _chat(asked, lost)
    body: Said = {"model": asked.model or "", **said, **_settings(asked, lost), "stream": asked.stream}
    for key, value in asked.extra.get(NAME, {}).items():
        if key in _OF_A_PROMPT and not completes:
            lost.append(f"extra.{key}")
        elif key != "options":
            body[key] = value
    lost += foreign(asked.extra, "extra")
    path = "/api/generate" if completes else "/api/chat"
    return Written(body=msgspec.json.encode(body), path=path, dropped=list(dict.fromkeys(lost)))


def _settings(asked: Asked, lost: list[str]) -> Said:
    """Write how the answer is to be made."""
    settings: Said = {}
    if (form := _format(asked.response_format, lost)) is not None:
        settings["format"] = form
    if (think := _think(asked, lost)) is not None:
        settings["think"] = think
    if asked.logprobs is not None:
        settings["logprobs"] = asked.logprobs
    if asked.top_logprobs is not None:
        settings["top_logprobs"] = asked.top_logprobs
    options = {word: asked.parameters[known] for word, known in OPTIONS.items() if known in asked.parameters}
    if options := options | fields(asked.extra.get(NAME, {}).get("options")):
        settings["options"] = options
    unsaid = {
        "parallel_tool_calls": asked.parallel_tool_calls is False,
        "user": asked.user,
        "metadata": asked.metadata,
        "conversation_id": asked.conversation_id,
        "show_reasoning": asked.show_reasoning is False,
        "output_type": asked.parameters.get(name.OUTPUT_TYPE) not in {None, "text", "json"},
    }
    lost += [word for word, there in unsaid.items() if there]
    lost += [_short(known) for known in asked.parameters if known not in _HANDLED]
    return settings


def _short(attribute: str) -> str:
    """Return an attribute's name without what all begin with: `choice.count`."""
    return attribute.removeprefix("gen_ai.").removeprefix("request.")


def _format(form: ResponseFormat | None, lost: list[str]) -> Any:
    if form is None or form.type == "text":
        return None
    if form.description is not None:
        lost.append("response_format.description")
    return form.schema if form.type == "json_schema" and isinstance(form.schema, dict) else "json"


def _think(asked: Asked, lost: list[str]) -> bool | str | None:
    level = asked.parameters.get(name.REASONING_LEVEL)
    budget = asked.reasoning_budget
    if budget:
        lost.append("reasoning_budget")
    if not isinstance(level, str):
        return None if budget is None else budget != 0
    if level not in _THINK:
        lost.append("reasoning.level")
    return _THINK.get(level, True)


def _prompt(asked: Asked, lost: list[str]) -> Said:
    """Write the completion of a prompt: there can be only one."""
    parts = [at for i, m in enumerate(asked.input_messages) for at in placed(m.parts, f"messages[{i}].parts")]
    texts = [(at, part) for at, part in parts if isinstance(part, Text)]
    lost += [f"{at}: text" for at, _ in texts[1:]]
    said = written([*texts[:1], *((at, part) for at, part in parts if not isinstance(part, Text))], lost)
    lost += [f"messages: {word}" for word in ("thinking", "tool_calls") if word in said]
    told = {"prompt": said["content"], "system": _system(asked, lost), "images": said.get("images")}
    return {key: value for key, value in told.items() if value}


def _system(asked: Asked, lost: list[str]) -> str:
    said = written(placed(asked.system_instructions, "system"), lost, BETWEEN)
    content: str = said.pop("content")
    lost += [f"system: {word}" for word in said]
    return content


def _chat(asked: Asked, lost: list[str]) -> Said:
    messages: list[Said] = []
    if system := _system(asked, lost):
        messages.append({"role": "system", "content": system})
    called = {
        part.id: part.name for m in asked.input_messages for part in m.parts if isinstance(part, ToolCall) and part.id
    }
    for index, message in enumerate(asked.input_messages):
        messages += _messages(message, f"messages[{index}]", called, lost)
    said: Said = {"messages": messages}
    choice = asked.tool_choice
    if choice is not None:
        if choice.mode in {"required", "tool"}:
            lost.append("tool_choice")
        lost += foreign(choice.extra, "tool_choice")
    # a model that is shown no tool calls none
    tools = [] if choice is not None and choice.mode == "none" else asked.tools
    if written_tools := [written_tool for tool in tools if (written_tool := _tool(tool, lost)) is not None]:
        said["tools"] = written_tools
    return said


def _messages(message: Message, path: str, called: dict[str, str], lost: list[str]) -> list[Said]:
    """Write one turn: each tool's result is a message of its own."""
    results = [
        written_result(part, at, part.name or called.get(part.id or ""), lost)
        for at, part in placed(message.parts, f"{path}.parts")
        if isinstance(part, ToolCallResponse)
    ]
    own = message.extra.get(NAME, {})
    lost += foreign(message.extra, path)
    if results and len(results) == len(message.parts):
        results[0] |= own
        return results
    rest = [(at, part) for at, part in placed(message.parts, f"{path}.parts") if not isinstance(part, ToolCallResponse)]
    said = written(rest, lost, "" if message.role == "assistant" else BETWEEN)
    if message.name and message.role != "tool":
        said["content"] = f"{message.name}: {said['content']}"
    return [*results, {"role": "system" if message.role == "developer" else message.role, **said, **own}]


def _tool(tool: Tool, lost: list[str]) -> Said | None:
    path = f"tools.{tool.name}"
    if tool.kind != "function":
        lost.append(path)
        return None
    if tool.strict:
        lost.append(f"{path}: strict")
    lost += foreign(tool.extra, path)
    rest = dict(tool.extra.get(NAME, {}))
    function: Said = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = {"type": "object", "properties": {}} if tool.parameters is None else tool.parameters
    return {"type": "function", "function": {**function, **fields(rest.pop("function", None))}, **rest}


OLLAMA_WRITER = Writer(name=NAME, request=_request, response=response, stream=OllamaStream, error=error)
