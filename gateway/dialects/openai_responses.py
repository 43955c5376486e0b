"""OpenAI's Responses: a response is a list of items, streamed as the making of each."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.dialects import Dialect
from gateway.dialects import parameters as name
from gateway.dialects.conversation import Answered, Asked, Message, Part, Text, ToolCall
from gateway.dialects.framing import Event
from gateway.dialects.lenient import count, decode, definitions, error_of, fields, objects, text
from gateway.dialects.parameters import output_type, parameters
from gateway.dialects.responses_items import read_input, read_item
from gateway.dialects.streamed import EventReader
from gateway.dialects.usage import usage_of
from gateway.semconv import CHAT

__all__ = ["RESPONSES"]


class _Request(Struct, gc=False):
    model: Any = None
    stream: Any = None
    instructions: Any = None
    input: Any = None
    tools: Raw = Raw()
    max_output_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    reasoning: Any = None
    text: Any = None
    conversation: Any = None
    previous_response_id: Any = None
    user: Any = None
    safety_identifier: Any = None


_REQUEST = msgspec.json.Decoder(_Request)


def _read_request(body: bytes) -> Asked:
    request = decode(body, _REQUEST)
    if request is None:
        return Asked(operation=CHAT)
    instructions = text(request.instructions)
    return Asked(
        operation=CHAT,
        model=text(request.model),
        stream=request.stream is True,
        system_instructions=[Text(content=instructions)] if instructions else [],
        input_messages=read_input(request.input),
        tool_definitions=definitions(request.tools),
        parameters=parameters(
            {
                name.MAX_TOKENS: request.max_output_tokens,
                name.TEMPERATURE: request.temperature,
                name.TOP_P: request.top_p,
                name.STREAM: request.stream,
                name.REASONING_LEVEL: fields(request.reasoning).get("effort"),
                name.PREVIOUS_RESPONSE_ID: request.previous_response_id,
                name.OUTPUT_TYPE: output_type(fields(fields(request.text).get("format")).get("type")),
            }
        ),
        conversation_id=_conversation_id(request.conversation),
        user=text(request.user) or text(request.safety_identifier),
    )


def _conversation_id(conversation: Any) -> str | None:
    return text(conversation) or text(fields(conversation).get("id"))


class _Response(Struct, gc=False):
    id: Any = None
    model: Any = None
    status: Any = None
    incomplete_details: Any = None
    output: Any = None
    usage: Any = None
    error: Any = None
    conversation: Any = None
    message: Any = None  # of an error body that has its fields at the top
    code: Any = None


_RESPONSE = msgspec.json.Decoder(_Response)


def _read_response(body: bytes) -> Answered:
    whole = decode(body, _RESPONSE)
    if whole is None:
        return Answered()
    error = whole.error
    if not error and not isinstance(whole.output, list):
        error = {"code": whole.code, "message": whole.message}
    return _answered(whole, list(objects(whole.output)), error_of(error))


_INCOMPLETE = {"max_output_tokens": "length"}


def _finish_reason(response: _Response, parts: list[Part]) -> str | None:
    """Return the one vocabulary's word for how a response ended; None where it has not."""
    status = text(response.status)
    if status == "completed":
        return "tool_calls" if any(isinstance(p, ToolCall) for p in parts) else "stop"
    if status == "incomplete":
        reason = text(fields(response.incomplete_details).get("reason")) or status
        return _INCOMPLETE.get(reason, reason)
    if status == "failed":
        return "error"
    return None if status in {"in_progress", "queued"} else status


def _answered(response: _Response, items: list[dict[str, Any]], error: tuple[str | None, str | None]) -> Answered:
    parts = [part for item in items for part in read_item(item)]
    reason = _finish_reason(response, parts)
    answers = bool(parts) or reason is not None
    return Answered(
        id=text(response.id),
        model=text(response.model),
        finish_reasons=[reason] if reason else [],
        output_messages=[Message(role="assistant", parts=parts, finish_reason=reason)] if answers else [],
        usage=usage_of(
            response.usage,
            input_name="input_tokens",
            output_name="output_tokens",
            input_details="input_tokens_details",
            output_details="output_tokens_details",
        ),
        error_type=error[0],
        error_message=error[1],
        conversation_id=_conversation_id(response.conversation),
    )


