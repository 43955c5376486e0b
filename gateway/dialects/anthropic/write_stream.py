"""A streamed response as the events of one of Anthropic's messages: one block after the other.

Clients read one block at a time, and some forget a stopped one. Deltas are written at once; if several parts grow at
the same time, as tool calls do in some dialects, the later ones wait for the first. A call is whole as soon as its
arguments are whole JSON: most dialects show that only at the end of the message.
"""

from typing import Any

import msgspec

from gateway.dialects import events
from gateway.dialects.anthropic.read_parts import NAME
from gateway.dialects.anthropic.write_parts import ID_FORM, shown_citations, write_block
from gateway.dialects.anthropic.write_response import error_type, known_usage, write_reason, write_usage
from gateway.dialects.conversation import (
    ChatRequest,
    Compaction,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.shared.extra import encode_state, foreign
from gateway.dialects.shared.tool_ids import ResponseIds
from gateway.dialects.shared.writer import StreamWriter
from gateway.dialects.wire.json import UNREADABLE

Json = dict[str, Any]


class _Block:
    """A part as a block: its kind of delta, the pieces that wait, and those of a call's arguments that were written."""

    def __init__(self, part: Part, delta: str, start: Json) -> None:
        self.part = part
        self.delta = delta
        self.start = start
        self.waiting: list[str] = []
        self.done: Part | None = None
        self.json: list[str] = []  # a call's arguments as far as they were written

    def whole(self) -> bool:
        """Whether a call's arguments are whole."""
        if not self.json or not self.json[-1].rstrip().endswith("}"):
            return False
        try:
            msgspec.json.decode("".join(self.json))
        except UNREADABLE:
            return False
        return True


class MessagesStreamWriter(StreamWriter):
    """Writes the events of one message."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, request: ChatRequest, now: float) -> None:
        super().__init__()
        self._model = request.model
        self._ident = f"msg_{int(now)}"
        self._ids = ResponseIds(self._ident, ID_FORM)
        self._begun = False
        self._number = -1  # of the block that is open, or was last
        self._blocks: dict[int, _Block] = {}  # those that have not stopped, by the numbers of their parts
        self._open: int | None = None
        self._usage: Usage | None = None
        self._reason: events.ChoiceDone | None = None

    def _write(self, event: events.Event) -> bytes:
        match event:
            case events.Begun():
                self._usage = event.usage
                self._ident = self._ids.response_id = event.id or self._ident
                self._model = event.model or self._model
                self._dropped.foreign(event.extra, NAME)
                return self._begin()
            case events.PartBegun(choice=0):
                return self._begin() + self._begin_part(event)
            case events.PartGrown(choice=0):
                return self._grow(event)
            case events.PartDone(choice=0):
                return self._done(event)
            case events.PartBegun():
                self._dropped.add(f"choices[{event.choice}]")
            case events.ChoiceDone(choice=0):
                self._dropped.foreign(event.extra, NAME)
                self._reason = event
                return self._begin() + self._stop_all()
            case events.UsageUpdated():
                self._usage = event.usage
            case events.Broken():
                message = event.message or "the provider's stream broke off"
                return _event({"type": "error", "error": {"type": error_type(event.type), "message": message}})
            case events.Ended():
                return self._end()
        return b""

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message: Json = {
            "id": self._ident,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(self._usage) | {"output_tokens": 0},
        }
        return _event({"type": "message_start", "message": message})

    def _begin_part(self, event: events.PartBegun) -> bytes:
        part, path = event.part, f"content[{event.index}]"
        delta = ""
        start: Json | None
        match part:
            case Text() | Refusal():
                delta, start = "text", {"type": "text", "text": ""}
            case Reasoning() if "data" not in part.extra.get(NAME, {}):
                delta, start = "thinking", {"type": "thinking", "thinking": "", "signature": ""}
            case Compaction():
                delta, start = "compaction", {"type": "compaction", "content": None}
            case ToolCall():
                delta = "custom" if part.custom else "input"
                part = msgspec.structs.replace(part, id=self._ids.id_of(part, event.index))
                start = write_block(part, path, self._dropped)
            case ServerToolCall():
                delta, start = "input", write_block(part, path, self._dropped)
            case _:
                start = write_block(part, path, self._dropped)
        if start is None:
            self._dropped.add_part(part, path)
            self._dropped.foreign(getattr(part, "extra", {}), NAME, path)
            return b""
        if "input" in start:
            start["input"] = {}
        self._blocks[event.index] = _Block(part, delta, start)
        if self._open is None:
            return self._start(event.index)
        return self._next()

    def _start(self, index: int) -> bytes:
        """Open a block, and write the pieces that waited for it."""
        block = self._blocks[index]
        self._open = index
        self._number += 1
        data = _event({"type": "content_block_start", "index": self._number, "content_block": block.start})
        waiting, block.waiting = block.waiting, []
        return data + b"".join(self._say(block, text) for text in waiting)

    def _next(self) -> bytes:
        """Go on to the next block, for as long as the open one is whole and another waits."""
        data = b""
        while self._open is not None and len(self._blocks) > 1:
            block = self._blocks[self._open]
            if block.done is None and not (block.delta == "input" and block.whole()):
                break
            data += self._stop(self._open)
            data += self._start(min(self._blocks))
        if self._open is not None and self._blocks[self._open].done is not None:
            data += self._stop(self._open)
        return data

    def _grow(self, event: events.PartGrown) -> bytes:
        block = self._blocks.get(event.index)
        if block is None:
            return b""
        if event.index != self._open:
            block.waiting.append(event.text)
            return b""
        return self._say(block, event.text) + (self._next() if len(self._blocks) > 1 else b"")

    def _say(self, block: _Block, text: str) -> bytes:
        match block.delta:
            case "text":
                return self._delta({"type": "text_delta", "text": text})
            case "thinking":
                return self._delta({"type": "thinking_delta", "thinking": text})
            case "compaction":
                return self._delta({"type": "compaction_delta", "content": text})
            case "input":
                block.json.append(text)
                return self._delta({"type": "input_json_delta", "partial_json": text})
            case "custom":
                first = "" if block.json else '{"input":"'
                block.json.append(text)
                return self._delta({"type": "input_json_delta", "partial_json": first + _escaped(text)})
        return b""

    def _delta(self, delta: Json) -> bytes:
        return _event({"type": "content_block_delta", "index": self._number, "delta": delta})

    def _done(self, event: events.PartDone) -> bytes:
        self._name_lost(event.part, f"content[{event.index}]")
        block = self._blocks.get(event.index)
        if block is None:
            return b""
        block.done = event.part
        return self._next() if event.index == self._open else b""

    def _name_lost(self, part: Part, path: str) -> None:
        if isinstance(part, Reasoning) and not part.extra.get(NAME):
            return  # its signature carries it
        self._dropped.foreign(getattr(part, "extra", {}), NAME, path)
        if isinstance(part, Text):
            if part.logprobs:
                self._dropped.add("logprobs")
            if len(shown_citations(part.citations)) < len(part.citations):
                self._dropped.add(f"{path}.citations")

    def _stop(self, index: int) -> bytes:
        """Write the last deltas of a block, and stop it."""
        block = self._blocks.pop(index)
        part = block.done
        self._open = None
        data = b""
        match part:
            case Reasoning() if block.delta == "thinking" and part.extra:
                signature = part.extra.get(NAME, {}).get("signature") or encode_state(foreign(part.extra, NAME))
                data = self._delta({"type": "signature_delta", "signature": signature})
            case Text():
                cited = shown_citations(part.citations)
                data = b"".join(self._delta({"type": "citations_delta", "citation": each}) for each in cited)
            case ToolCall() | ServerToolCall() if block.delta == "input" and not block.json:  # it came whole
                arguments = part.arguments if isinstance(part, ToolCall) else part.server_tool_call.get("input")
                if arguments not in (None, {}):
                    data = self._say(block, msgspec.json.encode(arguments).decode())
        if block.delta == "custom":
            end = '"}' if block.json else '{"input":""}'
            data += self._delta({"type": "input_json_delta", "partial_json": end})
        return data + _event({"type": "content_block_stop", "index": self._number})

    def _stop_all(self) -> bytes:
        data = b""
        while self._blocks:
            index = min(self._blocks) if self._open is None else self._open
            data += self._start(index) if self._open is None else b""
            data += self._stop(index)
        return data

    def _end(self) -> bytes:
        reason = self._reason or events.ChoiceDone(finish_reason=None)
        own = reason.extra.get(NAME, {})
        stopped = {
            "stop_reason": write_reason(reason.finish_reason, reason.finish_word, self._dropped),
            "stop_sequence": own.get("stop_sequence"),
        }
        if "stop_details" in own:
            stopped["stop_details"] = own["stop_details"]
        usage = {"output_tokens": 0} | known_usage(self._usage)
        return (
            self._begin()
            + self._stop_all()
            + _event({"type": "message_delta", "delta": stopped, "usage": usage})
            + _event({"type": "message_stop"})
        )


def _escaped(text: str) -> str:
    """Return a text as it is within a string of JSON."""
    return msgspec.json.encode(text).decode()[1:-1]


def _event(data: Json) -> bytes:
    kind: str = data["type"]
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
