"""A streamed response of OpenAI's Responses: the making of its items, one event after the other."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects import events
from gateway.dialects.conversation import ChatResponse
from gateway.dialects.openai_responses.read_response import _Response, chat_response
from gateway.dialects.openai_responses.stream_item import Item
from gateway.dialects.shared.reported_error import error_of
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.wire.json import count, decode, fields, objects, text
from gateway.dialects.wire.sse import Event


class _Event(Struct, gc=False):
    type: Any = None
    output_index: Any = 0
    content_index: Any = 0
    summary_index: Any = 0
    delta: Any = None
    item: Any = None
    part: Any = None
    response: _Response | None = None
    error: Any = None
    code: Any = None
    message: Any = None


_EVENT = msgspec.json.Decoder(_Event)


# The target of a delta: the kind of item it makes, the item's field, and the type of the part in it
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


class ResponsesStreamReader(EventReader):
    """Reads events from `response.created` to `response.completed`, or another that ends it."""

    def __init__(self) -> None:
        super().__init__()
        self._response = _Response()
        self._items: dict[int, Item] = {}
        self._begun = False
        self._parts = 0  # that have begun

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
        elif kind == "response.content_part.done":
            item = self._items.get(count(read.output_index) or 0)
            if item is not None and self.events is not None:
                item.emit_part_done(self.events, count(read.content_index) or 0, fields(read.part))
        elif kind == "error" or (read.error and not kind):
            self._fail(error_of(read.error or {"code": read.code, "message": read.message}))
        elif read.response is not None:  # created, in_progress, ..., and those that end it
            self._take_response(read.response, kind)
        return True

    def _take_response(self, response: _Response, kind: str) -> None:
        self._response = response
        self.expects_end = True
        ends = kind in _ENDS
        self.ended = self.ended or ends
        if response.error:
            self._error = error_of(response.error)
        if self.events is None:
            return
        if not self._begun:
            self._begun = True
            begun = events.Begun(id=text(response.id), model=text(response.model), created=count(response.created_at))
            self.events.append(begun)
        if ends:
            self._emit_end(self.events)

    def _emit_end(self, sink: list[events.Event]) -> None:
        for index, whole in enumerate(objects(self._response.output)):
            if index not in self._items:  # a stream that was resumed near its end has the others only here
                self._items[index] = Item(whole)
        for _, item in sorted(self._items.items()):
            self._parts = item.emit_done(sink, self._parts)
        response = self.response()
        if response.usage is not None:
            sink.append(events.UsageUpdated(usage=response.usage))
        if any(self._error):
            sink.append(events.Broken(type=self._error.type, message=self._error.message))
            return
        sink += [
            events.ChoiceDone(finish_reason=message.finish_reason, finish_word=message.finish_word)
            for message in response.output_messages
        ]
        sink.append(events.Ended())

    def _take_delta(self, read: _Event, adds_to: tuple[str, str, str | None]) -> None:
        kind, field, part_type = adds_to
        item = self._item(read, {"type": kind})
        if item is None:
            return
        place = count(read.summary_index if field == "summary" else read.content_index) or 0
        self._keep(item.texts.setdefault((field, part_type, place), []), read.delta)
        if self.events is not None and isinstance(read.delta, str) and read.delta:
            self._parts = item.emit_grown(self.events, self._parts, (field, part_type, place), read.delta)

    def _take_item(self, read: _Event, size: int, *, done: bool) -> None:
        wire = fields(read.item)
        item = self._item(read, wire)
        if item is not None and self._has_room(size):
            if done:
                item.done = wire
            if self.events is not None:
                emit = item.emit_done if done else item.emit_begun
                self._parts = emit(self.events, self._parts)
        self.first_output = self.first_output or text(wire.get("type")) not in {"message", "reasoning"}

    def _item(self, read: _Event, start: dict[str, Any]) -> Item | None:
        """Return the item an event is about, a new one if need be."""
        index = count(read.output_index) or 0
        item = self._items.get(index)
        if item is None and self._has_room(0):
            item = self._items[index] = Item(start)
        return item

    def response(self) -> ChatResponse:
        """Return the response as read so far; the last event repeats it whole."""
        items = list(objects(self._response.output))
        if not items:
            items = [item.whole() for _, item in sorted(self._items.items())]
        return chat_response(self._response, items, self._error)

    def reported(self) -> dict[str, Any]:
        """Return the members of the response that its billing is read from."""
        response = self._response
        return {"usage": response.usage, "tool_usage": response.tool_usage, "service_tier": response.service_tier}
