"""The differences of OpenAI-compatible providers from OpenAI, as data, and the changes they require. Pure.

`fitted` changes a chat request before it is written and names what that loses; `renamed` renames fields of the body
that was written. Bodies relayed in their own dialect are not changed. A provider's limits on names and ids are `names`
and `tool_ids` here; those of a whole dialect (Bedrock's) are in its writer.
"""

import re
from hashlib import blake2b
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.dialects.conversation import (
    ChatRequest,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
)
from gateway.dialects.openai_chat.read_parts import NAME as OPENAI_CHAT
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.custom_tools import as_functions
from gateway.dialects.shared.messages import named
from gateway.dialects.shared.tool_ids import identified
from gateway.dialects.shared.writer import Dropped, Written

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
MODES = frozenset({"auto", "none", "required", "tool"})


class Quirks(Struct, frozen=True, kw_only=True):
    """Differences of a provider's chat completions; the defaults are OpenAI's.

    Attributes:
        refuses: Fields, by OpenAI's names, for which the provider refuses a request, or which it ignores.
        refuses_by_model: The same for models whose names match the expression at their beginning; all matches count.
        takes: The fields accepted of those without an attribute in `ChatRequest`; None if all are.
        max_tokens: The name of the field for the maximum of output tokens.
        seed: The name of the field for the sampling seed.
        reasoning: The field of an assistant's message for its reasoning; None if there is none.
        developer: Whether there is a role `developer`; without it its messages get the role `system`.
        system: Whether system messages are allowed anywhere, or there is one, which is first.
        alternates: Whether consecutive messages of a user or of an assistant are refused.
        names: The roles whose messages may have a `name`; without one a user's is prepended to the text.
        tool_ids: Whether a tool call's id may be any text, or must be nine letters and digits.
        tool_choice: The supported modes; `tool` is a tool by its name.
        strict: Whether a tool may have `strict`.
        custom: Whether a tool may take free text; else it becomes a function of one text.
        marks: Whether cache marks are accepted, as OpenRouter accepts Anthropic's.
        json_object: Whether JSON without a schema is supported.
        json_schema: Whether JSON with a schema is supported.

    """

    refuses: frozenset[str] = frozenset()
    refuses_by_model: tuple[tuple[str, frozenset[str]], ...] = ()
    takes: frozenset[str] | None = None
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_completion_tokens"
    seed: Literal["seed", "random_seed"] = "seed"
    reasoning: Literal["reasoning_content", "reasoning"] | None = None
    developer: bool = True
    system: Literal["anywhere", "first"] = "anywhere"
    alternates: bool = False
    names: frozenset[str] = ROLES
    tool_ids: Literal["any", "nine"] = "any"
    tool_choice: frozenset[str] = MODES
    strict: bool = True
    custom: bool = True
    marks: bool = False
    json_object: bool = True
    json_schema: bool = True

    def refused(self, model: str | None) -> frozenset[str]:
        """Return the fields that are refused for a model."""
        of_model = [fields for names, fields in self.refuses_by_model if model and re.match(names, model)]
        return self.refuses.union(*of_model)


_PARAMETERS = {
    "max_tokens": name.MAX_TOKENS,
    "n": name.CHOICE_COUNT,
    "temperature": name.TEMPERATURE,
    "top_p": name.TOP_P,
    "top_k": name.TOP_K,
    "seed": name.SEED,
    "stop": name.STOP_SEQUENCES,
    "frequency_penalty": name.FREQUENCY_PENALTY,
    "presence_penalty": name.PRESENCE_PENALTY,
    "reasoning_effort": name.REASONING_LEVEL,
}
# Attributes of `ChatRequest`, and their values if not set.
_FIELDS: dict[str, tuple[str, Any]] = {
    "logprobs": ("logprobs", None),
    "top_logprobs": ("top_logprobs", None),
    "parallel_tool_calls": ("parallel_tool_calls", None),
    "user": ("user", None),
    "metadata": ("metadata", {}),
    "response_format": ("response_format", None),
    "stream_options": ("include_usage", None),  # never lost: providers that refuse it report the usage anyway
}
# Values that mean the same as no value.
_DEFAULTS: dict[str, Any] = {
    "logprobs": False,
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
}


def fitted(quirks: Quirks, request: ChatRequest) -> tuple[ChatRequest, list[str]]:
    """Return a request in the form that the provider accepts, and the names of what is dropped."""
    dropped = Dropped()
    refused = quirks.refused(request.model)
    if quirks.takes is not None:
        refused = refused.union(request.extra.get(OPENAI_CHAT, {}).keys() - quirks.takes)
    request = _without(refused, request, dropped)
    request = request if quirks.custom else _without_custom(request, dropped)
    request = _with_tools(quirks, request, supported="tool_choice" not in refused, dropped=dropped)
    request = _with_format(quirks, request, dropped)
    turns = identified(request.input_messages) if quirks.tool_ids == "nine" else request.input_messages
    messages = [_message(quirks, f"messages[{n}]", each, dropped) for n, each in enumerate(turns)]
    request = replace(request, input_messages=messages)
    if quirks.system == "first":
        request = _system_first(request, dropped)
    messages = [each for each in request.input_messages if each.parts or each.role != "assistant"]
    return replace(request, input_messages=_merged(messages) if quirks.alternates else messages), dropped.names


