"""What an OpenAI-compatible provider does otherwise than OpenAI, as data, and what is done about it. Pure.

`fitted` changes what is asked before it is written as a chat completion, and names what that loses; `renamed` changes
the names of fields in what was written. Bodies that are relayed as they came are not touched.
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
from gateway.dialects.openai_chat.read_request import NAME as OPENAI_CHAT
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.custom_tools import as_functions
from gateway.dialects.shared.messages import named
from gateway.dialects.shared.tool_ids import identified
from gateway.dialects.shared.unsupported import Dropped
from gateway.dialects.shared.writer import Written

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
MODES = frozenset({"auto", "none", "required", "tool"})


class Quirks(Struct, frozen=True, kw_only=True):
    """How a provider's chat completions differ; the defaults are OpenAI's.

    Attributes:
        refuses: Fields, by OpenAI's names, that make the provider refuse a request, or that it passes over.
        refuses_by_model: The same for models whose names match the expression from their beginning; all that match.
        takes: The only fields that are taken of those that `ChatRequest` has no place for; None where all are.
        max_tokens: What the field for the most tokens is called.
        seed: What the field for the seed is called.
        reasoning: The field of an assistant's message in which its reasoning goes back; None where there is none.
        developer: Whether there is a role `developer`; its messages are the system's where there is not.
        system: Whether system messages may stand anywhere, or come first and are one.
        alternates: Whether a user's or an assistant's turns must not follow one another.
        names: The roles whose messages may have a `name`; elsewhere a user's is put into the text.
        tool_ids: Whether a tool call's id may be any text, or has nine letters and digits.
        tool_choice: The modes that are understood; `tool` is a tool by its name.
        strict: Whether a tool may say `strict`.
        custom: Whether a tool may be one that takes any text; else it is a function of one text.
        marks: Whether marks of what is to be cached are taken, as OpenRouter takes them from Anthropic.
        json_object: Whether JSON may be asked for without a schema.
        json_schema: Whether it may be asked for with one.

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
        """Return the fields that are refused of this model."""
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
# Fields of `ChatRequest`, and what they are without a word.
_FIELDS: dict[str, tuple[str, Any]] = {
    "logprobs": ("logprobs", None),
    "top_logprobs": ("top_logprobs", None),
    "parallel_tool_calls": ("parallel_tool_calls", None),
    "user": ("user", None),
    "metadata": ("metadata", {}),
    "response_format": ("response_format", None),
    "stream_options": ("include_usage", None),  # never lost: who cannot be asked for the usage tells it anyway
}
# What means the same unsaid.
_DEFAULTS: dict[str, Any] = {
    "logprobs": False,
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
}


def fitted(quirks: Quirks, asked: ChatRequest) -> tuple[ChatRequest, list[str]]:
    """Return what is asked as the provider takes it, and the names of what that loses."""
    dropped = Dropped()
    refused = quirks.refused(asked.model)
    if quirks.takes is not None:
        refused = refused.union(asked.extra.get(OPENAI_CHAT, {}).keys() - quirks.takes)
    asked = _without(refused, asked, dropped)
    asked = asked if quirks.custom else _without_custom(asked, dropped)
    asked = _with_tools(quirks, asked, sayable="tool_choice" not in refused, dropped=dropped)
    asked = _with_format(quirks, asked, dropped)
    turns = identified(asked.input_messages) if quirks.tool_ids == "nine" else asked.input_messages
    messages = [_message(quirks, f"messages[{n}]", each, dropped) for n, each in enumerate(turns)]
    asked = replace(asked, input_messages=messages)
    if quirks.system == "first":
        asked = _system_first(asked, dropped)
    messages = [each for each in asked.input_messages if each.parts or each.role != "assistant"]
    return replace(asked, input_messages=_merged(messages) if quirks.alternates else messages), dropped.names


def _without(refused: frozenset[str], asked: ChatRequest, dropped: Dropped) -> ChatRequest:
    changed: dict[str, Any] = {}
    parameters = dict(asked.parameters)
    own = dict(asked.extra.get(OPENAI_CHAT, {}))
    for field in sorted(refused):
        if field in _PARAMETERS:
            value = parameters.pop(_PARAMETERS[field], None)
            if field == "reasoning_effort":
                value = value or asked.reasoning_budget
                changed["reasoning_budget"] = None
        elif field in _FIELDS:
            attribute, changed[attribute] = _FIELDS[field]
            value = getattr(asked, attribute)
        else:
            value = own.pop(field, None)
        if field != "stream_options" and value not in (None, {}, _DEFAULTS.get(field)):
            dropped.add(field)
    extra = {**asked.extra, OPENAI_CHAT: own} if OPENAI_CHAT in asked.extra else asked.extra
    return replace(asked, parameters=parameters, extra=extra, **changed)


