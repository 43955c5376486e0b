"""Ollama's own API: chats, completions of a prompt and embeddings, streamed one JSON object a line."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.dialects import Dialect, events
from gateway.dialects.conversation import ChatResponse, Message, Part, Reasoning, Text, TokenLogprob, ToolCall, Usage
from gateway.dialects.ollama import read_request
from gateway.dialects.ollama.parts import NAME, arguments_text, images, logprobs, tool_call
from gateway.dialects.shared.opaque_state import own
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.shared.tool_ids import made_id
from gateway.dialects.wire.json import count, decode, error_of, objects, text
from gateway.dialects.wire.ndjson import NdjsonDecoder
from gateway.dialects.wire.sse import Event
from gateway.semconv import EMBEDDINGS, TEXT_COMPLETION

__all__ = ["OLLAMA_CHAT", "OLLAMA_EMBED", "OLLAMA_GENERATE"]

_OBJECT = msgspec.json.Decoder(dict[str, Any])

# What of a response has a place in the form; all else stays this dialect's own.
_TOLD = frozenset(
    {
        "model",
        "created_at",
        "message",
        "response",
        "thinking",
        "image",
        "tool_calls",
        "done",
        "done_reason",
        "prompt_eval_count",
        "eval_count",
        "logprobs",
        "error",
    }
)


class _Line(Struct, gc=False):
    """A whole response, or one line of a stream: a chat has `message`, a completion its members at the top."""

    model: Any = None
    created_at: Any = None
    message: Any = None
    response: Any = None
    thinking: Any = None
    image: Any = None
    tool_calls: Any = None
    done: Any = None
    done_reason: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    logprobs: Any = None
    error: Any = None

    def said(self) -> dict[str, Any]:
        """Return what it adds to the message, in a chat's words."""
        if isinstance(self.message, dict):
            return self.message
        return {
            "content": self.response,
            "thinking": self.thinking,
            "images": [self.image],
            "tool_calls": self.tool_calls,
        }


_LINE = msgspec.json.Decoder(_Line)


def _created(at: Any) -> int | None:
    """Return the Unix time of an RFC 3339 date."""
    try:
        date = datetime.fromisoformat(at)
        return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None


def _usage(line: _Line) -> Usage | None:
    asked, told = count(line.prompt_eval_count), count(line.eval_count)
    if asked is None and told is None:
        return None
    known = asked is not None and told is not None
    return Usage(input_tokens=asked, output_tokens=told, total_tokens=(asked or 0) + (told or 0) if known else None)


def _finish(line: _Line, called: bool) -> tuple[str | None, str | None]:
    """Return why it ended in the one vocabulary's word, and the provider's own where it is another."""
    if line.done is not True:
        return None, None
    word = text(line.done_reason)
    if called and word in {None, "stop"}:
        return "tool_calls", word
    return word or "stop", None


def _rest(data: bytes) -> dict[str, Any]:
    """Return what only this dialect tells: durations, the context, where else the model runs."""
    whole = decode(data, _OBJECT) or {}
    return {k: v for k, v in whole.items() if k not in _TOLD and v is not None}


def _read_response(body: bytes) -> ChatResponse:
    line = decode(body, _LINE)
    if line is None:
        return ChatResponse()
    said = line.said()
    parts: list[Part] = [Reasoning(content=thought)] if (thought := text(said.get("thinking"))) else []
    rest = _rest(body)
    likely = logprobs(line.logprobs)
    if content := text(said.get("content")):
        parts.append(Text(content=content, logprobs=likely))
    elif likely:
        rest["logprobs"] = line.logprobs
    parts += images(said.get("images"))
    calls = list(objects(said.get("tool_calls")))
    parts += [tool_call(call, made_id(text(line.created_at) or "", n)) for n, call in enumerate(calls)]
    finish = _finish(line, bool(calls))
    return _answered(line, parts, finish, usage=_usage(line), error=error_of(line.error), rest=rest)


def _answered(
    first: _Line,
    parts: list[Part],
    finish: tuple[str | None, str | None],
    *,
    usage: Usage | None,
    error: tuple[str | None, str | None],
    rest: dict[str, Any],
) -> ChatResponse:
    reason, word = finish
    answer = Message(role="assistant", parts=parts, finish_reason=reason, finish_word=word)
    return ChatResponse(
        model=text(first.model),
        finish_reasons=[reason] if reason else [],
        output_messages=[answer] if parts or reason else [],
        usage=usage,
        error_type=error[0],
        error_message=error[1],
        created=_created(first.created_at),
        extra=own(NAME, rest),
    )


