"""One choice of a streamed chat completion as far as its deltas have come, and its events.

Parts are in the order in which they began. A text ends when another kind of part begins, since the dialect has no mark
for that; tool calls may interleave, and end with their choice.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.dialects.conversation import Citation, Message, Part, Reasoning, Refusal, Text, TokenLogprob, ToolCall
from gateway.dialects.events import ChoiceDone, Event, PartBegun, PartDone, PartGrown
from gateway.dialects.openai_chat.read_parts import proof_of
from gateway.dialects.wire.json import json_value

Sink = list[Event] | None
"""The list that events are appended to; None if they are not collected."""


@dataclass(slots=True, eq=False)
class Growing:
    """A part that grows by text: its kind, its number, and its pieces. A tool call has an id and a name."""

    kind: str
    index: int
    pieces: list[str] = field(default_factory=list)
    id: str | None = None
    name: str = ""
    custom: bool = False
    begun: bool = False
    citations: list[Citation] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    details: dict[Any, dict[str, Any]] = field(default_factory=dict)  # of reasoning

    def part(self) -> Part:
        """Return the part as far as it has come."""
        joined = "".join(self.pieces)
        match self.kind:
            case "text":
                return Text(content=joined, citations=self.citations, logprobs=self.logprobs)
            case "reasoning":
                return Reasoning(content=joined, extra=proof_of(list(self.details.values())))
            case "refusal":
                return Refusal(content=joined)
        return ToolCall(
            id=self.id, name=self.name, arguments=joined if self.custom else json_value(joined), custom=self.custom
        )

    def empty(self) -> Part:
        """Return the part as it begins."""
        match self.kind:
            case "text":
                return Text(content="")
            case "reasoning":
                return Reasoning(content="")
            case "refusal":
                return Refusal(content="")
        return ToolCall(id=self.id, name=self.name, custom=self.custom)


class Choice:
    """One choice. `open` is the text that grows, if any does."""

    __slots__ = ("_calls", "_done", "_index", "finish_reason", "finish_word", "open", "parts")

    def __init__(self, index: int) -> None:
        self._index = index
        self.parts: list[Growing] = []
        self.open: Growing | None = None
        self._calls: dict[int, Growing] = {}
        self.finish_reason: str | None = None
        self.finish_word: str | None = None
        self._done = False

    @property
    def called(self) -> bool:
        """Whether a tool is called."""
        return bool(self._calls)

    def begin(self, kind: str, sink: Sink) -> Growing:
        """Return a new text of this kind, which ends the one that grew."""
        self._end_open(sink)
        part = self.open = self._begin(kind)
        if sink is not None:
            self._emit_begun(part, sink)
        return part

    def latest(self, kind: str) -> Growing | None:
        """Return the last part of this kind."""
        return next((part for part in reversed(self.parts) if part.kind == kind), None)

    def text_before(self, part: Growing) -> int:
        """Return the length of the texts before a part, which places of citations include."""
        return sum(len(piece) for each in self.parts[: part.index] if each.kind == "text" for piece in each.pieces)

    def call(self, index: int | None, call_id: str | None, sink: Sink) -> Growing:
        """Return the call a delta belongs to. A new id starts one: some providers leave every index 0."""
        if index is None:
            index = len(self._calls) if call_id else max(len(self._calls) - 1, 0)
        call = self._calls.get(index)
        if call is None or (call_id and call.id and call.id != call_id):
            self._end_open(sink)
            call = self._calls[index] = self._begin("tool")
        return call

    def grow(self, part: Growing, text: str, sink: list[Event]) -> None:
        """Emit a part's growth. A call begins once its name is known."""
        if self._done:
            return
        if not part.begun:
            if not part.name:
                return
            self._emit_begun(part, sink)
            text = "".join(part.pieces)
        if text:
            sink.append(PartGrown(choice=self._index, index=part.index, text=text))

    def end(self, sink: list[Event]) -> None:
        """Emit the end of the choice, and of all its parts."""
        if self._done:
            return
        self._end_open(sink)
        for part in self.parts:
            if part.kind != "tool":
                continue
            if not part.begun:
                self._emit_begun(part, sink)
                if text := "".join(part.pieces):
                    sink.append(PartGrown(choice=self._index, index=part.index, text=text))
            self._emit_done(part, sink)
        self._done = True
        sink.append(ChoiceDone(choice=self._index, finish_reason=self.finish_reason, finish_word=self.finish_word))

    def message(self) -> Message:
        """Return the part as read so far."""
        return Message(
            role="assistant",
            parts=[part.part() for part in self.parts],
            finish_reason=self.finish_reason,
            finish_word=self.finish_word,
        )

    def _begin(self, kind: str) -> Growing:
        part = Growing(kind, len(self.parts))
        self.parts.append(part)
        return part

    def _end_open(self, sink: Sink) -> None:
        part, self.open = self.open, None
        if part is not None and sink is not None:
            self._emit_done(part, sink)

    def _emit_begun(self, part: Growing, sink: list[Event]) -> None:
        part.begun = True
        sink.append(PartBegun(choice=self._index, index=part.index, part=part.empty()))

    def _emit_done(self, part: Growing, sink: list[Event]) -> None:
        if not self._done:
            sink.append(PartDone(choice=self._index, index=part.index, part=part.part()))