def _without_custom(asked: ChatRequest, dropped: Dropped) -> ChatRequest:
    """Make functions of custom tools; one has no place for the form of their text."""
    tools = []
    for tool in asked.tools:
        own = tool.extra.get(OPENAI_CHAT)
        if tool.kind == "custom" and own:
            dropped.add(f"tools.{tool.name}.format")
            tools.append(replace(tool, extra={key: value for key, value in tool.extra.items() if key != OPENAI_CHAT}))
        else:
            tools.append(tool)
    return as_functions(replace(asked, tools=tools))


def _with_tools(quirks: Quirks, asked: ChatRequest, *, sayable: bool, dropped: Dropped) -> ChatRequest:
    modes = quirks.tool_choice if sayable else frozenset()
    tools, choice = asked.tools, asked.tool_choice
    if not quirks.strict:
        for tool in tools:
            if tool.strict:
                dropped.add(f"tools.{tool.name}.strict")
        tools = [replace(tool, strict=None) for tool in tools]
    if choice is not None and choice.mode not in modes:
        if choice.mode == "none":  # a model that is shown no tool calls none
            tools, choice = [], None
        elif choice.mode == "tool" and "required" in modes:  # and one that is shown a single tool calls that
            tools = [tool for tool in tools if tool.name == choice.name]
            choice = ToolChoice(mode="required", extra=choice.extra)
        else:
            if choice.mode != "auto":
                dropped.add("tool_choice")
            choice = None
    return replace(asked, tools=tools, tool_choice=choice)


def _with_format(quirks: Quirks, asked: ChatRequest, dropped: Dropped) -> ChatRequest:
    form = asked.response_format
    if form is None:
        return asked
    if form.type == "json_schema" and not quirks.json_schema:
        dropped.add("response_format.schema")
        form = ResponseFormat(type="json")
    elif form.type == "json" and not quirks.json_object:
        form = ResponseFormat(type="json_schema", name="object", schema={"type": "object"})
    return replace(asked, response_format=form)


def _message(quirks: Quirks, path: str, message: Message, dropped: Dropped) -> Message:
    """Return one turn as the provider takes it; paths are those of what was asked."""
    parts = message.parts
    called = message.name
    if called and message.role not in quirks.names:
        parts = named(message)
        if message.role in {"assistant", "tool"}:
            dropped.add(f"{path}.name")
        called = None
    kept: list[Part] = []
    for index, part in enumerate(parts):
        if isinstance(part, Reasoning) and quirks.reasoning is None and message.role == "assistant":
            dropped.add(f"{path}.parts[{index}]: reasoning")
        else:
            kept.append(_part(quirks, part))
    role = "system" if message.role == "developer" and not quirks.developer else message.role
    return replace(message, role=role, parts=kept, name=called)


def _part(quirks: Quirks, part: Part) -> Part:
    if not isinstance(part, ToolCall | ToolCallResponse):
        return part
    if quirks.tool_ids == "nine" and part.id:
        part = replace(part, id=nine(part.id))
    if isinstance(part, ToolCallResponse) and "tool" not in quirks.names:
        return replace(part, name=None)  # its call has it
    return part


def nine(tool_id: str) -> str:
    """Return an id of nine letters and digits: the one that is given if it is such, else the same for the same."""
    if re.fullmatch("[a-zA-Z0-9]{9}", tool_id):
        return tool_id
    number = int.from_bytes(blake2b(tool_id.encode("utf-8", "replace"), digest_size=8).digest())
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return "".join(digits[number // 36**place % 36] for place in range(9))


def _system_first(asked: ChatRequest, dropped: Dropped) -> ChatRequest:
    """Make one system message of all, before the others."""
    first = next((n for n, m in enumerate(asked.input_messages) if m.role not in _SYSTEM), len(asked.input_messages))
    parts = list(asked.system_instructions)
    rest: list[Message] = []
    for number, message in enumerate(asked.input_messages):
        if message.role not in _SYSTEM:
            rest.append(message)
            continue
        parts += message.parts
        if number > first:
            dropped.add(f"messages[{number}]: place")
    return replace(asked, system_instructions=parts, input_messages=rest)


_SYSTEM = frozenset({"system", "developer"})


def _merged(messages: list[Message]) -> list[Message]:
    """Return turns of which no two that follow one another are the user's, or the assistant's."""
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last is not None and last.role == message.role and message.role in {"user", "assistant"}:
            merged[-1] = replace(last, parts=[*last.parts, *message.parts], extra={**last.extra, **message.extra})
        else:
            merged.append(message)
    return merged


def renamed(quirks: Quirks, written: Written) -> Written:
    """Return a written chat completion with its fields called as the provider calls them."""
    body: dict[str, Any] = msgspec.json.decode(written.body)
    other = "max_tokens" if quirks.max_tokens == "max_completion_tokens" else "max_completion_tokens"
    names = {other: quirks.max_tokens, "seed": quirks.seed}
    changed = {names.get(key, key): value for key, value in body.items()}
    if quirks.reasoning not in {None, "reasoning_content"}:
        thoughts = {"reasoning_content": quirks.reasoning}
        changed["messages"] = [{thoughts.get(k, k): v for k, v in each.items()} for each in body.get("messages", [])]
    return written if changed == body else replace(written, body=msgspec.json.encode(changed))
