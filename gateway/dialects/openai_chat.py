"""OpenAI's chat completions, older completions and embeddings: the wire format most providers speak."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects import Dialect, openai_request
from gateway.dialects.conversation import (
    Answered,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.framing import Event
from gateway.dialects.lenient import count, decode, error_of, fields, json_value, objects, text
from gateway.dialects.openai_request import message_parts
from gateway.dialects.stream_usage import UsageFilter, ask_for_usage
from gateway.dialects.streamed import EventReader
from gateway.dialects.usage import merged, usage_of

__all__ = ["CHAT_COMPLETIONS", "COMPLETIONS", "EMBEDDINGS", "UsageFilter", "ask_for_usage"]


class _Delta(Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None  # DeepSeek, vLLM, xAI
    reasoning: Any = None  # OpenRouter, Groq
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None


class _Choice(Struct, gc=False):
    index: Any = 0
    delta: _Delta | None = None
    text: Any = None  # completions
    finish_reason: Any = None


class _Chunk(Struct, gc=False):
    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    message: Any = None  # of an `event: error` without an error object


_CHUNK = msgspec.json.Decoder(_Chunk)


class _Whole(Struct, gc=False):
    id: Any = None
    model: Any = None
    choices: Any = None
    usage: Any = None
    error: Any = None
    type: Any = None
    code: Any = None
    message: Any = None
    detail: Any = None


_WHOLE = msgspec.json.Decoder(_Whole)


def _usage(reported: Any) -> Usage | None:
    return usage_of(
        reported,
        input_name="prompt_tokens",
        output_name="completion_tokens",
        input_details="prompt_tokens_details",
        output_details="completion_tokens_details",
    )


def _finish_reason(reason: Any) -> str | None:
    """Return the one vocabulary's word; it is OpenAI's but for the older function calls."""
    return "tool_calls" if reason == "function_call" else text(reason)


def _read_response(body: bytes) -> Answered:
    whole = decode(body, _WHOLE)
    if whole is None:
        return Answered()
    error_type, error_message = error_of(whole.error)
    if not whole.error and not isinstance(whole.choices, list):
        # vLLM and others put an error's fields at the top
        error_message = text(whole.message) or text(whole.detail)
        error_type = (text(whole.type) or text(whole.code)) if error_message else None
    messages = []
    for choice in sorted(objects(whole.choices), key=lambda c: count(c.get("index")) or 0):
        parts: list[Part] = message_parts(fields(choice.get("message")))
        if completion := text(choice.get("text")):
            parts.append(Text(content=completion))
        reason = _finish_reason(choice.get("finish_reason"))
        messages.append(Message(role="assistant", parts=parts, finish_reason=reason))
    return Answered(
        id=text(whole.id),
        model=text(whole.model),
        finish_reasons=[m.finish_reason for m in messages if m.finish_reason],
        output_messages=messages,
        usage=_usage(whole.usage),
        error_type=error_type,
        error_message=error_message,
    )


class _Call:
    """A tool call as far as its deltas have come."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments: list[str] = []


class _Collected:
    """One choice as far as its deltas have come; they are joined once, at the end."""

    __slots__ = ("by_index", "calls", "finish_reason", "reasoning", "refusal", "text")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: list[_Call] = []
        self.by_index: dict[int, _Call] = {}
        self.finish_reason: str | None = None

    def call(self, index: int | None, call_id: str | None) -> _Call:
        """Return the call a delta belongs to. A new id starts one: some providers leave every index 0."""
        if index is None:
            index = len(self.by_index) if call_id else max(len(self.by_index) - 1, 0)
        call = self.by_index.get(index)
        if call is None or (call_id and call.id and call.id != call_id):
            call = self.by_index[index] = _Call()
            self.calls.append(call)
        return call

    def message(self) -> Message:
        """Return what came so far."""
        parts: list[Part] = []
        if self.reasoning:
            parts.append(Reasoning(content="".join(self.reasoning)))
        if self.text:
            parts.append(Text(content="".join(self.text)))
        if self.refusal:
            parts.append(Refusal(content="".join(self.refusal)))
        parts += [ToolCall(id=c.id, name=c.name, arguments=json_value("".join(c.arguments))) for c in self.calls]
        return Message(role="assistant", parts=parts, finish_reason=self.finish_reason)


