"""A streamed answer as ConverseStream's events, in AWS's binary framing."""

from typing import Any

import msgspec

from gateway.dialects import events
from gateway.dialects.bedrock.read_parts import NAME
from gateway.dialects.bedrock.write_parts import ID_FORM, Blocks, proof, write_citation
from gateway.dialects.bedrock.write_response import beside, stop_reason, write_usage
from gateway.dialects.conversation import (
    ChatRequest,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.shared.tool_ids import ResponseIds
from gateway.dialects.shared.writer import StreamWriter
from gateway.dialects.wire import eventstream
from gateway.dialects.wire.json import UNREADABLE

Json = dict[str, Any]

_EXCEPTIONS = {
    "rate_limit": "throttlingException",
    "throttling": "throttlingException",
    "overloaded": "serviceUnavailableException",
    "unavailable": "serviceUnavailableException",
    "invalid_request": "validationException",
    "validation": "validationException",
    "internal": "internalServerException",
}


class _Open:
    """A part that has begun: its number on the wire, and a tool call's arguments so far."""

    __slots__ = ("closed", "grown", "index", "part", "pieces")

    def __init__(self, part: Part, index: int) -> None:
        self.part = part
        self.index = index
        self.grown = False
        self.closed = False
        self.pieces: list[str] = []


class ConverseStreamWriter(StreamWriter):
    """Writes `messageStart`, the blocks, `messageStop` and `metadata`, or an exception.

    Many clients know one block at a time: a text ends when another part begins, and so does a tool call whose
    arguments are whole. Calls that do grow side by side differ by their numbers.
    """

    content_type = eventstream.CONTENT_TYPE

    def __init__(self, request: ChatRequest, now: float) -> None:  # noqa: ARG002  no field repeats the request
        super().__init__()
        self._blocks = Blocks(None, self._dropped, to_model=False)
        self._parts: dict[int, _Open] = {}
        self._next = 0
        self._ids = ResponseIds(str(now), ID_FORM)
        self._usage: Usage | None = None
        self._own: Json = {}
        self._started = self._stopped = False

    def _write(self, event: events.Event) -> bytes:
        if choice := getattr(event, "choice", 0):
            self._dropped.add(f"choices[{choice}]")
            return b""
        match event:
            case events.Begun():
                self._dropped.foreign(event.extra, NAME)
                self._own = event.extra.get(NAME, {})
                self._usage = event.usage
                self._ids.response_id = event.id or self._ids.response_id
                return self._start()
            case events.PartBegun():
                return self._start() + self._begin(event.index, event.part)
            case events.PartGrown():
                return self._grow(event.index, event.text)
            case events.PartDone():
                return self._done(event.index, event.part)
            case events.ChoiceDone():
                return self._start() + self._stop(event)
            case events.UsageUpdated():
                self._usage = event.usage
            case events.Broken():
                data = {"message": event.message or event.type or "the stream broke"}
                return eventstream.exception(_exception(event.type), msgspec.json.encode(data))
            case events.Ended():
                return self._start() + self._end()
        return b""

    def _start(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        return _event("messageStart", {"role": "assistant"})

    def _begin(self, index: int, part: Part) -> bytes:
        written = b"".join([self._close(each) for each in self._parts.values() if not (each.closed or _grows(each))])
        if isinstance(part, ToolCall) or (isinstance(part, ServerToolCall) and NAME in part.extra):
            opened = self._open(index, part)
            start = {"toolUseId": self._ids.id_of(part, index), "name": part.name, **part.extra.get(NAME, {})}
            return written + _event(
                "contentBlockStart", {"start": {"toolUse": start}, "contentBlockIndex": opened.index}
            )
        if isinstance(part, Text | Reasoning | Refusal):
            self._open(index, part)
            if isinstance(part, Refusal):
                self._dropped.add(f"parts[{index}]: refusal")
        return written

    def _open(self, index: int, part: Part) -> _Open:
        opened = self._parts[index] = _Open(part, self._next)
        self._next += 1
        return opened

    def _grow(self, index: int, text: str) -> bytes:
        opened = self._parts.get(index)
        if opened is None:
            return b""
        if isinstance(opened.part, ToolCall | ServerToolCall):
            opened.pieces.append(text)
            return _delta(opened, {"toolUse": {"input": text}})
        if opened.closed:
            opened = self._open(index, opened.part)
        return _delta(opened, _text(opened.part, text))

    def _done(self, index: int, part: Part) -> bytes:
        opened = self._parts.pop(index, None)
        if opened is None:
            return self._whole(index, part)
        if opened.closed:
            if isinstance(part, Text) and part.citations:
                self._dropped.add(f"parts[{index}].citations")
            return b""
        written = b""
        match part:
            case Reasoning():
                late = proof(part, f"parts[{index}]", self._dropped, claude=True)
                if not opened.grown and "redactedContent" not in late:
                    written = _at_once(opened, part)
                for key, value in late.items():
                    written += _delta(opened, {"reasoningContent": {key: value}})
            case Text():
                if not opened.grown:
                    written = _at_once(opened, part)
                for citation in part.citations:
                    written += _delta(opened, {"citation": write_citation(citation, f"parts[{index}]", self._dropped)})
                if part.logprobs:
                    self._dropped.add(f"parts[{index}].logprobs")
        if isinstance(part, Text | ToolCall | ServerToolCall):
            self._dropped.foreign(part.extra, NAME, f"parts[{index}]")
        opened.part = part
        return written + self._close(opened)

    def _whole(self, index: int, part: Part) -> bytes:
        """Write a part that comes whole: a tool's results, an image."""
        block = self._blocks.block(part, f"parts[{index}]")
        written: dict[str, Any] = block or {}
        kind = next(iter(written), "")
        value: Any = written.get(kind)
        opened = _Open(part, self._next)
        if kind == "text":
            self._next += 1
            return _delta(opened, block or {}) + self._close(opened)
        if kind == "toolResult" and isinstance(part, ServerToolCallResponse):
            start = {key: each for key, each in value.items() if key != "content"}
            delta = {"toolResult": value["content"]}
        elif kind == "image":
            start = {"format": value["format"]}
            delta = {"image": {"source": value["source"]}}
        else:
            if block is not None:
                self._dropped.add(f"parts[{index}]: {kind}")
            return b""
        self._next += 1
        begun = _event("contentBlockStart", {"start": {kind: start}, "contentBlockIndex": opened.index})
        return begun + _delta(opened, delta) + self._close(opened)

    def _close(self, opened: _Open) -> bytes:
        if opened.closed:
            return b""
        opened.closed = True
        written = b"" if opened.grown else _at_once(opened, opened.part)
        return written + _event("contentBlockStop", {"contentBlockIndex": opened.index})

    def _stop(self, event: events.ChoiceDone) -> bytes:
        self._stopped = True
        open_still = b"".join([self._close(each) for each in self._parts.values()])
        self._dropped.foreign(event.extra, NAME)
        more = {**self._own, **event.extra.get(NAME, {})}.get("additionalModelResponseFields")
        data: Json = {"stopReason": stop_reason(event.finish_reason, event.finish_word)}
        if more is not None:
            data["additionalModelResponseFields"] = more
        return open_still + _event("messageStop", data)

    def _end(self) -> bytes:
        stop = b"" if self._stopped else self._stop(events.ChoiceDone(finish_reason=None))
        own = {key: value for key, value in self._own.items() if key != "additionalModelResponseFields"}
        return stop + _event("metadata", {"usage": write_usage(self._usage, own, self._dropped), **beside(own)})


def _event(name: str, data: Json) -> bytes:
    return eventstream.event(name, msgspec.json.encode(data))


def _delta(opened: _Open, delta: Json) -> bytes:
    opened.grown = True
    return _event("contentBlockDelta", {"delta": delta, "contentBlockIndex": opened.index})


def _at_once(opened: _Open, part: Part) -> bytes:
    """Write all of a part that has not grown."""
    match part:
        case ToolCall():
            return _delta(opened, {"toolUse": {"input": _arguments(part.arguments)}})
        case ServerToolCall():
            return _delta(opened, {"toolUse": {"input": _arguments(part.server_tool_call.get("input"))}})
        case Text() | Reasoning() | Refusal():
            return _delta(opened, _text(part, part.content))
    return b""


def _arguments(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or {}).decode()


def _text(part: Part, text: str) -> Json:
    return {"reasoningContent": {"text": text}} if isinstance(part, Reasoning) else {"text": text}


def _grows(opened: _Open) -> bool:
    """Whether an open part is a tool call whose arguments are not yet whole."""
    if not isinstance(opened.part, ToolCall | ServerToolCall):
        return False
    try:
        msgspec.json.decode("".join(opened.pieces))
    except UNREADABLE:
        return True
    return False


def _exception(word: str | None) -> str:
    """Return the exception for a provider's or the gateway's own word of an error."""
    word = word or ""
    known = next((name for part, name in _EXCEPTIONS.items() if part in word.lower()), None)
    return word if word in _OWN else known or "modelStreamErrorException"


_OWN = frozenset({*_EXCEPTIONS.values(), "modelStreamErrorException"})
