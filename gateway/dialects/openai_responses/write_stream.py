"""A streamed response as the events of one of OpenAI's Responses.

Texts that follow each other are one message item with several parts of content, and reasoning likewise; everything else
is an item of its own. An item that more could belong to is done when another one begins, or the response ends.
"""

from typing import Any

import msgspec

from gateway.dialects import events
from gateway.dialects.conversation import ChatRequest, Part, Reasoning, Refusal, Text, ToolCall, Usage
from gateway.dialects.openai_responses.read_parts import NAME
from gateway.dialects.openai_responses.write_parts import Json, result_of
from gateway.dialects.openai_responses.write_response import (
    content_part,
    envelope,
    event_position,
    message_item,
    own_item,
    prove,
    reasoning_item,
    write_error_of,
    write_status,
    write_usage,
)
from gateway.dialects.shared.tool_ids import ResponseIds
from gateway.dialects.shared.writer import Dropped, StreamWriter


class _Item:
    """An item in the making: its number, its JSON so far, and the number of its parts that are not done."""

    def __init__(self, number: int, json: Json) -> None:
        self.number = number
        self.json = json
        self.parts = 0
        self.undone = 0
        self.left = False  # nothing more begins in it
        self.done = False
        self.proven = False  # of reasoning: its proof comes with its last part


class _Part:
    """A part that grows: its item, its first form, its number in the item, and its pieces."""

    def __init__(self, item: _Item, begun: Part, number: int) -> None:
        self.item = item
        self.begun = begun
        self.number = number
        self.pieces: list[str] = []


