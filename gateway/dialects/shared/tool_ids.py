"""Ids of tool calls: each call of a request or a response has one, no two the same, in characters that the API takes.

Providers give them in any form, twice (`call_0` in every turn), or not at all; a client's next request refers to a call
by the id that it was sent.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import count
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from gateway.dialects.conversation import Message, Part, ServerToolCall, ToolCall, ToolCallResponse


class IdForm(Struct, frozen=True):
    """The ids that an API takes: `refused` are characters that become `_`; an id over `longest` is cut to a hash.

    >>> IdForm(re.compile(r"[^a-z]")).fit("call/a")
    'call_a'
    """

    refused: re.Pattern[str] | None = None
    longest: int | None = None

    def fit(self, call_id: str) -> str:
        """Return an id in this form; one that is in it already stays."""
        plain = self.refused.sub("_", call_id) if self.refused is not None else call_id
        if self.longest is None or len(plain) <= self.longest:
            return plain
        return f"{plain[: self.longest - 9]}_{crc32(call_id.encode('utf-8', 'replace')):08x}"


ANY_FORM = IdForm()


class _Taken:
    """Gives out ids of one form, each once."""

    def __init__(self, form: IdForm) -> None:
        self._form = form
        self._taken: set[str] = set()

    def take(self, wanted: str) -> str:
        """Return the id, or the first free one of `<id>_2`, `<id>_3`, ..."""
        numbered = (wanted if number == 1 else f"{wanted}_{number}" for number in count(1))
        free = next(fit for each in numbered if (fit := self._form.fit(each)) not in self._taken)
        self._taken.add(free)
        return free


def made_id(response_id: str, index: int) -> str:
    """Return an id for a call without one: the same for the same place in the same response, another in other turns."""
    return f"call_{crc32(response_id.encode('utf-8', 'replace')):08x}_{index}"


class ResponseIds:
    """The ids of the calls in one response, in the order in which they are asked for.

    Attributes:
        response_id: The response's own id, or any text that differs from turn to turn.

    """

    def __init__(self, response_id: str, form: IdForm = ANY_FORM) -> None:
        self.response_id = response_id
        self._taken = _Taken(form)
        self._ids: dict[tuple[int, int], str] = {}

    def __repr__(self) -> str:
        return f"<ResponseIds of {self.response_id}: {len(self._ids)}>"

    def id_of(self, call: ToolCall | ServerToolCall, index: int, choice: int = 0) -> str:
        """Return the id of the call at this place, always the same."""
        at = (choice, index)
        if at not in self._ids:
            self._ids[at] = self._taken.take(call.id or made_id(self.response_id, index))
        return self._ids[at]

    def identified(self, parts: Iterable[Part], choice: int = 0) -> list[Part]:
        """Return the parts of a choice in which each call of the client's tools has its id."""
        return [
            replace(part, id=self.id_of(part, index, choice)) if isinstance(part, ToolCall) else part
            for index, part in enumerate(parts)
        ]


def identified(messages: list[Message], form: IdForm = ANY_FORM, *, names: bool = False) -> list[Message]:
    """Return messages in which every tool call has an id of its own, and every result that of its call.

    A missing id is `call_1`, `call_2`, ..; of two calls with one id the second is `<id>_2`. A result belongs to the
    first call of its id that has no result yet, or the last of that id; without an id, to the first call of its tool's
    name that has no result yet, or the first of any name. `names`: a result without a name gets that of its call.
    """
    parts = [p for m in messages for p in m.parts if isinstance(p, ToolCall | ToolCallResponse)]
    ids = [part.id for part in parts if isinstance(part, ToolCall)]
    fit = all(part.id and form.fit(part.id) == part.id for part in parts)
    if fit and len(set(ids)) == len(ids) and not names:
        return messages
    calls = _Calls(form, {part.id for part in parts}, names=names)
    return [
        message
        if not any(isinstance(part, ToolCall | ToolCallResponse) for part in message.parts)
        else replace(message, parts=[calls.identified(part) for part in message.parts])
        for message in messages
    ]


class _Calls:
    """The calls of a conversation so far: those that wait for a result, and the ids they were given."""

    def __init__(self, form: IdForm, given: set[str | None], *, names: bool) -> None:
        self._names = names
        self._fresh: Iterator[str] = (made for n in count(1) if (made := f"call_{n}") not in given)
        self._form = form
        self._taken = _Taken(form)
        self._waiting: list[tuple[ToolCall, str]] = []
        self._last: dict[str | None, str] = {}

    def identified(self, part: Part) -> Part:
        """Return a call or a result with its id; any other part as it is."""
        if isinstance(part, ToolCall):
            own = self._taken.take(part.id or next(self._fresh))
            self._waiting.append((part, own))
            if part.id:
                self._last[part.id] = own
            return replace(part, id=own)
        if not isinstance(part, ToolCallResponse):
            return part
        return self._result(part)

    def _result(self, part: ToolCallResponse) -> ToolCallResponse:
        fitting = [(c, own) for c, own in self._waiting if (c.id == part.id if part.id else c.name == part.name)]
        if not fitting and not part.id:
            fitting = self._waiting
        if fitting:
            call, own = found = fitting[0]
            self._waiting.remove(found)
            return replace(part, id=own, name=part.name or (call.name if self._names else None))
        if part.id:
            return replace(part, id=self._last.get(part.id) or self._form.fit(part.id))
        return replace(part, id=self._taken.take(next(self._fresh)))