class _Event(Struct, gc=False):
    type: Any = None
    output_index: Any = 0
    content_index: Any = 0
    summary_index: Any = 0
    delta: Any = None
    item: Any = None
    response: _Response | None = None
    error: Any = None
    code: Any = None
    message: Any = None


_EVENT = msgspec.json.Decoder(_Event)

# What a delta adds to: the kind of item it makes, the item's field, and the type of the part in it
# (None: the field itself is the text).
_DELTAS: dict[str, tuple[str, str, str | None]] = {
    "response.output_text.delta": ("message", "content", "output_text"),
    "response.refusal.delta": ("message", "content", "refusal"),
    "response.reasoning_summary_text.delta": ("reasoning", "summary", "summary_text"),
    "response.reasoning_text.delta": ("reasoning", "content", "reasoning_text"),
    "response.function_call_arguments.delta": ("function_call", "arguments", None),
    "response.custom_tool_call_input.delta": ("custom_tool_call", "input", None),
    "response.mcp_call_arguments.delta": ("mcp_call", "arguments", None),
    "response.code_interpreter_call_code.delta": ("code_interpreter_call", "code", None),
}

_ENDS = {"response.completed", "response.failed", "response.incomplete"}


class _Item:
    """An output item as far as its deltas have come; `done` is the whole of it, once it was told."""

    __slots__ = ("done", "start", "texts")

    def __init__(self, start: dict[str, Any]) -> None:
        self.start = start
        self.done: dict[str, Any] | None = None
        self.texts: dict[tuple[str, str | None, int], list[str]] = {}

    def whole(self) -> dict[str, Any]:
        """Return the item as a response that was not streamed would have it."""
        if self.done is not None:
            return self.done
        item = dict(self.start)
        told: dict[str, list[dict[str, Any]]] = {}
        for (field, part_type, _), pieces in sorted(self.texts.items(), key=lambda t: t[0][2]):
            joined = "".join(pieces)
            if part_type is None:
                item[field] = joined
            else:
                key = "refusal" if part_type == "refusal" else "text"
                told.setdefault(field, []).append({"type": part_type, key: joined})
        return {**item, **told}


class _ResponseReader(EventReader):
    """Reads events from `response.created` to `response.completed`, or another that ends it."""

    def __init__(self) -> None:
        super().__init__()
        self._response = _Response()
        self._items: dict[int, _Item] = {}
        self._error: tuple[str | None, str | None] = (None, None)

    def _take(self, event: Event) -> bool:
        read = decode(event.data, _EVENT)
        if read is None:
            return False
        kind = text(read.type) or event.name or ""
        adds_to = _DELTAS.get(kind)
        if adds_to is not None:
            self._take_delta(read, adds_to)
        elif kind in {"response.output_item.added", "response.output_item.done"}:
            self._take_item(read, len(event.data), done=kind.endswith("done"))
        elif kind == "error":
            self._error = error_of(read.error or {"code": read.code, "message": read.message})
            self.ended = True
        elif read.response is not None:  # created, in_progress, ..., and those that end it
            self._response = read.response
            self.ended = self.ended or kind in _ENDS
            if read.response.error:
                self._error = error_of(read.response.error)
        return True

    def _take_delta(self, read: _Event, adds_to: tuple[str, str, str | None]) -> None:
        kind, field, part_type = adds_to
        item = self._item(read, {"type": kind})
        if item is not None:
            place = read.summary_index if field == "summary" else read.content_index
            self._keep(item.texts.setdefault((field, part_type, count(place) or 0), []), read.delta)

    def _take_item(self, read: _Event, size: int, *, done: bool) -> None:
        told = fields(read.item)
        item = self._item(read, told)
        if item is not None and done and self._has_room(size):
            item.done = told
        self.first_output = self.first_output or text(told.get("type")) not in {"message", "reasoning"}

    def _item(self, read: _Event, start: dict[str, Any]) -> _Item | None:
        """Return the item an event is about, a new one if need be."""
        index = count(read.output_index) or 0
        item = self._items.get(index)
        if item is None and self._has_room(0):
            item = self._items[index] = _Item(start)
        return item

    def answered(self) -> Answered:
        """Return what was read so far; the last event tells the whole response once more."""
        items = list(objects(self._response.output))
        if not items:
            items = [item.whole() for _, item in sorted(self._items.items())]
        return _answered(self._response, items, self._error)


RESPONSES = Dialect(
    name="openai-responses",
    read_request=_read_request,
    read_response=_read_response,
    stream_reader=_ResponseReader,
)
