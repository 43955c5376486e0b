"""A conversation as a request to Anthropic's messages."""

import msgspec

from gateway.dialects.anthropic.read_parts import NAME
from gateway.dialects.anthropic.schema import fitted
from gateway.dialects.anthropic.thinking import add_thinking
from gateway.dialects.anthropic.write_parts import ID_FORM, Json, Placed, write_blocks
from gateway.dialects.conversation import ChatRequest, Message, Tool
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.custom_tools import SCHEMA
from gateway.dialects.shared.messages import cache_control, named, one_prompt, plain_text
from gateway.dialects.shared.tool_ids import identified
from gateway.dialects.shared.writer import Dropped, Written
from gateway.dialects.wire.json import merged

MAX_TOKENS = 4096
"""The limit if the client names none; the API requires one."""

_PARAMETERS = {
    name.TEMPERATURE: "temperature",
    name.TOP_P: "top_p",
    name.TOP_K: "top_k",
    name.STOP_SEQUENCES: "stop_sequences",
}
_ELSEWHERE = {name.MAX_TOKENS, name.STREAM, name.REASONING_LEVEL, name.OUTPUT_TYPE}


def write_request(request: ChatRequest) -> Written:
    """Write a request."""
    dropped = Dropped()
    request = one_prompt(request, dropped)
    limit = request.parameters.get(name.MAX_TOKENS)
    body: Json = {"model": request.model, "max_tokens": limit if isinstance(limit, int) else MAX_TOKENS}
    system, turns = _turns(request, dropped)
    if content := _content(system, dropped):
        body["system"] = content
    written = ((role, _content(parts, dropped)) for role, parts in turns)
    body["messages"] = [{"role": role, "content": content} for role, content in written if content]
    _add_parameters(body, request, dropped)
    if request.stream:
        body["stream"] = True
    _add_tools(body, request, dropped)
    add_thinking(body, request, dropped, limited=limit is not None)
    _add_format(body, request, dropped)
    if request.user:
        body["metadata"] = {"user_id": request.user}
    for value, word in (
        (request.logprobs, "logprobs"),
        (request.top_logprobs, "top_logprobs"),
        (request.metadata, "metadata"),
        (request.conversation_id, "conversation"),
    ):
        if value:
            dropped.add(word)
    dropped.foreign(request.extra, NAME)
    body = merged(body, request.extra.get(NAME, {}))
    return Written(body=msgspec.json.encode(body), path="/messages", dropped=dropped.names, media=dropped.media)


def _turns(request: ChatRequest, dropped: Dropped) -> tuple[list[Placed], list[tuple[str, list[Placed]]]]:
    """Return the system's parts, wherever they stand, and the turns that the dialect has: tool results are a user's."""
    system: list[Placed] = [(part, f"system.parts[{i}]") for i, part in enumerate(request.system_instructions)]
    turns: list[tuple[str, list[Placed]]] = []
    before = ""
    for number, message in enumerate(identified(request.input_messages, ID_FORM)):
        path = f"messages[{number}]"
        dropped.foreign(message.extra, NAME, path)
        placed = _placed(message, path, dropped)
        if message.role in {"system", "developer"}:
            system += placed
            continue
        role = "assistant" if message.role == "assistant" else "user"
        # A user's turn after tool results joins them; consecutive turns of the assistant are one.
        if turns and (before == "tool" if role == "user" else before == "assistant"):
            turns[-1][1].extend(placed)
        else:
            turns.append((role, placed))
        before = message.role
    return system, turns


def _placed(message: Message, path: str, dropped: Dropped) -> list[Placed]:
    if message.name and message.role == "assistant":
        dropped.add(f"{path}.name")
    parts = named(message)
    before = len(parts) - len(message.parts)  # the name, if it is a text of its own
    return [(part, f"{path}.parts[{max(0, i - before)}]") for i, part in enumerate(parts)]


def _content(placed: list[Placed], dropped: Dropped) -> str | list[Json]:
    text = plain_text([part for part, _ in placed])
    return text if text is not None and text.strip() else write_blocks(placed, dropped)


def _add_parameters(body: Json, request: ChatRequest, dropped: Dropped) -> None:
    body |= name.write_parameters(request, _PARAMETERS, _ELSEWHERE, dropped)
    if body.get("temperature", 0) > 1:
        body["temperature"] = 1.0
        dropped.add("temperature: above 1")
    if "stop_sequences" in body:
        # one that is white space alone is refused
        sequences = [each for each in body["stop_sequences"] if each.strip()]
        if sequences != body["stop_sequences"]:
            dropped.add("stop_sequences: white space")
        body["stop_sequences"] = sequences
        if not sequences:
            del body["stop_sequences"]


def _add_tools(body: Json, request: ChatRequest, dropped: Dropped) -> None:
    """Write the tools and the choice of them, which is refused without tools."""
    choice = request.tool_choice
    if tools := [written for tool in request.tools if (written := _tool(tool, dropped)) is not None]:
        body["tools"] = tools
    elif choice is not None and choice.mode in {"required", "tool"}:
        dropped.add("tool_choice")
    if choice is not None:
        dropped.foreign(choice.extra, NAME, "tool_choice")
    if not tools:
        return
    if choice is not None:
        mode = {"auto": "auto", "required": "any", "none": "none", "tool": "tool"}[choice.mode]
        body["tool_choice"] = {"type": mode} | ({"name": choice.name} if choice.mode == "tool" else {})
    if request.parallel_tool_calls is not None:
        written = body.setdefault("tool_choice", {"type": "auto"})
        if written["type"] != "none":
            written["disable_parallel_tool_use"] = not request.parallel_tool_calls


def _tool(tool: Tool, dropped: Dropped) -> Json | None:
    own: Json = tool.extra.get(NAME, {})
    if tool.kind == "server":
        if not own:
            dropped.add(f"tools.{tool.name}")
        return own or None
    dropped.foreign(tool.extra, NAME, f"tools.{tool.name}")
    schema = tool.parameters if isinstance(tool.parameters, dict) else {}
    if tool.kind == "custom":
        schema = SCHEMA
    if "type" not in schema:
        schema = {"type": "object", "properties": {}, **schema}
    if tool.strict:
        schema = fitted(schema, f"tools.{tool.name}.parameters", dropped)
    written: Json = {"name": tool.name, "input_schema": schema}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.strict is not None:
        written["strict"] = tool.strict
    if tool.cache:
        written["cache_control"] = cache_control(tool.cache)
    return written | own


def _add_format(body: Json, request: ChatRequest, dropped: Dropped) -> None:
    form = request.response_format
    if form is None or form.type == "text":
        return
    if form.type == "json" or form.schema is None:
        dropped.add("response_format")
        return
    if form.description:
        dropped.add("response_format.description")
    schema = fitted(form.schema, "response_format.schema", dropped)
    body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
