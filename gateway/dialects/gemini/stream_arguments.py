"""A function's arguments as Vertex streams them, value by value, as JSON text that grows.

Each piece names its place by a JSON path, and may be a piece of a string. They come in the order of the document, so
that the text can be emitted as it comes. Source: `PartialArg` in google-genai's types.
"""

import re
from typing import Any

import msgspec

from gateway.dialects.gemini.read_parts import pick
from gateway.dialects.wire.json import text

Place = tuple[str | int, ...]

_SEGMENT = re.compile(r"""\.([^.\[\]]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_ESCAPE = re.compile(r"\\(.)")


class Arguments:
    """Turns the pieces into text; the texts it returns, joined, are a JSON object."""

    __slots__ = ("_closers", "_counts", "_path", "_string")

    def __init__(self) -> None:
        self._path: list[str | int] = []  # of the innermost container that is open
        self._closers: list[str] = []
        self._counts: list[int] = []
        self._string: Place | None = None  # a string that is open

    def add(self, piece: dict[str, Any]) -> str:
        """Take the next piece; return the text it adds."""
        place = _place(pick(piece, "jsonPath"))
        string = pick(piece, "stringValue")
        goes_on = pick(piece, "willContinue") is True
        grown = ""
        if self._string is not None:
            if place == self._string:
                return self._more(string, goes_on=goes_on)
            grown = self._end_string()
        value = _value(piece, string)
        if not place or value is None:
            return grown
        grown += self._open(place) + self._key(place[-1])
        if isinstance(string, str) and goes_on:
            self._string = place
            return grown + value[:-1]
        return grown + value

    def close(self) -> str:
        """Return the end of the text."""
        grown = self._end_string() + ("" if self._closers else "{")
        closers, self._closers = self._closers or ["}"], []
        return grown + "".join(reversed(closers))

    def _more(self, string: Any, *, goes_on: bool) -> str:
        grown = _encoded(string)[1:-1] if isinstance(string, str) else ""
        return grown if goes_on else grown + self._end_string()

    def _end_string(self) -> str:
        if self._string is None:
            return ""
        self._string = None
        return '"'

    def _open(self, place: Place) -> str:
        """Close the containers that the place is not in, and open those that it is in."""
        grown = ""
        if not self._closers:
            grown = "{"
            self._closers, self._counts = ["}"], [0]
        within = 0
        while within < min(len(self._path), len(place) - 1) and self._path[within] == place[within]:
            within += 1
        while len(self._path) > within:
            self._path.pop()
            self._counts.pop()
            grown += self._closers.pop()
        for at in range(within, len(place) - 1):
            grown += self._key(place[at])
            listed = isinstance(place[at + 1], int)
            grown += "[" if listed else "{"
            self._path.append(place[at])
            self._closers.append("]" if listed else "}")
            self._counts.append(0)
        return grown

    def _key(self, segment: str | int) -> str:
        comma = "," if self._counts[-1] else ""
        self._counts[-1] += 1
        return comma if self._closers[-1] == "]" else f"{comma}{_encoded(str(segment))}:"


def _place(path: Any) -> Place:
    """Read a path such as `$.days[0]['high tide']`."""
    place: list[str | int] = []
    for dotted, index, single, double in _SEGMENT.findall(text(path) or ""):
        quoted = single or double
        place.append(int(index[:9]) if index else dotted or _ESCAPE.sub(r"\1", quoted))
    return tuple(place)


def _value(piece: dict[str, Any], string: Any) -> str | None:
    if isinstance(string, str):
        return _encoded(string)
    number = pick(piece, "numberValue")
    if isinstance(number, int | float) and not isinstance(number, bool):
        return _encoded(int(number) if isinstance(number, float) and number.is_integer() else number)
    boolean = pick(piece, "boolValue")
    if isinstance(boolean, bool):
        return _encoded(boolean)
    return "null" if any(k in piece for k in ("nullValue", "null_value")) else None


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()
