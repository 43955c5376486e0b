"""One output item of a streamed response as far as its deltas have come, and the events of its parts."""

from typing import Any

import msgspec

from gateway.dialects.conversation import Extra, Part, Reasoning, Refusal, Text, ToolCall
from gateway.dialects.events import Event, PartBegun, PartDone, PartGrown
from gateway.dialects.openai_responses.read_parts import NAME, read_item
from gateway.dialects.shared.extra import own
from gateway.dialects.wire.json import text

Place = tuple[str, str | None, int]
"""The item's field that a delta adds to, the type of the part in it (None: the field is the text), and its number."""

_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}


class Item:
    """An item; `done` is the whole of it, once it has come."""

    __slots__ = ("_begun_parts", "_ended", "_whole", "done", "start", "texts")

    def __init__(self, start: dict[str, Any]) -> None:
        self.start = start
        self.done: dict[str, Any] | None = None
        self.texts: dict[Place, list[str]] = {}
        self._begun_parts: dict[Place, int] = {}  # the numbers of the parts that have begun
        self._whole: set[Place] = set()  # those whose `PartDone` was emitted
        self._ended = False

    def whole(self) -> dict[str, Any]:
        """Return the item as a response that was not streamed would have it."""
        if self.done is not None:
            return self.done
        item = dict(self.start)
        grown: dict[str, list[dict[str, Any]]] = {}
        for (field, part_type, _), pieces in sorted(self.texts.items(), key=lambda t: t[0][2]):
            joined = "".join(pieces)
            if part_type is None:
                item[field] = joined
            else:
                key = "refusal" if part_type == "refusal" else "text"
                grown.setdefault(field, []).append({"type": part_type, key: joined})
        return {**item, **grown}

    def emit_begun(self, sink: list[Event], number: int) -> int:
        """Emit the beginning of a tool call; other items begin with their first text. Return the next part's number."""
        field = _CALLS.get(text(self.start.get("type")) or "")
        if field is None or self._begun_parts:
            return number
        (call,) = read_item(self.start)
        if isinstance(call, ToolCall):
            call = msgspec.structs.replace(call, arguments=None)
        self._begun_parts[(field, None, 0)] = number
        sink.append(PartBegun(index=number, part=call))
        return number + 1

    def emit_grown(self, sink: list[Event], number: int, place: Place, piece: str) -> int:
        """Emit the growth of the text in a place. Return the next part's number."""
        if self._ended or place in self._whole:
            return number
        if place[1] is None and place not in self._begun_parts:
            number = self.emit_begun(sink, number)
        elif place not in self._begun_parts:
            self._emit_thought(sink)
            extra = own(NAME, self.start, "phase") if place[1] == "output_text" and not self._begun_parts else {}
            self._begun_parts[place] = number
            sink.append(PartBegun(index=number, part=_grown(place, "", extra)))
            number += 1
        if place in self._begun_parts:  # a tool that the provider runs is emitted when it is done
            sink.append(PartGrown(index=self._begun_parts[place], text=piece))
        return number

    def _emit_thought(self, sink: list[Event]) -> None:
        """Emit the end of reasoning, since more of it begins; its signature comes with the last part."""
        for place, index in self._begun_parts.items():
            if _kind(place) is Reasoning and place not in self._whole:
                self._whole.add(place)
                sink.append(PartDone(index=index, part=_grown(place, "".join(self.texts[place]), {})))

    def emit_part_done(self, sink: list[Event], number: int, part: dict[str, Any]) -> None:
        """Emit the end of a message's text: `part` is the whole of it, with its citations."""
        places = [place for place in self._begun_parts if place[0] == "content" and place[2] == number]
        place = places[0] if places else None
        if place is None or place in self._whole or self._ended:
            return
        first = next(iter(self._begun_parts)) == place
        phase = {"phase": self.start.get("phase")} if first else {}
        for read in read_item({"type": "message", "content": [part], **phase}):
            if isinstance(read, _kind(place)):
                self._whole.add(place)
                sink.append(PartDone(index=self._begun_parts[place], part=read))

    def emit_done(self, sink: list[Event], number: int) -> int:
        """Emit the end of all parts of the item. Return the next part's number."""
        if self._ended:
            return number
        self._ended = True
        begun = [(place, self._begun_parts[place]) for place in sorted(self._begun_parts, key=_order)]
        for part in read_item(self.whole()):
            place = next((place for place, _ in begun if isinstance(part, _kind(place))), None)
            if place is not None:
                begun = [each for each in begun if each[0] != place]
                if place in self._whole:
                    continue
                if not self.texts.get(place) and (growth := _growth(part)):  # it has begun, but no delta came
                    sink.append(PartGrown(index=self._begun_parts[place], text=growth))
                sink.append(PartDone(index=self._begun_parts[place], part=part))
                continue
            sink.append(PartBegun(index=number, part=_begun(part)))
            if growth := _growth(part):
                sink.append(PartGrown(index=number, text=growth))
            sink.append(PartDone(index=number, part=part))
            number += 1
        for place, index in begun:  # the whole item left out a part that had deltas
            if place in self._whole:
                continue
            sink.append(PartDone(index=index, part=_grown(place, "".join(self.texts.get(place, [])), {})))
        return number


def _order(place: Place) -> tuple[bool, int]:
    """Return a key by which places stand as `read_item` reads them: a reasoning's summary before its content."""
    return (place[0] == "content", place[2])


def _kind(place: Place) -> type[Part]:
    match place[1]:
        case None:
            return ToolCall
        case "refusal":
            return Refusal
        case "output_text":
            return Text
    return Reasoning


def _grown(place: Place, text: str, extra: Extra) -> Part:
    match place[1]:
        case None:
            return ToolCall(name="", arguments=text)
        case "refusal":
            return Refusal(content=text)
        case "output_text":
            return Text(content=text, extra=extra)
    return Reasoning(content=text, extra=extra)


def _growth(part: Part) -> str:
    """Return the text by which a part that came whole grows at once."""
    match part:
        case Text(content=content) | Refusal(content=content) | Reasoning(content=content):
            return content
        case ToolCall(arguments=str(arguments)):
            return arguments
        case ToolCall(arguments=arguments) if arguments is not None:
            return msgspec.json.encode(arguments).decode()
    return ""


def _begun(part: Part) -> Part:
    match part:
        case Text():
            return Text(content="")
        case Refusal():
            return Refusal(content="")
        case Reasoning():
            return Reasoning(content="", extra=part.extra)
        case ToolCall():
            return msgspec.structs.replace(part, arguments=None)
    return part
