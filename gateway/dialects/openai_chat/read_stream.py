"""A streamed chat completion, or an older completion: chunks up to `[DONE]`."""

from typing import Any

import msgspec
from msgspec import UNSET, Struct

from gateway.dialects import events
from gateway.dialects.conversation import ChatResponse, Reasoning, Text, Usage
from gateway.dialects.openai_chat.read_parts import filled, message_parts, read_citations, without_text
from gateway.dialects.openai_chat.read_response import read_error, read_finish, read_logprobs, top_error
from gateway.dialects.openai_chat.stream_choice import Choice
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.shared.usage import chat_usage, merged_usage, usage_of
from gateway.dialects.wire.json import count, decode, fields, objects, text
from gateway.dialects.wire.sse import Event


class _Delta(Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None  # DeepSeek, vLLM, xAI
    reasoning: Any = None  # OpenRouter, Groq
    reasoning_details: Any = None  # OpenRouter
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None
    annotations: Any = None


class _Choice(Struct, gc=False):
    index: Any = 0
    delta: _Delta | None = None
    text: Any = None  # completions
    logprobs: Any = None
    finish_reason: Any = UNSET
    error: Any = None  # OpenRouter
    usage: Any = None  # Moonshot


class _Chunk(Struct, gc=False):
    id: Any = None
    model: Any = None
    created: Any = None
    object: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    service_tier: Any = None
    error: Any = None
    message: Any = None  # of an error without an error object, and the next ones
    detail: Any = None
    type: Any = None
    code: Any = None
    base_resp: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)

# Of streams as OpenAI has them, with finish reasons; providers without either end their streams as they like.
_OBJECTS = frozenset({"chat.completion.chunk", "text_completion"})


