"""A response as a message of Anthropic's: whole, as a stream, or an error."""

from typing import Any

import msgspec

from gateway.dialects import events
from gateway.dialects.anthropic_blocks import NAME
from gateway.dialects.anthropic_write import write_block, write_citations, write_request
from gateway.dialects.conversation import (
    Answered,
    Asked,
    Message,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.dropping import Dropped
from gateway.dialects.writing import Writer
from gateway.errors import Kind

Json = dict[str, Any]

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_WORDS = {
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
}
_STATUS_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def _reason(reason: str | None, word: str | None) -> str:
    """Return the dialect's word: its own where it was told one, else the one of the same meaning."""
    if word in _WORDS:
        return str(word)
    return _REASONS.get(reason or "stop", "end_turn")


def _usage(usage: Usage | None) -> Json:
    """Write token counts; input leaves out what the cache gave and took. The SDKs want both numbers."""
    read, written = (usage.cache_read_tokens, usage.cache_write_tokens) if usage else (None, None)
    total = usage.input_tokens or 0 if usage else 0
    said: Json = {
        "input_tokens": max(0, total - (read or 0) - (written or 0)),
        "output_tokens": (usage.output_tokens or 0) if usage else 0,
    }
    if read is not None:
        said["cache_read_input_tokens"] = read
    if written is not None:
        said["cache_creation_input_tokens"] = written
    if usage is not None and usage.reasoning_tokens is not None:
        said["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return said


def write_response(answered: Answered, asked: Asked, now: float) -> tuple[bytes, list[str]]:  # noqa: ARG001
    """Write a whole response: its first choice."""
    dropped = Dropped()
    dropped.foreign(answered.extra, NAME)
    if len(answered.output_messages) > 1:
        dropped.add("choices[1]")
    message = answered.output_messages[0] if answered.output_messages else Message(role="assistant", parts=[])
    body: Json = {
        "id": answered.id or "msg_0",
        "type": "message",
        "role": "assistant",
        "model": answered.model or asked.model,
        "content": [b for i, part in enumerate(message.parts) if (b := _block(part, i, dropped)) is not None],
        "stop_reason": _reason(message.finish_reason, message.finish_word),
        "stop_sequence": message.extra.get(NAME, {}).get("stop_sequence"),
        "usage": _usage(answered.usage),
    }
    return msgspec.json.encode(body), dropped.names


def _block(part: Part, index: int, dropped: Dropped) -> Json | None:
    path = f"content[{index}]"
    if isinstance(part, Reasoning) and NAME not in part.extra:
        dropped.foreign(part.extra, NAME, path)
        return {"type": "thinking", "thinking": part.content, "signature": ""} if part.content else None
    if isinstance(part, Text) and NAME not in part.extra:
        dropped.foreign(part.extra, NAME, path)
        if part.logprobs:
            dropped.add("logprobs")
        citations = write_citations(part.citations)
        if part.citations and not citations:
            dropped.add(f"{path}.citations")
        return {"type": "text", "text": part.content, "citations": citations or None}
    dropped.foreign(getattr(part, "extra", {}), NAME, path)
    block = write_block(part, index, path, dropped)
    if block is None:
        dropped.add(path)
    return block


class MessageStream:
    """Writes the events of one message: a block after the other, since that is how its clients read them."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, asked: Asked, now: float) -> None:  # noqa: ARG002
        self._model = asked.model
        self._names = Dropped()
        self._begun = False
        self._open: int | None = None
        self._blocks: dict[int, int] = {}  # the number of a part -> that of its block
        self._said: dict[int, str] = {}  # what kind of delta a part grows by
        self._usage: Usage | None = None
        self._reason: events.ChoiceDone | None = None

    @property
    def dropped(self) -> list[str]:
        """What could not be said so far."""
        return self._names.names

    def write(self, event: events.Event) -> bytes:
        """Take the next event."""
        match event:
            case events.Begun():
                self._usage = event.usage
                self._names.foreign(event.extra, NAME)
                return self._begin(event.id, event.model)
            case events.PartBegun(choice=0):
                return self._begin() + self._begin_block(event)
            case events.PartGrown(choice=0):
                return self._grow(event)
            case events.PartDone(choice=0):
                return self._done(event)
            case events.PartBegun():
                self._names.add(f"choices[{event.choice}]")
            case events.ChoiceDone(choice=0):
                self._reason = event
                return self._begin() + self._stop_block()
            case events.UsageTold():
                self._usage = event.usage
            case events.Broken():
                kind = event.type if event.type in set(_STATUS_TYPES.values()) else "api_error"
                message = event.message or "the provider's stream broke off"
                return _event({"type": "error", "error": {"type": kind, "message": message}})
            case events.Ended():
                return self._end()
        return b""

    def _begin(self, ident: str | None = None, model: str | None = None) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message: Json = {
            "id": ident or "msg_0",
            "type": "message",
            "role": "assistant",
            "model": model or self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(self._usage) | {"output_tokens": 0},
        }
        return _event({"type": "message_start", "message": message})

    def _begin_block(self, event: events.PartBegun) -> bytes:
        part, path = event.part, f"content[{event.index}]"
        match part:
            case Text() | Refusal():
                self._said[event.index] = "text"
                block: Json | None = {"type": "text", "text": ""}
            case Reasoning() if "data" not in part.extra.get(NAME, {}):
                self._said[event.index] = "thinking"
                block = {"type": "thinking", "thinking": "", "signature": ""}
            case _:
                if isinstance(part, ToolCall | ServerToolCall):
                    self._said[event.index] = "custom" if isinstance(part, ToolCall) and part.custom else "input"
                self._names.foreign(getattr(part, "extra", {}), NAME, path)
                block = write_block(part, event.index, path, self._names)
        if block is None:
            self._names.add(path)
            return b""
        if "input" in block:
            block["input"] = {}
        stopped = self._stop_block()
        number = self._blocks[event.index] = len(self._blocks)
        self._open = number
        return stopped + _event({"type": "content_block_start", "index": number, "content_block": block})

    def _grow(self, event: events.PartGrown) -> bytes:
        number = self._blocks.get(event.index)
        if number is None:
            return b""
        match self._said.get(event.index):
            case "text":
                delta: Json = {"type": "text_delta", "text": event.text}
            case "thinking":
                delta = {"type": "thinking_delta", "thinking": event.text}
            case "input":
                delta = {"type": "input_json_delta", "partial_json": event.text}
            case _:
                return b""
        return _event({"type": "content_block_delta", "index": number, "delta": delta})

    def _done(self, event: events.PartDone) -> bytes:
        number, part = self._blocks.get(event.index), event.part
        if number is None:
            return b""
        told = b""
        own: Json = getattr(part, "extra", {}).get(NAME, {})
        self._names.foreign(getattr(part, "extra", {}), NAME, f"content[{event.index}]")
        if isinstance(part, Reasoning) and "signature" in own:
            told = self._delta(number, {"type": "signature_delta", "signature": own["signature"]})
        elif isinstance(part, Text) and part.citations:
            if not (citations := write_citations(part.citations)):
                self._names.add(f"content[{event.index}].citations")
            told = b"".join(self._delta(number, {"type": "citations_delta", "citation": each}) for each in citations)
        elif self._said.get(event.index) == "custom" and isinstance(part, ToolCall):
            text = msgspec.json.encode({"input": part.arguments or ""}).decode()
            told = self._delta(number, {"type": "input_json_delta", "partial_json": text})
        return told + (self._stop_block() if self._open == number else b"")

    def _delta(self, number: int, delta: Json) -> bytes:
        return _event({"type": "content_block_delta", "index": number, "delta": delta})

    def _stop_block(self) -> bytes:
        number, self._open = self._open, None
        return b"" if number is None else _event({"type": "content_block_stop", "index": number})

    def _end(self) -> bytes:
        reason = self._reason or events.ChoiceDone(finish_reason=None)
        stopped = {
            "stop_reason": _reason(reason.finish_reason, reason.finish_word),
            "stop_sequence": reason.extra.get(NAME, {}).get("stop_sequence"),
        }
        return (
            self._begin()
            + self._stop_block()
            + _event({"type": "message_delta", "delta": stopped, "usage": _usage(self._usage)})
            + _event({"type": "message_stop"})
        )


def _event(data: Json) -> bytes:
    kind: str = data["type"]
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


def write_error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body. Its type is what the status says, since that is what clients go by."""
    said = _STATUS_TYPES.get(status, kind.fact.anthropic)
    error = {"type": said, "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})


MESSAGES_WRITER = Writer(
    name=NAME, request=write_request, response=write_response, stream=MessageStream, error=write_error
)
