"""One choice of a streamed chat completion as far as its deltas have come, and the telling of it.

Parts stand in the order in which they began. A text ends where another kind of part begins, since the dialect does not
say so; tool calls may interleave, and end with their choice.
"""

from dataclasses import dataclass, field

from gateway.dialects.conversation import Citation, Message, Part, Reasoning, Refusal, Text, TokenLogprob, ToolCall
from gateway.dialects.events import ChoiceDone, Event, PartBegun, PartDone, PartGrown
from gateway.dialects.lenient import json_value


@dataclass(slots=True, eq=False)
class Growing:
    """A part that grows by text: what it is, its number, and its pieces. A tool call has an id and a name."""

    kind: str
    index: int
    pieces: list[str] = field(default_factory=list)
    id: str | None = None
    name: str = ""
    custom: bool = False
    begun: bool = False
    citations: list[Citation] = field(default_factory=list)

    def part(self, logprobs: list[TokenLogprob]) -> Part:
        """Return the part as far as it has come; `logprobs` are its choice's."""
        joined = "".join(self.pieces)
        match self.kind:
            case "text":
                return Text(content=joined, citations=self.citations, logprobs=logprobs)
            case "reasoning":
                return Reasoning(content=joined)
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
    """One choice. `told` is where what happens is appended, None where nobody listens."""

    __slots__ = ("_calls", "_done", "_index", "_open", "finish_reason", "finish_word", "logprobs", "parts", "told")

    def __init__(self, index: int, told: list[Event] | None) -> None:
        self._index = index
        self.told = told
        self.parts: list[Growing] = []
        self._open: Growing | None = None  # the text that grows
        self._calls: dict[int, Growing] = {}
        self.logprobs: list[TokenLogprob] = []
        self.finish_reason: str | None = None
        self.finish_word: str | None = None
        self._done = False

    def growing(self, kind: str) -> Growing:
        """Return the text of this kind that grows, a new one where another kind came between."""
        part = self._open
        if part is None or part.kind != kind:
            self._end_open()
            part = self._open = self._begin(kind)
            if self.told is not None:
                self._tell_begun(part)
        return part

    def call(self, index: int | None, call_id: str | None) -> Growing:
        """Return the call a delta belongs to. A new id starts one: some providers leave every index 0."""
        if index is None:
            index = len(self._calls) if call_id else max(len(self._calls) - 1, 0)
        call = self._calls.get(index)
        if call is None or (call_id and call.id and call.id != call_id):
            self._end_open()
            call = self._calls[index] = self._begin("tool")
        return call

    def grow(self, part: Growing, text: str) -> None:
        """Say that a part has grown. A call begins for the listener once its name is known."""
        if self.told is None:
            return
        if not part.begun:
            if not part.name:
                return
            self._tell_begun(part)
            text = "".join(part.pieces)
        if text:
            self.told.append(PartGrown(choice=self._index, index=part.index, text=text))

    def end(self) -> None:
        """Say that the choice has ended, and with it all its parts."""
        if self.told is None or self._done:
            return
        self._done = True
        self._end_open()
        for part in self._calls.values():
            if not part.begun:
                self._tell_begun(part)
            self._tell_done(part)
        self.told.append(ChoiceDone(choice=self._index, finish_reason=self.finish_reason, finish_word=self.finish_word))

    def message(self) -> Message:
        """Return what came so far."""
        return Message(
            role="assistant",
            parts=[part.part(self.logprobs) for part in self.parts],
            finish_reason=self.finish_reason,
            finish_word=self.finish_word,
        )

    def _begin(self, kind: str) -> Growing:
        part = Growing(kind, len(self.parts))
        self.parts.append(part)
        return part

    def _end_open(self) -> None:
        part, self._open = self._open, None
        if part is not None and self.told is not None:
            self._tell_done(part)

    def _tell_begun(self, part: Growing) -> None:
        part.begun = True
        if self.told is not None:
            self.told.append(PartBegun(choice=self._index, index=part.index, part=part.empty()))

    def _tell_done(self, part: Growing) -> None:
        if self.told is not None:
            self.told.append(PartDone(choice=self._index, index=part.index, part=part.part(self.logprobs)))
