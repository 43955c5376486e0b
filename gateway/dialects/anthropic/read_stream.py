"""A streamed response of Anthropic's: events of blocks, from `message_start` to `message_stop`."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects import events
from gateway.dialects.anthropic.read_parts import read_block
from gateway.dialects.anthropic.read_response import _Message, _output, _usage, chat_response, read_finish
from gateway.dialects.conversation import ChatResponse, ToolCall, Usage
from gateway.dialects.shared.reported_error import error_of
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.wire.json import count, decode, fields, json_value, objects, text
from gateway.dialects.wire.sse import Event


class _Event(Struct, gc=False):
    type: Any = None
    index: Any = 0
    delta: Any = None
    content_block: Any = None
    message: _Message | None = None
    usage: Any = None
    error: Any = None


_EVENT = msgspec.json.Decoder(_Event)


# The field of a block that a delta adds to, and the delta's member that has the piece.
_DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("input", "partial_json"),
    "compaction_delta": ("content", "content"),
}


_KINDS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "tool_use",
    "compaction_delta": "compaction",
}


# The field of a block that grows.
_GROWING = {
    "text": "text",
    "thinking": "thinking",
    "compaction": "content",
    "tool_use": "input",
    "server_tool_use": "input",
    "mcp_tool_use": "input",
}


class _Block:
    """A content block as far as its deltas have come. `index`: its number in the order of beginning."""

    __slots__ = ("done", "field", "grown", "index", "pieces", "start")

    def __init__(self, start: dict[str, Any], index: int) -> None:
        self.start = start
        self.field = ""
        self.pieces: list[str] = []
        self.index = index
        self.grown = False  # for the listener
        self.done = False

    def whole(self) -> dict[str, Any]:
        """Return the block as a response that was not streamed would have it."""
        if not self.pieces:
            return self.start
        joined = "".join(self.pieces)
        if self.field == "input":
            return {**self.start, "input": json_value(joined)}
        return {**self.start, self.field: (text(self.start.get(self.field)) or "") + joined}


class MessagesStreamReader(EventReader):
    """Reads events from `message_start` to `message_stop`."""

    def __init__(self) -> None:
        super().__init__()
        self._message = _Message()
        self._blocks: dict[int, _Block] = {}
        self._usage: dict[str, Any] = {}
        self._choice_ended = False

    def _take(self, event: Event) -> bool:
        read = decode(event.data, _EVENT)
        if read is None:
            return False
        match read.type:
            case "content_block_delta":
                self._take_delta(count(read.index) or 0, fields(read.delta))
            case "content_block_start":
                block = fields(read.content_block)
                if self._has_room(len(event.data)):
                    self._begin(count(read.index) or 0, block)
                begins_empty = text(block.get("type")) in {"text", "thinking"}
                self.first_output = self.first_output or not begins_empty
            case "content_block_stop" if self.events is not None:
                self._emit_done(self._blocks.get(count(read.index) or 0))
            case "message_start" if read.message is not None:
                self.expects_end = True
                self._message = read.message
                # the first event's output tokens are a placeholder: a stream that breaks has reported none
                self._take_usage({k: v for k, v in fields(read.message.usage).items() if k != "output_tokens"})
                self._emit(
                    events.Begun(id=text(read.message.id), model=text(read.message.model), usage=self._usage_so_far())
                )
            case "message_delta":
                self._take_stop(fields(read.delta))
                self._take_usage(fields(read.usage))
                if self.events is not None:
                    self._emit_choice()
            case "message_stop":
                self.ended = True
                self._emit(events.Ended())
            case "error":
                self._fail(error_of(read.error))
            case _ if read.error or event.name == "error":  # of a proxy that speaks another dialect, too
                self._fail(error_of(read.error or "the provider reported an error"))
        return True

    def _begin(self, index: int, start: dict[str, Any]) -> _Block:
        block = self._blocks[index] = _Block(start, len(self._blocks))
        if self.events is not None:
            field = _GROWING.get(text(start.get("type")) or "", "")
            part = read_block({key: None if key == field else value for key, value in start.items()})
            self.events.append(events.PartBegun(index=block.index, part=part))
            if piece := text(start.get(field)):
                self._emit_grown(block, piece)
        return block

    def _take_delta(self, index: int, delta: dict[str, Any]) -> None:
        kind = text(delta.get("type")) or ""
        known = _DELTAS.get(kind)
        if known is None:
            self._take_late(self._blocks.get(index), kind, delta)
            return
        block = self._blocks.get(index)
        if block is None:
            if not self._has_room(0):
                return
            block = self._begin(index, {"type": _KINDS[kind]})
        block.field = known[0]
        piece = delta.get(known[1])
        self._keep(block.pieces, piece)
        if self.events is not None and isinstance(piece, str) and piece and not block.done:
            self._emit_grown(block, piece)

    def _take_late(self, block: _Block | None, kind: str, delta: dict[str, Any]) -> None:
        """Take a block's signature or citations, which come after its text."""
        if block is None or not self._has_room(len(text(delta.get("signature")) or "")):
            return
        if kind == "signature_delta":
            signature = (text(block.start.get("signature")) or "") + (text(delta.get("signature")) or "")
            block.start = {**block.start, "signature": signature}
        elif kind == "citations_delta":
            cited = [*objects(block.start.get("citations")), fields(delta.get("citation"))]
            block.start = {**block.start, "citations": cited}

    def _take_stop(self, delta: dict[str, Any]) -> None:
        message = self._message
        message.stop_reason = delta.get("stop_reason") or message.stop_reason
        message.stop_sequence = delta.get("stop_sequence") or message.stop_sequence
        message.stop_details = delta.get("stop_details") or message.stop_details

    def _take_usage(self, usage: dict[str, Any]) -> None:
        self._usage.update({k: v for k, v in usage.items() if v is not None})

    def _emit(self, event: events.Event) -> None:
        if self.events is not None:
            self.events.append(event)

    def _emit_grown(self, block: _Block, piece: str) -> None:
        block.grown = True
        self._emit(events.PartGrown(index=block.index, text=piece))

    def _emit_done(self, block: _Block | None) -> None:
        if block is None or block.done:
            return
        part = read_block(block.whole())
        if isinstance(part, ToolCall) and not block.grown and part.arguments is not None:  # it came whole, or has none
            self._emit_grown(block, msgspec.json.encode(part.arguments).decode())
        block.done = True
        self._emit(events.PartDone(index=block.index, part=part))

    def _emit_choice(self) -> None:
        """Emit the end of the message, once the stop reason is known, and the usage."""
        reason, word = read_finish(self._message.stop_reason)
        if reason is not None and not self._choice_ended:
            self._choice_ended = True
            for block in self._blocks.values():
                self._emit_done(block)
            extra = _output(self._message, [], reason, word).extra
            self._emit(events.ChoiceDone(finish_reason=reason, finish_word=word, extra=extra))
        if (usage := self._usage_so_far()) is not None:
            self._emit(events.UsageUpdated(usage=usage))

    def _usage_so_far(self) -> Usage | None:
        return _usage(self._usage)

    def response(self) -> ChatResponse:
        """Return the response as read so far."""
        parts = [read_block(block.whole()) for _, block in sorted(self._blocks.items())]
        return chat_response(self._message, parts, self._usage, self._error)

    def reported(self) -> dict[str, Any]:
        """Return the members of a message that its billing is read from."""
        return {"usage": self._usage}
