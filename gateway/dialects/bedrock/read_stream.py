"""ConverseStream's events, in AWS's binary framing: blocks by their numbers, from `messageStart` to `metadata`."""

from typing import Any

import msgspec

from gateway.dialects import events
from gateway.dialects.bedrock.media import mime_type
from gateway.dialects.bedrock.read_parts import NAME, joined, read_block, read_citations
from gateway.dialects.bedrock.read_response import Beside, chat_response, read_finish, usage_of
from gateway.dialects.conversation import Blob, ChatResponse, Part, Text
from gateway.dialects.shared.extra import own
from gateway.dialects.shared.reported_error import ReportedError
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.wire.eventstream import EventStreamDecoder
from gateway.dialects.wire.json import count, decode, fields, json_value, text
from gateway.dialects.wire.sse import Event


class _Event(Beside, gc=False, rename="camel"):
    """The payload of any event."""

    content_block_index: Any = 0
    start: Any = None
    delta: Any = None
    stop_reason: Any = None
    usage: Any = None
    message: Any = None


_EVENT = msgspec.json.Decoder(_Event)


class _Block:
    """A content block as far as its deltas have come; `kind` is its member in a content block."""

    __slots__ = ("index", "kind", "late", "pieces", "start")

    def __init__(self, kind: str, start: dict[str, Any], index: int) -> None:
        self.kind = kind
        self.start = start
        self.index = index
        self.pieces: list[str] = []
        self.late: list[Any] = []  # whole values: citations, a signature, a tool's results

    def part(self) -> Part:
        """Return the part as far as it has come."""
        match self.kind:
            case "text":
                return Text(content="".join(self.pieces), citations=read_citations(self.late))
            case "reasoningContent":
                return read_block({"reasoningContent": self._reasoning()})
            case "image" if not self.pieces and not self.late:
                form = mime_type("image", text(self.start.get("format")))
                return Blob(modality="image", mime_type=form, content="")
            case "image":
                source = {"bytes": joined(self.pieces)} if self.pieces else self.late[-1]
                return read_block({"image": {**self.start, "source": source}})
            case "toolResult":
                return read_block({"toolResult": {**self.start, "content": self.late}})
        return read_block({"toolUse": {**self.start, "input": json_value("".join(self.pieces))}})

    def _reasoning(self) -> dict[str, Any]:
        hidden = [piece for late in self.late if (piece := text(late.get("redactedContent")))]
        if hidden:
            return {"redactedContent": joined(hidden)}
        shown: dict[str, Any] = {"text": "".join(self.pieces)}
        for late in self.late:
            shown |= late
        return {"reasoningText": shown}


def _more(delta: dict[str, Any]) -> tuple[str, Any, Any]:
    """Return the kind of block that a delta belongs to, the text it adds, and the values it adds."""
    kind, value = next(iter(delta.items()), ("", None))
    match kind:
        case "text":
            return kind, value, None
        case "toolUse":
            return kind, fields(value).get("input"), None
        case "reasoningContent":
            thought = fields(value)
            return (kind, thought["text"], None) if "text" in thought else (kind, None, [thought])
        case "citation":
            return "text", None, [value]
        case "toolResult":
            return kind, None, value
        case "image":
            source = fields(fields(value).get("source"))
            return (kind, source["bytes"], None) if "bytes" in source else (kind, None, [source])
    return "", None, None


class ConverseStreamReader(EventReader):
    """Reads events up to `metadata`, or to an exception."""

    def __init__(self) -> None:
        super().__init__(EventStreamDecoder())
        self._begun = False
        self._blocks: list[_Block] = []
        self._open: dict[int, _Block] = {}
        self._word: str | None = None  # why it stopped
        self._done = False
        self._usage: dict[str, Any] = {}
        self._beside = Beside()

    def _take(self, event: Event) -> bool:
        read = decode(event.data, _EVENT)
        if read is None or self.ended:
            return False
        if self.events is not None and not self._begun:
            self._begun = True
            self.events.append(events.Begun())
        self.expects_end = True
        match event.name:
            case "contentBlockDelta" | "contentBlockStart" | "contentBlockStop" if self._done:
                return False
            case "contentBlockDelta":
                self._take_delta(count(read.content_block_index) or 0, fields(read.delta), len(event.data))
            case "contentBlockStart":
                self._take_start(count(read.content_block_index) or 0, fields(read.start), len(event.data))
            case "contentBlockStop":
                self._end(self._open.pop(count(read.content_block_index) or 0, None))
            case "messageStop":
                self._beside.additional_model_response_fields = read.additional_model_response_fields
                self._end_choice(text(read.stop_reason))
            case "metadata":
                self._take_metadata(read)
            case str(name) if name.startswith(("exception ", "error ")):
                kind = text(name.partition(" ")[2])
                self._fail(ReportedError(kind, text(read.message)))
        return True

    def _take_start(self, index: int, start: dict[str, Any], size: int) -> None:
        kind, value = next(iter(start.items()), ("", None))
        if kind in {"toolUse", "toolResult", "image"} and self._has_room(size):
            self._begin(index, kind, fields(value))
            self.first_output = True

    def _take_delta(self, index: int, delta: dict[str, Any], size: int) -> None:
        kind, grown, late = _more(delta)
        block = self._open.get(index)
        if block is None or block.kind != kind:
            if not kind or not self._has_room(0):
                return
            block = self._begin(index, kind, {})
        if late is not None:
            if self._has_room(size) and isinstance(late, list):
                block.late += [each for each in late if isinstance(each, dict)]
                self.first_output = True
            return
        self._keep(block.pieces, grown)
        if self.events is not None and isinstance(grown, str) and grown and kind != "image":
            self.events.append(events.PartGrown(index=block.index, text=grown))

    def _begin(self, index: int, kind: str, start: dict[str, Any]) -> _Block:
        """Begin a block; one of the same number that has not ended does so now."""
        self._end(self._open.get(index))
        block = self._open[index] = _Block(kind, start, len(self._blocks))
        self._blocks.append(block)
        if self.events is not None:
            self.events.append(events.PartBegun(index=block.index, part=block.part()))
        return block

    def _end(self, block: _Block | None) -> None:
        if block is not None and self.events is not None:
            self.events.append(events.PartDone(index=block.index, part=block.part()))

    def _end_choice(self, word: str | None) -> None:
        """End the open part, and the choice."""
        if self._done:
            return
        self._done = True
        self._word = word
        for block in self._open.values():
            self._end(block)
        if self.events is not None:
            reason, own_word = read_finish(word)
            more = own(NAME, {"additionalModelResponseFields": self._beside.additional_model_response_fields})
            self.events.append(events.ChoiceDone(finish_reason=reason, finish_word=own_word, extra=more))

    def _take_metadata(self, read: _Event) -> None:
        """Take the last event."""
        self._end_choice(None)
        self._usage = fields(read.usage)
        read.additional_model_response_fields = self._beside.additional_model_response_fields
        self._beside = read
        self.ended = True
        if self.events is not None:
            if (usage := usage_of(self._usage)) is not None:
                self.events.append(events.UsageUpdated(usage=usage))
            self.events.append(events.Ended())

    def response(self) -> ChatResponse:
        """Return the response as read so far."""
        parts = [block.part() for block in self._blocks]
        return chat_response(parts, self._word, self._usage, self._beside, self._error)

    def reported(self) -> dict[str, Any]:
        """Return the members of a response that its billing is read from."""
        return {"usage": self._usage, "bedrock_tier": self._beside.service_tier}
