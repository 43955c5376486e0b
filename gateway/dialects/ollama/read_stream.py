"""A streamed response of Ollama's: one JSON object a line, up to the one that is `done`."""

from typing import Any

from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import ChatResponse, Part, Reasoning, Text, TokenLogprob, ToolCall, Usage
from gateway.dialects.ollama.read_parts import NAME, arguments_text, images, logprobs, tool_call
from gateway.dialects.ollama.read_response import _LINE, _created, _Line, _rest, _usage, chat_response, read_finish
from gateway.dialects.shared.billing import members_of
from gateway.dialects.shared.extra import own
from gateway.dialects.shared.reported_error import error_of
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.shared.tool_ids import made_id
from gateway.dialects.wire.json import decode, objects, text
from gateway.dialects.wire.ndjson import NdjsonDecoder
from gateway.dialects.wire.sse import Event


class _Growing:
    """A text or a thought as far as its lines have come."""

    __slots__ = ("index", "kind", "logprobs", "pieces")

    def __init__(self, kind: type[Text | Reasoning], index: int) -> None:
        self.kind = kind
        self.index = index
        self.pieces: list[str] = []
        self.logprobs: list[TokenLogprob] = []

    def part(self) -> Part:
        """Return it as it is by now."""
        content = "".join(self.pieces)
        return Text(content=content, logprobs=self.logprobs) if self.kind is Text else Reasoning(content=content)


class OllamaStreamReader(EventReader):
    """Reads lines up to the one that is `done`, or an error's. A change of the kind of content begins a new part."""

    def __init__(self) -> None:
        super().__init__(NdjsonDecoder())
        self._first: _Line | None = None
        self._parts: list[Part | _Growing] = []
        self._open: _Growing | None = None
        self._begun = 0
        self._calls = 0
        self._finish: tuple[str | None, str | None] = (None, None)
        self._usage: Usage | None = None
        self._last = b""
        self._likely: list[dict[str, Any]] = []  # tokens that are in no text
        self._rest: dict[str, Any] = {}

    def _take(self, event: Event) -> bool:
        line = decode(event.data, _LINE)
        if line is None:
            return False
        if self.ended:
            return True
        if self._first is None:
            self._begin(line)
        message = line.message_fields()
        self._grow(Reasoning, message.get("thinking"))
        self._grow(Text, message.get("content"))
        if line.logprobs is not None:
            self._take_logprobs(line.logprobs, len(event.data))
        if message.get("images") is not None:
            for part in images(message["images"]):
                self._add(part, len(event.data))
        if message.get("tool_calls") is not None:
            for call in objects(message["tool_calls"]):
                self._add(tool_call(call, made_id(text(line.created_at) or "", self._calls)), len(event.data))
                self._calls += 1
        if line.error:
            self._fail(error_of(line.error))
        elif line.done is True:
            self._end(line, event.data)
        return True

    def _begin(self, line: _Line) -> None:
        self._first = line
        self.expects_end = line.done is False
        if self.events is not None:
            self.events.append(events.Begun(model=text(line.model), created=_created(line.created_at)))

    def _grow(self, kind: type[Text | Reasoning], piece: Any) -> None:
        if not isinstance(piece, str) or not piece:
            return
        growing = self._open
        if growing is None or growing.kind is not kind:
            self._close()
            growing = self._open = _Growing(kind, self._begun)
            self._begun += 1
            if self._has_room(0):
                self._parts.append(growing)
            if self.events is not None:
                self.events.append(events.PartBegun(index=growing.index, part=kind(content="")))
        self._keep(growing.pieces, piece)
        if self.events is not None:
            self.events.append(events.PartGrown(index=growing.index, text=piece))

    def _close(self) -> None:
        if self._open is not None and self.events is not None:
            self.events.append(events.PartDone(index=self._open.index, part=self._open.part()))
        self._open = None

    def _add(self, part: Part, size: int) -> None:
        """Take a part that comes whole."""
        self._close()
        self.first_output = True
        if self._has_room(size):
            self._parts.append(part)
        if self.events is not None:
            if isinstance(part, ToolCall):
                self.events.append(events.PartBegun(index=self._begun, part=replace(part, arguments=None)))
                self.events.append(events.PartGrown(index=self._begun, text=arguments_text(part)))
            else:
                self.events.append(events.PartBegun(index=self._begun, part=part))
            self.events.append(events.PartDone(index=self._begun, part=part))
        self._begun += 1

    def _take_logprobs(self, values: Any, size: int) -> None:
        if not self._has_room(size):
            return
        if self._open is not None and self._open.kind is Text:
            self._open.logprobs += logprobs(values)
        else:
            self._likely += objects(values)

    def _end(self, line: _Line, data: bytes) -> None:
        self._close()
        self.ended = True
        self._finish = read_finish(line, self._calls > 0)
        self._usage = _usage(line)
        self._last = data
        if self._has_room(len(data)):
            self._rest = _rest(data)
        if self._likely:
            self._rest["logprobs"] = self._likely
        if self.events is not None:
            reason, word = self._finish
            self.events.append(events.ChoiceDone(finish_reason=reason, finish_word=word, extra=own(NAME, self._rest)))
            if self._usage is not None:
                self.events.append(events.UsageUpdated(usage=self._usage))
            self.events.append(events.Ended())

    def response(self) -> ChatResponse:
        """Return the response as read so far."""
        parts = [part.part() if isinstance(part, _Growing) else part for part in self._parts]
        first = self._first or _Line()
        return chat_response(first, parts, self._finish, usage=self._usage, error=self._error, rest=self._rest)

    def reported(self) -> dict[str, Any]:
        """Return the members of the last line that its billing is read from."""
        return members_of(self._last)