class ChatStreamReader(EventReader):
    """Reads `data: {chunk}` events up to `data: [DONE]`."""

    def __init__(self) -> None:
        super().__init__()
        self._id: str | None = None
        self._model: str | None = None
        self._created: int | None = None
        self._begun = False
        self._choices: dict[int, Choice] = {}
        self._usage: Usage | None = None
        self._reported: dict[str, Any] = {}
        self._service_tier: Any = None

    def _take(self, event: Event) -> bool:
        if event.data == b"[DONE]":
            self.ended = True
            if self.events is not None:
                for begun in self._choices.values():
                    begun.end(self.events)
                self.events.append(events.Ended())
            return True
        chunk = decode(event.data, _CHUNK)
        if chunk is None:
            return False
        if self._id is None:
            self._id = text(chunk.id)
        if not self._model:
            self._model = text(chunk.model)
        if not self._begun:
            self._begun = True
            self.expects_end = text(chunk.object) in _OBJECTS
            self._created = count(chunk.created)
            if self.events is not None:
                self.events.append(events.Begun(id=self._id, model=self._model, created=self._created))
        for choice in chunk.choices or ():
            self._take_choice(choice)
        if chunk.service_tier is not None:
            self._service_tier = chunk.service_tier
        if reported := chat_usage(chunk.usage, chunk.x_groq, (each.usage for each in chunk.choices or ())):
            self._reported |= {name: value for name, value in reported.items() if value is not None}
            self._usage = merged_usage(self._usage, usage_of(reported))
            if self.events is not None and self._usage is not None:
                self.events.append(events.UsageUpdated(usage=self._usage))
        failed = chunk.error or next((choice.error for choice in chunk.choices or () if choice.error), None)
        if failed or event.name == "error":
            self._fail(read_error(failed, chunk.message))
        elif not chunk.choices and any(error := top_error(chunk)):
            self._fail(error)
        return True

    def _take_choice(self, wire: _Choice) -> None:
        index = count(wire.index) or 0
        choice = self._choices.get(index)
        if choice is None:
            if not self._has_room(0):
                return
            choice = self._choices[index] = Choice(index)
        delta = wire.delta
        content = wire.text if delta is None else delta.content
        if isinstance(content, str):
            self._grow(choice, "text", content)
        elif content:
            self._take_parts(choice, content)
        if wire.logprobs:
            self._take_logprobs(choice, wire.logprobs)
        if delta is not None:
            if thought := delta.reasoning_content or delta.reasoning:
                self._grow(choice, "reasoning", thought)
            if delta.reasoning_details:
                self._take_details(choice, delta.reasoning_details)
            if delta.refusal:
                self._grow(choice, "refusal", delta.refusal)
            if delta.tool_calls:
                for call in objects(delta.tool_calls):
                    self._take_call(choice, call)
            if call := filled(delta.function_call):
                self._take_call(choice, {"index": -1, "function": call})
            if delta.audio:
                self._grow(choice, "text", fields(delta.audio).get("transcript"))
            if delta.annotations:
                self._take_citations(choice, delta.annotations)
        if wire.finish_reason is UNSET:
            return
        self.expects_end = True
        if wire.finish_reason is not None:
            choice.finish_reason, choice.finish_word = read_finish(wire.finish_reason, called=choice.called)
            if self.events is not None:
                choice.end(self.events)

    def _grow(self, choice: Choice, kind: str, piece: Any) -> None:
        """Add a piece to the text of this kind; a value that is no text, or empty, is ignored."""
        if not isinstance(piece, str) or not piece:
            return
        part = choice.open
        if part is None or part.kind != kind:
            if not self._has_room(0):
                return
            part = choice.begin(kind, self.events)
        self.first_output = True
        if self._has_room(len(piece)):
            part.pieces.append(piece)
        if self.events is not None:
            choice.grow(part, piece, self.events)

    def _take_parts(self, choice: Choice, content: Any) -> None:
        """Take content that comes as a list of parts (Mistral's reasoning models)."""
        for part in message_parts({"content": content}):
            if isinstance(part, Reasoning | Text):
                self._grow(choice, "reasoning" if isinstance(part, Reasoning) else "text", part.content)

    def _take_logprobs(self, choice: Choice, logprobs: Any) -> None:
        part = choice.latest("text")
        if part is not None and self._has_room(len(part.logprobs) + 1):
            part.logprobs += read_logprobs(logprobs)

    def _take_citations(self, choice: Choice, annotations: Any) -> None:
        part = choice.latest("text")
        if part is not None and self._has_room(len(part.citations) + 1):
            part.citations += read_citations(annotations, choice.text_before(part))

    def _take_details(self, choice: Choice, details: Any) -> None:
        """Take the proof of reasoning for its provider; its text comes in a field of its own, too."""
        part = choice.latest("reasoning")
        if part is None:
            part = choice.begin("reasoning", self.events)
        for detail in objects(details):
            rest = without_text(detail)
            if self._has_room(len(str(rest))):
                place = detail.get("index")
                known = part.details.setdefault(place if isinstance(place, int) else len(part.details), {})
                known.update(rest)

    def _take_call(self, choice: Choice, delta: dict[str, Any]) -> None:
        custom = filled(delta.get("custom"))
        function = filled(delta.get("function")) or custom
        call_id = text(delta.get("id"))
        if not self._has_room(0):
            return
        call = choice.call(count(delta.get("index")), call_id, self.events)
        call.id = call.id or call_id
        call.name = call.name or text(function.get("name")) or ""
        call.custom = call.custom or bool(custom)
        arguments = function.get("arguments", function.get("input"))
        self._keep(call.pieces, arguments)
        self.first_output = True
        if self.events is not None:
            choice.grow(call, arguments if isinstance(arguments, str) else "", self.events)

    def response(self) -> ChatResponse:
        """Return the response as read so far."""
        messages = [choice.message() for _, choice in sorted(self._choices.items())]
        return ChatResponse(
            id=self._id,
            model=self._model,
            finish_reasons=[m.finish_reason for m in messages if m.finish_reason],
            output_messages=messages,
            usage=self._usage,
            error_type=self._error.type,
            error_message=self._error.message,
            error_status=self._error.status,
            created=self._created,
        )

    def reported(self) -> dict[str, Any]:
        """Return the members of a response that its billing is read from."""
        return {"usage": self._reported, "service_tier": self._service_tier}
