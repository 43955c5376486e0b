"""Custom tools, which take any text, for providers that have functions only: a function of one string, `input`.

Writers of dialects without custom tools write them so; here the calls that come back are turned into calls
of the client's tools, their text as it streams.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.dialects.conversation import ChatRequest, ChatResponse, Part, Tool, ToolCall
from gateway.dialects.events import Event, PartBegun, PartDone, PartGrown

_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
# The part of the inside of a JSON string that may be decoded: whole characters and escapes, surrogates in pairs.
_WHOLE = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]|\\u(?:[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'
    r"|(?![dD][89abAB])[0-9a-fA-F]{4}))*"
)

SCHEMA = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


def custom_tool_names(request: ChatRequest) -> frozenset[str]:
    """Return the names of the custom tools that a request offers."""
    return frozenset(tool.name for tool in request.tools if tool.kind == "custom")


def as_functions(request: ChatRequest) -> ChatRequest:
    """Return a request whose custom tools, and the calls of them so far, are functions of one string."""
    tools = [_function(tool) if tool.kind == "custom" else tool for tool in request.tools]
    messages = [
        replace(message, parts=[_called(part) for part in message.parts])
        if any(isinstance(part, ToolCall) and part.custom for part in message.parts)
        else message
        for message in request.input_messages
    ]
    return replace(request, tools=tools, input_messages=messages)


def _function(tool: Tool) -> Tool:
    return replace(tool, kind="function", parameters=SCHEMA)


def _called(part: Part) -> Part:
    if not isinstance(part, ToolCall) or not part.custom:
        return part
    return replace(part, custom=False, arguments={"input": part.arguments or ""})


def restore_custom_calls(response: ChatResponse, custom: frozenset[str]) -> ChatResponse:
    """Return a whole response with the calls of custom tools as the client knows them."""
    if not custom:
        return response
    messages = [
        replace(message, parts=[_restored(part, custom) for part in message.parts])
        for message in response.output_messages
    ]
    return replace(response, output_messages=messages)


def _restored(part: Part, custom: frozenset[str]) -> Part:
    if not isinstance(part, ToolCall) or part.custom or part.name not in custom:
        return part
    arguments: Any = part.arguments
    value = arguments.get("input") if isinstance(arguments, dict) else arguments
    text = value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
    return replace(part, arguments=text, custom=True)


class CustomToolRestorer:
    """Does the same to the events of a stream."""

    def __init__(self, custom: frozenset[str]) -> None:
        self._custom = custom
        self._calls: dict[tuple[int, int], _Input] = {}

    def restore(self, events: Iterable[Event]) -> Iterator[Event]:
        """Return the events with calls of custom tools as the client knows them."""
        for event in events:
            if isinstance(event, PartBegun | PartDone):
                part = _restored(event.part, self._custom)
                if part is event.part:
                    yield event
                elif isinstance(event, PartBegun):
                    self._calls[event.choice, event.index] = _Input()
                    yield PartBegun(choice=event.choice, index=event.index, part=_begun(part))
                else:
                    yield PartDone(choice=event.choice, index=event.index, part=part)
            elif isinstance(event, PartGrown) and (text := self._calls.get((event.choice, event.index))) is not None:
                if piece := text.grow(event.text):
                    yield PartGrown(choice=event.choice, index=event.index, text=piece)
            else:
                yield event


def _begun(part: Part) -> Part:
    return replace(part, arguments=None) if isinstance(part, ToolCall) else part


class _Input:
    """The text within `{"input": "..."}`, decoded as its JSON comes."""

    __slots__ = ("_begun", "_ended", "_rest")

    def __init__(self) -> None:
        self._rest = ""
        self._begun = False
        self._ended = False

    def grow(self, piece: str) -> str:
        """Take more of the JSON; return the text that is known by it."""
        if self._ended:
            return ""
        self._rest += piece
        if not self._begun:
            head = _HEAD.match(self._rest)
            if head is None:
                return ""
            self._begun = True
            self._rest = self._rest[head.end() :]
        whole = _WHOLE.match(self._rest)
        end = whole.end() if whole is not None else 0
        text, self._rest = self._rest[:end], self._rest[end:]
        self._ended = self._rest.startswith('"')
        decoded: str = msgspec.json.decode(f'"{text}"', strict=False) if text else ""
        return decoded
