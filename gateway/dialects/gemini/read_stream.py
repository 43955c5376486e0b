"""Gemini's streams: each event is a response with the new content. Pure.

The stream has no last event; it ends when each candidate has finished.
"""

from typing import Any

from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import ChatResponse, Reasoning, Text, ToolCall, Usage
from gateway.dialects.gemini.json_array import END, EitherDecoder
from gateway.dialects.gemini.read_parts import pick, read_part, rest
from gateway.dialects.gemini.read_response import (
    DECODER,
    KNOWN,
    answer_extra,
    own_fields,
    own_usage,
    read_blocked,
    read_created,
    read_finish,
    read_logprobs,
    read_usage,
)
from gateway.dialects.gemini.stream_arguments import Arguments
from gateway.dialects.gemini.stream_choice import Choice
from gateway.dialects.shared.reported_error import error_of
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.wire.json import count, decode, fields, objects, text
from gateway.dialects.wire.sse import Event


class GeminiStreamReader(EventReader):
    """Reads responses, each with new content, until all candidates have finished."""

    def __init__(self) -> None:
        super().__init__(EitherDecoder())
        self._first: dict[str, Any] | None = None  # the first response's fields beside its candidates
        self._own: dict[str, Any] = {}
        self._choices: dict[int, Choice] = {}
        self._reported: dict[str, Any] = {}
        self._emitted_usage: Usage | None = None

    def _take(self, event: Event) -> bool:
        for choice in self._choices.values():
            choice.sink = self.events  # `drain_events` replaces the list
        if event.name == END:
            self._take_about({}, 0)
            for choice in self._choices.values():
                if not choice.done:
                    choice.finish(None)
            self._end()
            return True
        chunk = decode(event.data, DECODER)
        if chunk is None:
            return False
        size = len(event.data)
        self._take_about(chunk, size)
        if chunk.get("error") or event.name == "error":
            self._fail(error_of(chunk.get("error") or chunk))
            return True
        for candidate in objects(chunk.get("candidates")):
            self._take_candidate(candidate, size)
        if not self._choices:
            reason, word = read_blocked(pick(chunk, "promptFeedback"))
            if reason is not None:
                self._choice(0).finish(reason, word)
        self._take_usage(chunk)
        if self._done():
            self._end()
        return True

    def _take_about(self, chunk: dict[str, Any], size: int) -> None:
        """Take a response's own fields, which each event repeats; the first one counts."""
        own = rest(chunk, KNOWN)
        if own and self._has_room(size):
            self._own.update(own)
        if self._first is None:
            self._first = {k: pick(chunk, k) for k in ("responseId", "modelVersion", "createTime")}
            if self.events is not None:
                self.events.append(
                    events.Begun(
                        id=text(self._first["responseId"]),
                        model=text(self._first["modelVersion"]),
                        usage=read_usage(pick(chunk, "usageMetadata"), whole=False),
                        created=read_created(self._first["createTime"]),
                        extra=answer_extra(dict(self._own), {}),
                    )
                )

    def _choice(self, index: int) -> Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = Choice(index, self.events)
        return choice

    def _take_candidate(self, candidate: dict[str, Any], size: int) -> None:
        index = count(candidate.get("index")) or 0
        known = self._choices.get(index)
        if self.events is not None and (self.ended or (known is not None and known.done)):
            self._unread += 1  # the stream or the candidate has ended
            return
        if known is None and not self._has_room(0):
            return
        choice = self._choice(index)
        for part in objects(fields(candidate.get("content")).get("parts")):
            self._take_part(choice, part, size)
        own = own_fields(candidate)
        if own and self._has_room(size):
            choice.own.update(own)
        growing = choice.open
        if result := pick(candidate, "logprobsResult"):
            logprobs = read_logprobs(result)
            if growing is not None and isinstance(growing.part, Text) and self._has_room(size):
                growing.logprobs += logprobs
        if ended := pick(candidate, "finishReason"):
            reason, word = read_finish(ended, called=choice.called)
            if reason is not None:
                choice.finish(reason, word)

    def _take_part(self, choice: Choice, wire: dict[str, Any], size: int) -> None:
        call = pick(wire, "functionCall")
        if isinstance(call, dict) and self._take_piece(choice, wire, call):
            return
        part = read_part(wire)
        if part is None:
            return
        if isinstance(part, Text | Reasoning):
            self._take_text(choice, part)
        else:
            self.first_output = True
            if self._has_room(size):
                choice.add(part)

    def _take_text(self, choice: Choice, part: Text | Reasoning) -> None:
        growing = choice.open
        same = growing is not None and type(growing.part) is type(part)
        if growing is None or not same or (growing.signed and part.content):
            if not self._has_room(0):
                return
            growing = choice.begin(replace(part, content=""))
        else:
            growing.add_extra(part.extra)
        known = len(growing.pieces)
        self._keep(growing.pieces, part.content)
        if len(growing.pieces) > known:
            choice.grown(part.content)

    def _take_piece(self, choice: Choice, wire: dict[str, Any], call: dict[str, Any]) -> bool:
        """Take a call that comes in pieces, as Vertex sends it on request; return whether it is one."""
        growing = choice.open if choice.open is not None and choice.open.arguments is not None else None
        name = text(call.get("name"))
        goes_on = pick(call, "willContinue") is True
        pieces = pick(call, "partialArgs")
        if (growing is None and not goes_on and not pieces) or (name and call.get("args") is not None):
            return False
        if name or growing is None:
            if not self._has_room(0):
                return True
            begun = read_part({**wire, "functionCall": {"id": call.get("id"), "name": name}})
            extra = begun.extra if isinstance(begun, ToolCall) else {}
            growing = choice.begin(ToolCall(id=text(call.get("id")), name=name or "", extra=extra), Arguments())
        self.first_output = True
        for piece in objects(pieces):
            known = len(growing.pieces)
            if growing.arguments is not None:
                self._keep(growing.pieces, growing.arguments.add(piece))
            choice.grown("".join(growing.pieces[known:]))
        if not goes_on:
            choice.close()
        return True

    def _take_usage(self, chunk: dict[str, Any]) -> None:
        """Take the usage known by now; later counts replace earlier ones."""
        reported = pick(chunk, "usageMetadata")
        if not isinstance(reported, dict):
            return
        self._reported.update({k: v for k, v in reported.items() if v is not None})
        if self.events is None or self.ended:
            return
        usage = self._usage()
        if usage is not None and usage != self._emitted_usage:
            self._emitted_usage = usage
            self.events.append(events.UsageUpdated(usage=usage))

    def _usage(self) -> Usage | None:
        return read_usage(self._reported, whole=self._done())

    def _done(self) -> bool:
        """Whether all candidates that have been seen have finished."""
        for choice in self._choices.values():
            if not choice.done:
                return False
        return bool(self._choices)

    def _end(self) -> None:
        if not self.ended and self.events is not None:
            self.events.append(events.Ended())
        self.ended = True

    def response(self) -> ChatResponse:
        """Return the response as read so far."""
        messages = [choice.message() for _, choice in sorted(self._choices.items())]
        first = self._first or {}
        return ChatResponse(
            id=text(first.get("responseId")),
            model=text(first.get("modelVersion")),
            finish_reasons=[m.finish_reason for m in messages if m.finish_reason],
            output_messages=messages,
            usage=self._usage(),
            error_type=self._error.type,
            error_message=self._error.message,
            error_status=self._error.status,
            created=read_created(first.get("createTime")),
            extra=answer_extra(dict(self._own), own_usage(self._reported)),
        )

    def reported(self) -> dict[str, Any]:
        """Return the members of a response that its billing is read from."""
        return {"gemini_usage": self._reported}
