"""One output item of a streamed response as far as its deltas have come, and the telling of its parts."""

from typing import Any

import msgspec

from gateway.dialects.conversation import Extra, Part, Reasoning, Refusal, Text, ToolCall
from gateway.dialects.events import Event, PartBegun, PartDone, PartGrown
from gateway.dialects.lenient import text
from gateway.dialects.responses_items import own, read_item

Place = tuple[str, str | None, int]
"""The item's field that a delta adds to, the type of the part in it (None: the field is the text), and its number."""

_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}


class Item:
    """An item; `done` is the whole of it, once it was told."""

    __slots__ = ("_ended", "_told", "done", "start", "texts")

    def __init__(self, start: dict[str, Any]) -> None:
        self.start = start
        self.done: dict[str, Any] | None = None
        self.texts: dict[Place, list[str]] = {}
        self._told: dict[Place, int] = {}  # the numbers of the parts that have begun
        self._ended = False

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

    def tell_begun(self, told: list[Event], number: int) -> int:
        """Say that a tool's call begins; other items begin with their first text. Return the next part's number."""
        field = _CALLS.get(text(self.start.get("type")) or "")
        if field is None or self._told:
            return number
        (call,) = read_item(self.start)
        if isinstance(call, ToolCall):
            call = ToolCall(id=call.id, name=call.name, custom=call.custom, extra=call.extra)
        self._told[(field, None, 0)] = number
        told.append(PartBegun(index=number, part=call))
        return number + 1

    def tell_grown(self, told: list[Event], number: int, place: Place, piece: str) -> int:
        """Say that the text in a place has grown. Return the next part's number."""
        if place[1] is None and place not in self._told:
            number = self.tell_begun(told, number)
        elif place not in self._told:
            extra = {} if self._told else own(self.start, "phase" if place[1] == "output_text" else "id")
            self._told[place] = number
            told.append(PartBegun(index=number, part=_grown(place, "", extra)))
            number += 1
        if place in self._told:  # a tool that the provider runs is told of when it is done
            told.append(PartGrown(index=self._told[place], text=piece))
        return number

    def tell_done(self, told: list[Event], number: int) -> int:
        """Say that all parts of the item are whole. Return the next part's number."""
        if self._ended:
            return number
        self._ended = True
        begun = [(place, self._told[place]) for place in sorted(self._told, key=_order)]
        for part in read_item(self.whole()):
            place = next((place for place, _ in begun if isinstance(part, _kind(place))), None)
            if place is not None:
                begun = [each for each in begun if each[0] != place]
                if not self.texts.get(place) and (said := _said(part)):  # it was told of, but not what it says
                    told.append(PartGrown(index=self._told[place], text=said))
                told.append(PartDone(index=self._told[place], part=part))
                continue
            told.append(PartBegun(index=number, part=_begun(part)))
            if said := _said(part):
                told.append(PartGrown(index=number, text=said))
            told.append(PartDone(index=number, part=part))
            number += 1
        for place, index in begun:  # the whole item left out what its deltas told
            told.append(PartDone(index=index, part=_grown(place, "".join(self.texts.get(place, [])), {})))
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


def _said(part: Part) -> str:
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
