"""A streamed response as Gemini's events, or as one JSON array of them."""

import msgspec
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import (
    ChatRequest,
    Part,
    Reasoning,
    Refusal,
    Text,
    Usage,
)
from gateway.dialects.gemini.errors import error_fields
from gateway.dialects.gemini.read_parts import NAME
from gateway.dialects.gemini.write_parts import Json, PartWriter
from gateway.dialects.gemini.write_response import _about, _ended, _logprobs, _own, _usage
from gateway.dialects.shared.writer import StreamWriter
from gateway.dialects.wire.json import fields, merged


class GeminiStreamWriter(StreamWriter):
    """Writes a stream: an event for each piece of content, and one that ends it, with the usage.

    A call's arguments are written once they are whole, since the Gemini API takes no pieces of them.
    """

    def __init__(self, request: ChatRequest, *, as_array: bool = False) -> None:
        super().__init__()
        self.content_type = "application/json" if as_array else "text/event-stream"
        self._as_array = as_array
        self._writing = PartWriter(self._dropped, carry=True)
        self._about = _about(None, request.model, None)
        self._first: Json = {}  # fields of the first event only
        self._usage: Usage | None = None  # that has not been written yet
        self._own_usage: Json = {}
        self._growing: dict[tuple[int, int], Part] = {}
        self._texts: dict[int, list[tuple[int, Text]]] = {}
        self._finished: list[Json] = []  # waits for the usage, which comes in the same event
        self._wrote = False

    def _write(self, event: events.Event) -> bytes:
        match event:
            case events.Begun():
                self._begin(event)
            case events.PartBegun():
                self._growing[event.choice, event.index] = event.part
                if isinstance(event.part, Refusal):
                    self._dropped.add(f"output[{event.choice}].parts[{event.index}]: refusal")
            case events.PartGrown():
                return self._grow(event)
            case events.PartDone():
                return self._part_done(event)
            case events.ChoiceDone():
                self._finished.append(self._choice_done(event))
            case events.UsageUpdated():
                self._usage = event.usage
                return self._end() if self._finished else b""
            case events.Broken():
                ended = self._end() if self._finished else b""
                return ended + self._frame({"error": error_fields(event.type, event.message)}) + self._close()
            case events.Ended():
                return self._end() + self._close()
        return b""

    def _begin(self, event: events.Begun) -> None:
        self._about |= _about(event.id, event.model, event.created)
        self._dropped.foreign(event.extra, NAME)
        self._first = dict(event.extra.get(NAME, {}))
        self._own_usage = fields(self._first.pop("usageMetadata", None))
        self._usage = event.usage

    def _grow(self, event: events.PartGrown) -> bytes:
        match self._growing.get((event.choice, event.index)):
            case Text() | Refusal():
                return self._content(event.choice, {"text": event.text})
            case Reasoning():
                return self._content(event.choice, {"text": event.text, "thought": True})
        return b""

    def _part_done(self, event: events.PartDone) -> bytes:
        part = event.part
        self._growing.pop((event.choice, event.index), None)
        if isinstance(part, Text) and part.citations:
            self._texts.setdefault(event.choice, []).append((event.index, part))
        rest = replace(part, content="") if isinstance(part, Text | Reasoning | Refusal) else part
        written = self._writing.part(rest, f"output[{event.choice}].parts[{event.index}]")
        late = {"logprobsResult": _logprobs(part.logprobs)} if isinstance(part, Text) and part.logprobs else {}
        if written is None:
            return self._frame({"candidates": [{"index": event.choice, **late}]}) if late else b""
        return self._content(event.choice, written, late)

    def _choice_done(self, event: events.ChoiceDone) -> Json:
        path = f"output[{event.choice}]"
        # clients keep a turn in their history only if each of its events has a part
        candidate: Json = {"content": {"parts": [{"text": ""}], "role": "model"}, "index": event.choice}
        ended = _ended(event.finish_reason, event.finish_word, path, self._dropped)
        own = _own(event.extra, self._texts.pop(event.choice, []), path, self._dropped)
        return merged(candidate | ended, own)

    def _content(self, choice: int, part: Json, late: Json | None = None) -> bytes:
        content = {"parts": [part], "role": "model"}
        return self._frame({"candidates": [{"content": content, "index": choice, **(late or {})}]})

    def _end(self) -> bytes:
        """Write the event that ends the candidates that have finished, with the usage known by then."""
        chunk: Json = {"candidates": self._finished} if self._finished else {}
        self._finished = []
        if self._usage is not None:
            chunk["usageMetadata"] = _usage(self._usage, self._own_usage, self._dropped) | self._own_usage
            self._usage = None
        return self._frame(chunk) if chunk or not self._wrote else b""

    def _frame(self, chunk: Json) -> bytes:
        first, self._first = self._first, {}
        data = msgspec.json.encode(merged(chunk | self._about, first))
        head = b"," if self._wrote else b"["
        self._wrote = True
        return head + data + b"\r\n" if self._as_array else b"data: " + data + b"\n\n"

    def _close(self) -> bytes:
        return b"]" if self._as_array else b""


def stream(request: ChatRequest, now: float) -> GeminiStreamWriter:  # noqa: ARG001
    """Return a writer of server-sent events."""
    return GeminiStreamWriter(request)


def array_stream(request: ChatRequest, now: float) -> GeminiStreamWriter:  # noqa: ARG001
    """Return a writer of one JSON array, for a client that did not ask for `alt=sse`."""
    return GeminiStreamWriter(request, as_array=True)