def _read_embedded(body: bytes) -> ChatResponse:
    """Read an embeddings response; vectors are not kept."""
    line = decode(body, _LINE)
    if line is None:
        return ChatResponse()
    asked = count(line.prompt_eval_count)
    error_type, error_message = error_of(line.error)
    return ChatResponse(
        model=text(line.model),
        usage=None if asked is None else Usage(input_tokens=asked, total_tokens=asked),
        error_type=error_type,
        error_message=error_message,
    )


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


class _LineReader(EventReader):
    """Reads lines up to the one that is `done`, or an error's. A new part begins where the kind of content changes."""

    def __init__(self) -> None:
        super().__init__(NdjsonDecoder())
        self._first: _Line | None = None
        self._parts: list[Part | _Growing] = []
        self._open: _Growing | None = None
        self._begun = 0
        self._calls = 0
        self._finish: tuple[str | None, str | None] = (None, None)
        self._usage: Usage | None = None
        self._error: tuple[str | None, str | None] = (None, None)
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
        said = line.said()
        self._grow(Reasoning, said.get("thinking"))
        self._grow(Text, said.get("content"))
        if line.logprobs is not None:
            self._take_logprobs(line.logprobs, len(event.data))
        if said.get("images") is not None:
            for part in images(said["images"]):
                self._add(part, len(event.data))
        if said.get("tool_calls") is not None:
            for call in objects(said["tool_calls"]):
                self._add(tool_call(call, made_id(text(line.created_at) or "", self._calls)), len(event.data))
                self._calls += 1
        if line.error:
            self._break(line.error)
        elif line.done is True:
            self._end(line, event.data)
        return True

    def _begin(self, line: _Line) -> None:
        self._first = line
        if self.told is not None:
            self.told.append(events.Begun(model=text(line.model), created=_created(line.created_at)))

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
            if self.told is not None:
                self.told.append(events.PartBegun(index=growing.index, part=kind(content="")))
        self._keep(growing.pieces, piece)
        if self.told is not None:
            self.told.append(events.PartGrown(index=growing.index, text=piece))

    def _close(self) -> None:
        if self._open is not None and self.told is not None:
            self.told.append(events.PartDone(index=self._open.index, part=self._open.part()))
        self._open = None

    def _add(self, part: Part, size: int) -> None:
        """Take a part that comes whole."""
        self._close()
        self.first_output = True
        if self._has_room(size):
            self._parts.append(part)
        if self.told is not None:
            if isinstance(part, ToolCall):
                self.told.append(events.PartBegun(index=self._begun, part=replace(part, arguments=None)))
                self.told.append(events.PartGrown(index=self._begun, text=arguments_text(part)))
            else:
                self.told.append(events.PartBegun(index=self._begun, part=part))
            self.told.append(events.PartDone(index=self._begun, part=part))
        self._begun += 1

    def _take_logprobs(self, values: Any, size: int) -> None:
        if not self._has_room(size):
            return
        if self._open is not None and self._open.kind is Text:
            self._open.logprobs += logprobs(values)
        else:
            self._likely += objects(values)

    def _break(self, error: Any) -> None:
        self._error = error_of(error)
        self.ended = True
        if self.told is not None:
            self.told.append(events.Broken(type=self._error[0], message=self._error[1]))

    def _end(self, line: _Line, data: bytes) -> None:
        self._close()
        self.ended = True
        self._finish = _finish(line, self._calls > 0)
        self._usage = _usage(line)
        if self._has_room(len(data)):
            self._rest = _rest(data)
        if self._likely:
            self._rest["logprobs"] = self._likely
        if self.told is not None:
            reason, word = self._finish
            self.told.append(events.ChoiceDone(finish_reason=reason, finish_word=word, extra=own(NAME, self._rest)))
            if self._usage is not None:
                self.told.append(events.UsageTold(usage=self._usage))
            self.told.append(events.Ended())

    def answered(self) -> ChatResponse:
        """Return what was read so far."""
        parts = [part.part() if isinstance(part, _Growing) else part for part in self._parts]
        first = self._first or _Line()
        return _answered(first, parts, self._finish, usage=self._usage, error=self._error, rest=self._rest)


OLLAMA_CHAT = Dialect(
    name=NAME,
    read_request=read_request.read_chat,
    read_response=_read_response,
    stream_reader=_LineReader,
    read_conversation=read_request.read_chat_conversation,
)
OLLAMA_GENERATE = Dialect(
    name="ollama-generate",
    part_of=NAME,
    operation=TEXT_COMPLETION,
    read_request=read_request.read_generate,
    read_response=_read_response,
    stream_reader=_LineReader,
    read_conversation=read_request.read_generate_conversation,
)
# For the trace only: nothing is translated.
OLLAMA_EMBED = Dialect(
    name="ollama-embed",
    part_of=NAME,
    operation=EMBEDDINGS,
    read_request=read_request.read_embed,
    read_response=_read_embedded,
    stream_reader=_LineReader,
)
