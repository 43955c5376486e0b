"""Custom tools, which take any text, for providers that have functions only: a function of one string, `input`.

Writers of dialects without custom tools write them so; here the calls that come back are turned into what the client
asked for, their text as it streams.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.dialects.conversation import Answered, Asked, Part, ToolCall
from gateway.dialects.events import Event, PartBegun, PartDone, PartGrown

_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
# What may be decoded of the inside of a JSON string: whole characters and escapes, surrogates in pairs.
_WHOLE = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]|\\u(?:[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'
    r"|(?![dD][89abAB])[0-9a-fA-F]{4}))*"
)


def names_of(asked: Asked) -> frozenset[str]:
    """Return the names of the custom tools that a request offers."""
    return frozenset(tool.name for tool in asked.tools if tool.kind == "custom")


def restored(answered: Answered, custom: frozenset[str]) -> Answered:
    """Return a whole response with the calls of custom tools as the client knows them."""
    if not custom:
        return answered
    messages = [
        msgspec.structs.replace(message, parts=[_restored(part, custom) for part in message.parts])
        for message in answered.output_messages
    ]
    return msgspec.structs.replace(answered, output_messages=messages)


def _restored(part: Part, custom: frozenset[str]) -> Part:
    if not isinstance(part, ToolCall) or part.custom or part.name not in custom:
        return part
    arguments: Any = part.arguments
    said = arguments.get("input") if isinstance(arguments, dict) else arguments
    text = said if isinstance(said, str) else "" if said is None else msgspec.json.encode(said).decode()
    return msgspec.structs.replace(part, arguments=text, custom=True)


class Restoring:
    """Does the same to the events of a stream."""

    def __init__(self, custom: frozenset[str]) -> None:
        self._custom = custom
        self._calls: dict[tuple[int, int], _Input] = {}

    def restore(self, told: Iterable[Event]) -> Iterator[Event]:
        """Give the events as the client's dialect is to be told of them."""
        for event in told:
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
    return msgspec.structs.replace(part, arguments=None) if isinstance(part, ToolCall) else part


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