def _without(refused: frozenset[str], request: ChatRequest, dropped: Dropped) -> ChatRequest:
    changed: dict[str, Any] = {}
    parameters = dict(request.parameters)
    own = dict(request.extra.get(OPENAI_CHAT, {}))
    for field in sorted(refused):
        if field in _PARAMETERS:
            value = parameters.pop(_PARAMETERS[field], None)
            if field == "reasoning_effort":
                value = value or request.reasoning_budget
                changed["reasoning_budget"] = None
        elif field in _FIELDS:
            attribute, changed[attribute] = _FIELDS[field]
            value = getattr(request, attribute)
        else:
            value = own.pop(field, None)
        if field != "stream_options" and value not in (None, {}, _DEFAULTS.get(field)):
            dropped.add(field)
    extra = {**request.extra, OPENAI_CHAT: own} if OPENAI_CHAT in request.extra else request.extra
    return replace(request, parameters=parameters, extra=extra, **changed)


def _without_custom(request: ChatRequest, dropped: Dropped) -> ChatRequest:
    """Replace custom tools by functions, which have no place for a grammar."""
    tools = []
    for tool in request.tools:
        own = tool.extra.get(OPENAI_CHAT)
        if tool.kind == "custom" and own:
            dropped.add(f"tools.{tool.name}.format")
            tools.append(replace(tool, extra={key: value for key, value in tool.extra.items() if key != OPENAI_CHAT}))
        else:
            tools.append(tool)
    return as_functions(replace(request, tools=tools))


def _with_tools(quirks: Quirks, request: ChatRequest, *, supported: bool, dropped: Dropped) -> ChatRequest:
    modes = quirks.tool_choice if supported else frozenset()
    tools, choice = request.tools, request.tool_choice
    if not quirks.strict:
        for tool in tools:
            if tool.strict:
                dropped.add(f"tools.{tool.name}.strict")
        tools = [replace(tool, strict=None) for tool in tools]
    if choice is not None and choice.mode not in modes:
        if choice.mode == "none":  # without tools the model calls none
            tools, choice = [], None
        elif choice.mode == "tool" and "required" in modes:  # with a single tool it calls that one
            tools = [tool for tool in tools if tool.name == choice.name]
            choice = ToolChoice(mode="required", extra=choice.extra)
        else:
            if choice.mode != "auto":
                dropped.add("tool_choice")
            choice = None
    return replace(request, tools=tools, tool_choice=choice)


def _with_format(quirks: Quirks, request: ChatRequest, dropped: Dropped) -> ChatRequest:
    form = request.response_format
    if form is None:
        return request
    if form.type == "json_schema" and not quirks.json_schema:
        dropped.add("response_format.schema")
        form = ResponseFormat(type="json")
    elif form.type == "json" and not quirks.json_object:
        form = ResponseFormat(type="json_schema", name="object", schema={"type": "object"})
    return replace(request, response_format=form)


def _message(quirks: Quirks, path: str, message: Message, dropped: Dropped) -> Message:
    """Return one message in the form that the provider accepts; `path` names it in the request."""
    parts = message.parts
    own_name = message.name
    if own_name and message.role not in quirks.names:
        parts = named(message)
        if message.role in {"assistant", "tool"}:
            dropped.add(f"{path}.name")
        own_name = None
    parts_left: list[Part] = []
    for index, part in enumerate(parts):
        if isinstance(part, Reasoning) and quirks.reasoning is None and message.role == "assistant":
            dropped.add(f"{path}.parts[{index}]: reasoning")
        else:
            parts_left.append(_part(quirks, part))
    role = "system" if message.role == "developer" and not quirks.developer else message.role
    return replace(message, role=role, parts=parts_left, name=own_name)


def _part(quirks: Quirks, part: Part) -> Part:
    if not isinstance(part, ToolCall | ToolCallResponse):
        return part
    if quirks.tool_ids == "nine" and part.id:
        part = replace(part, id=nine(part.id))
    if isinstance(part, ToolCallResponse) and "tool" not in quirks.names:
        return replace(part, name=None)  # the call has it
    return part


def nine(tool_id: str) -> str:
    """Return an id of nine letters and digits: the given one if it is valid, else one derived from it."""
    if re.fullmatch("[a-zA-Z0-9]{9}", tool_id):
        return tool_id
    number = int.from_bytes(blake2b(tool_id.encode("utf-8", "replace"), digest_size=8).digest())
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return "".join(digits[number // 36**place % 36] for place in range(9))


def _system_first(request: ChatRequest, dropped: Dropped) -> ChatRequest:
    """Merge all system messages into one before the others."""
    first = next(
        (n for n, m in enumerate(request.input_messages) if m.role not in _SYSTEM), len(request.input_messages)
    )
    parts = list(request.system_instructions)
    rest: list[Message] = []
    for number, message in enumerate(request.input_messages):
        if message.role not in _SYSTEM:
            rest.append(message)
            continue
        parts += message.parts
        if number > first:
            dropped.add(f"messages[{number}]: place")
    return replace(request, system_instructions=parts, input_messages=rest)


_SYSTEM = frozenset({"system", "developer"})


def _merged(messages: list[Message]) -> list[Message]:
    """Merge consecutive messages of the user, and of the assistant."""
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last is not None and last.role == message.role and message.role in {"user", "assistant"}:
            merged[-1] = replace(last, parts=[*last.parts, *message.parts], extra={**last.extra, **message.extra})
        else:
            merged.append(message)
    return merged


def renamed(quirks: Quirks, written: Written) -> Written:
    """Return a written chat completion with the provider's names of fields."""
    body: dict[str, Any] = msgspec.json.decode(written.body)
    other = "max_tokens" if quirks.max_tokens == "max_completion_tokens" else "max_completion_tokens"
    names = {other: quirks.max_tokens, "seed": quirks.seed}
    changed = {names.get(key, key): value for key, value in body.items()}
    if quirks.reasoning not in {None, "reasoning_content"}:
        thoughts = {"reasoning_content": quirks.reasoning}
        changed["messages"] = [{thoughts.get(k, k): v for k, v in each.items()} for each in body.get("messages", [])]
    return written if changed == body else replace(written, body=msgspec.json.encode(changed))
