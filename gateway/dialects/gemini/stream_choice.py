"""One candidate of Gemini's streams as far as it has come, and its events.

Texts of one kind that follow each other are one part, up to a signature, which belongs to the text before it.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import Extra, Message, Part, Reasoning, Text, TokenLogprob, ToolCall
from gateway.dialects.gemini.read_parts import NAME
from gateway.dialects.gemini.read_response import cited
from gateway.dialects.gemini.stream_arguments import Arguments
from gateway.dialects.wire.json import json_value


class Open:
    """The part that grows: a text, reasoning, or a call whose arguments come in pieces (`arguments`)."""

    __slots__ = ("arguments", "logprobs", "part", "pieces")

    def __init__(self, part: Text | Reasoning | ToolCall, arguments: Arguments | None = None) -> None:
        self.part = part
        self.arguments = arguments
        self.pieces: list[str] = []
        self.logprobs: list[TokenLogprob] = []

    def add_extra(self, extra: Extra) -> None:
        """Keep the fields beside a later piece."""
        if extra:
            own = {name: {**self.part.extra.get(name, {}), **fields} for name, fields in extra.items()}
            self.part = replace(self.part, extra={**self.part.extra, **own})

    @property
    def signed(self) -> bool:
        """Whether a signature has come; a piece after it begins another part."""
        extra = self.part.extra
        return bool(extra) and any("thoughtSignature" in own or "thought_signature" in own for own in extra.values())

    def whole(self, own: dict[str, Any]) -> Part:
        """Return the part as far as it has come; `own` are the candidate's fields, among them the sources of a text."""
        joined = "".join(self.pieces)
        match self.part:
            case ToolCall():
                return replace(self.part, arguments=json_value(joined))
            case Text():
                (part,) = cited([replace(self.part, content=joined, logprobs=self.logprobs)], own)
                return part
        return replace(self.part, content=joined)


class Choice:
    """One candidate as far as it has come."""

    __slots__ = ("done", "index", "open", "own", "parts", "reason", "sink", "word")

    def __init__(self, index: int, sink: list[events.Event] | None) -> None:
        self.index = index
        self.sink = sink
        self.parts: list[Part] = []
        self.open: Open | None = None
        self.own: dict[str, Any] = {}  # fields that a message has no place for
        self.reason: str | None = None
        self.word: str | None = None
        self.done = False

    @property
    def next(self) -> int:
        """The number of the part that grows, or of the next one."""
        return len(self.parts)

    def begin(self, part: Text | Reasoning | ToolCall, arguments: Arguments | None = None) -> Open:
        """Begin a part that will grow."""
        self.close()
        self.open = Open(part, arguments)
        if self.sink is not None:
            self.sink.append(events.PartBegun(choice=self.index, index=self.next, part=part))
        return self.open

    def grown(self, piece: str) -> None:
        """Emit the growth of the part."""
        if self.sink is not None and piece:
            self.sink.append(events.PartGrown(choice=self.index, index=self.next, text=piece))

    def close(self) -> None:
        """End the part that grows."""
        if self.open is None:
            return
        if self.open.arguments is not None:
            end = self.open.arguments.close()
            self.open.pieces.append(end)
            self.grown(end)
        part = self.open.whole(self.own)
        self.open = None
        if self.sink is not None:
            self.sink.append(events.PartDone(choice=self.index, index=self.next, part=part))
        self.parts.append(part)

    def add(self, part: Part) -> None:
        """Take a part that came whole."""
        self.close()
        if self.sink is not None:
            begun = replace(part, arguments=None) if isinstance(part, ToolCall) else part
            self.sink.append(events.PartBegun(choice=self.index, index=self.next, part=begun))
            if isinstance(part, ToolCall):
                self.grown(msgspec.json.encode(part.arguments).decode())
            self.sink.append(events.PartDone(choice=self.index, index=self.next, part=part))
        self.parts.append(part)

    def finish(self, reason: str | None, word: str | None = None) -> None:
        """Take the finish reason; of several the last one counts."""
        self.close()
        self.reason, self.word = reason, word
        if self.sink is not None and not self.done:
            self.sink.append(
                events.ChoiceDone(choice=self.index, finish_reason=reason, finish_word=word, extra=self.extra)
            )
        self.done = True

    @property
    def called(self) -> bool:
        """Whether a function has been called."""
        growing = [] if self.open is None else [self.open.part]
        return any(isinstance(part, ToolCall) for part in (*self.parts, *growing))

    @property
    def extra(self) -> Extra:
        """The candidate's fields without a place in a message."""
        return {NAME: dict(self.own)} if self.own else {}

    def message(self) -> Message:
        """Return the part as read so far."""
        growing = [] if self.open is None else [self.open.whole(self.own)]
        return Message(
            role="assistant",
            parts=[*self.parts, *growing],
            finish_reason=self.reason,
            finish_word=self.word,
            extra=self.extra,
        )