class _ChatReader(EventReader):
    """Reads `data: {chunk}` events up to `data: [DONE]`."""

    def __init__(self) -> None:
        super().__init__()
        self._id: str | None = None
        self._model: str | None = None
        self._choices: dict[int, _Collected] = {}
        self._usage: Usage | None = None
        self._error: tuple[str | None, str | None] = (None, None)

    def _take(self, event: Event) -> bool:
        if event.data == b"[DONE]":
            self.ended = True
            return True
        chunk = decode(event.data, _CHUNK)
        if chunk is None:
            return False
        if self._id is None:
            self._id = text(chunk.id)
        if not self._model:
            self._model = text(chunk.model)
        for choice in chunk.choices or ():
            self._take_choice(choice)
        if chunk.usage is not None:
            self._usage = merged(self._usage, _usage(chunk.usage))
        if chunk.error or event.name == "error":
            self._error = error_of(chunk.error or {"message": chunk.message})
            self.ended = True
        return True

    def _take_choice(self, choice: _Choice) -> None:
        index = count(choice.index) or 0
        collected = self._choices.get(index)
        if collected is None:
            if not self._has_room(0):
                return
            collected = self._choices[index] = _Collected()
        delta = choice.delta
        content = choice.text if delta is None else delta.content
        if isinstance(content, str):
            self._keep(collected.text, content)
        elif content is not None:
            self._take_parts(collected, content)
        if delta is not None:
            if thought := delta.reasoning_content or delta.reasoning:
                self._keep(collected.reasoning, thought)
            if delta.refusal:
                self._keep(collected.refusal, delta.refusal)
            if delta.tool_calls:
                for call in objects(delta.tool_calls):
                    self._take_call(collected, call, fields(call.get("function")) or fields(call.get("custom")))
            if delta.function_call:
                self._take_call(collected, {"index": -1}, fields(delta.function_call))
            if delta.audio:
                self._keep(collected.text, fields(delta.audio).get("transcript"))
        if choice.finish_reason is not None:
            collected.finish_reason = _finish_reason(choice.finish_reason)

    def _take_parts(self, collected: _Collected, content: Any) -> None:
        """Take content that comes as a list of parts (Mistral's reasoning models)."""
        for part in message_parts({"content": content}):
            if isinstance(part, Reasoning):
                self._keep(collected.reasoning, part.content)
            elif isinstance(part, Text):
                self._keep(collected.text, part.content)

    def _take_call(self, collected: _Collected, delta: dict[str, Any], function: dict[str, Any]) -> None:
        call_id = text(delta.get("id"))
        if not self._has_room(0):
            return
        call = collected.call(count(delta.get("index")), call_id)
        call.id = call.id or call_id
        call.name = call.name or text(function.get("name")) or ""
        arguments = function.get("arguments", function.get("input"))
        self._keep(call.arguments, arguments)
        self.first_output = True

    def answered(self) -> Answered:
        """Return what was read so far."""
        messages = [collected.message() for _, collected in sorted(self._choices.items())]
        error_type, error_message = self._error
        return Answered(
            id=self._id,
            model=self._model,
            finish_reasons=[m.finish_reason for m in messages if m.finish_reason],
            output_messages=messages,
            usage=self._usage,
            error_type=error_type,
            error_message=error_message,
        )


CHAT_COMPLETIONS = Dialect(
    name="openai-chat",
    read_request=openai_request.read_chat,
    read_response=_read_response,
    stream_reader=_ChatReader,
)
COMPLETIONS = Dialect(
    name="openai-completions",
    read_request=openai_request.read_completion,
    read_response=_read_response,
    stream_reader=_ChatReader,
)
# Read like a chat's response without choices: the model, the usage, an error. Vectors are not kept.
EMBEDDINGS = Dialect(
    name="openai-embeddings",
    read_request=openai_request.read_embeddings,
    read_response=_read_response,
    stream_reader=_ChatReader,
)