class ResponsesStreamWriter(StreamWriter):
    """Writes the events of one response."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, request: ChatRequest, now: float) -> None:
        super().__init__()
        self._request = request
        self._now = int(now)
        self._body: Json | None = None
        self._sequence = 0
        self._ids = ResponseIds(f"resp_{self._now}")
        self._items: list[_Item] = []
        self._parts: dict[int, _Part] = {}  # those that are not done
        self._last: _Item | None = None  # to which more may belong
        self._usage: Usage | None = None
        self._reason: events.ChoiceDone | None = None

    def _write(self, event: events.Event) -> bytes:
        match event:
            case events.Begun():
                self._dropped.foreign(event.extra, NAME)
                return self._begin(event)
            case events.PartBegun(choice=0):
                return self._begin(None) + self._begin_part(event)
            case events.PartGrown(choice=0):
                return self._grow(event)
            case events.PartDone(choice=0):
                return self._done(event)
            case events.PartBegun():
                self._dropped.add(f"choices[{event.choice}]")
            case events.ChoiceDone(choice=0):
                self._dropped.foreign(event.extra, NAME)
                self._reason = event
            case events.UsageUpdated():
                self._usage = event.usage
            case events.Broken():
                return self._begin(None) + self._end(write_error_of(event.type, event.message))
            case events.Ended():
                return self._begin(None) + self._end(None)
        return b""

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return f"event: {kind}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"

    def _begin(self, begun: events.Begun | None) -> bytes:
        if self._body is not None:
            return b""
        begin = begun or events.Begun()
        self._ids.response_id = begin.id or self._ids.response_id
        self._body = envelope(self._request, self._ids.response_id, begin.model, begin.created or self._now)
        return self._event("response.created", response=self._body) + self._event(
            "response.in_progress", response=self._body
        )

    def _begin_part(self, event: events.PartBegun) -> bytes:
        part, data = event.part, b""
        if not isinstance(part, Text | Refusal | Reasoning | ToolCall):
            return b""  # written when it is done
        if self._belongs_to_last(part):
            item = self._last
        else:
            data = self._leave_last()
            item = self._begin_item(part, event.index)
            if item is None:
                return data
            data += self._event("response.output_item.added", output_index=item.number, item=_as_begun(item.json))
            self._last = item if isinstance(part, Text | Refusal | Reasoning) else None
        if item is None:
            return data
        number, item.parts, item.undone = item.parts, item.parts + 1, item.undone + 1
        self._parts[event.index] = _Part(item, part, number)
        match part:
            case Text() | Refusal():
                at = event_position(item.json, item.number, content_index=number)
                empty = content_part(part, "", Dropped())
                data += self._event("response.content_part.added", **at, part=empty)
            case Reasoning():
                at = event_position(item.json, item.number, summary_index=number)
                summary = {"type": "summary_text", "text": ""}
                data += self._event("response.reasoning_summary_part.added", **at, part=summary)
        return data

    def _belongs_to_last(self, part: Part) -> bool:
        if self._last is None or self._last.proven:
            return False
        if isinstance(part, Text | Refusal):
            return self._last.json["type"] == "message" and not part.extra.get(NAME)
        return isinstance(part, Reasoning) and self._last.json["type"] == "reasoning"

    def _begin_item(self, part: Text | Refusal | Reasoning | ToolCall, index: int) -> _Item | None:
        number = len(self._items)
        json: Json | None
        if isinstance(part, Reasoning):
            json = {**reasoning_item(part, self._ids.response_id, number), "summary": []}
        elif isinstance(part, ToolCall):
            json = own_item(part, index, self._ids, number, self._dropped)
        else:
            json = {**message_item(part, self._ids.response_id, number), "content": []}
        if json is None:
            return None
        item = _Item(number, json)
        self._items.append(item)
        return item

    def _grow(self, event: events.PartGrown) -> bytes:
        if event.index not in self._parts:
            return b""
        growing = self._parts[event.index]
        growing.pieces.append(event.text)
        item, number = growing.item, growing.number
        at = event_position(item.json, item.number)
        match growing.begun:
            case Text():
                return self._event(
                    "response.output_text.delta", **at, content_index=number, delta=event.text, logprobs=[]
                )
            case Refusal():
                return self._event("response.refusal.delta", **at, content_index=number, delta=event.text)
            case Reasoning():
                return self._event(
                    "response.reasoning_summary_text.delta", **at, summary_index=number, delta=event.text
                )
            case ToolCall(custom=True):
                return self._event("response.custom_tool_call_input.delta", **at, delta=event.text)
            case ToolCall() if "arguments" in item.json:
                return self._event("response.function_call_arguments.delta", **at, delta=event.text)
        return b""

    def _done(self, event: events.PartDone) -> bytes:
        part, path = event.part, f"output[{event.index}]"
        if event.index not in self._parts:
            return self._whole(part, event.index)
        growing = self._parts.pop(event.index)
        item, number = growing.item, growing.number
        at = event_position(item.json, item.number)
        data = b""
        match part:
            case Text() | Refusal():
                data = self._content_done(item, part, {**at, "content_index": number}, path)
            case Reasoning():
                item.proven = bool(part.extra)
                item.json |= {key: value for key, value in prove(part).items() if key != "id"}
                summary = {"type": "summary_text", "text": part.content}
                item.json["summary"].append(summary)
                at["summary_index"] = number
                data = self._event("response.reasoning_summary_text.done", **at, text=part.content)
                data += self._event("response.reasoning_summary_part.done", **at, part=summary)
            case ToolCall():
                whole = own_item(part, event.index, self._ids, item.number, self._dropped) or {}
                item.json = {**whole, "id": item.json.get("id")}
                item.left = True
                if part.custom:
                    data = self._event("response.custom_tool_call_input.done", **at, input=whole["input"])
                elif "arguments" in whole:
                    data = self._event(
                        "response.function_call_arguments.done", **at, name=part.name, arguments=whole["arguments"]
                    )
        item.undone -= 1
        return data + self._done_item(item)

    def _content_done(self, item: _Item, part: Text | Refusal, at: Json, path: str) -> bytes:
        content = content_part(part, path, self._dropped)
        item.json["content"].append(content)
        if isinstance(part, Refusal):
            data = self._event("response.refusal.done", **at, refusal=part.content)
        else:
            data = self._event("response.output_text.done", **at, text=part.content, logprobs=content["logprobs"])
            for place, each in enumerate(content["annotations"]):
                data += self._event(
                    "response.output_text.annotation.added", **at, annotation_index=place, annotation=each
                )
        return data + self._event("response.content_part.done", **at, part=content)

    def _whole(self, part: Part, index: int) -> bytes:
        """Write a part that comes whole: as an item, or as the result of the tool before it."""
        last = self._items[-1] if self._items else None
        if last is not None and not last.done and (result := result_of(last.json, part)) is not None:
            last.json |= result
            return b""
        data = self._leave_last()
        json = own_item(part, index, self._ids, len(self._items), self._dropped)
        if json is None:
            return data
        item = self._last = _Item(len(self._items), json)  # its result may follow
        self._items.append(item)
        return data + self._event("response.output_item.added", output_index=item.number, item=json)

    def _leave_last(self) -> bytes:
        item, self._last = self._last, None
        if item is None:
            return b""
        item.left = True
        return self._done_item(item)

    def _done_item(self, item: _Item) -> bytes:
        if item.done or item.undone or not item.left:
            return b""
        item.done = True
        return self._event("response.output_item.done", output_index=item.number, item=item.json)

    def _keep_halves(self) -> None:
        """Add the text of unfinished parts: the response broke off."""
        for growing in self._parts.values():
            text, item = "".join(growing.pieces), growing.item.json
            match growing.begun:
                case Text() | Refusal():
                    part = msgspec.structs.replace(growing.begun, content=text)
                    item["content"].append(content_part(part, "", Dropped()))
                case Reasoning():
                    item["summary"].append({"type": "summary_text", "text": text})
                case ToolCall():
                    item["input" if "input" in item else "arguments"] = text
            item["status"] = "incomplete"

    def _end(self, error: Json | None) -> bytes:
        data = self._leave_last()
        self._keep_halves()
        reason = self._reason or events.ChoiceDone(finish_reason=None)
        status, details = write_status(reason.finish_reason, reason.finish_word, self._dropped)
        if error is None and status == "failed":
            error = write_error_of(reason.finish_word, None)
        body = {
            **(self._body or {}),
            "status": status if error is None else "failed",
            "incomplete_details": details,
            "error": error,
            "output": [item.json for item in self._items],
            "usage": write_usage(self._usage),
        }
        return data + self._event(f"response.{body['status']}", response=body)


def _as_begun(item: Json) -> Json:
    """Return an item as it begins."""
    emptied: Json = {key: "" for key in ("arguments", "input") if key in item and item["type"] != "reasoning"}
    return {**item, **emptied, "status": "in_progress"}
