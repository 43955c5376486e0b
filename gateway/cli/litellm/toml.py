"""Tables -> TOML, of what a `gateway.toml` has: text, numbers, truth values, lists and tables. Pure.

Tables of tables get headings of their own (`[providers.local]`); what is below those, or in a list, is written in line.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
# What may not stand in a basic string as it is, and JSON does not escape.
_UNSAFE = re.compile(r"[\x7f\ud800-\udfff]")
_DEPTH = 2
"""Headings have as many names: `[aliases.smart]`."""


def write(tables: Mapping[str, Any]) -> str:
    """Return the text of tables; None is left out."""
    return "\n".join(_lines(tables, ())).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    below = {key: value for key, value in table.items() if isinstance(value, dict) and len(path) < _DEPTH}
    own = {key: value for key, value in table.items() if key not in below and value is not None}
    if path and (own or not below):
        yield f"\n[{'.'.join(map(name, path))}]"
    for key, value in own.items():
        yield f"{name(key)} = {_value(value)}"
    for key, value in below.items():
        yield from _lines(value, (*path, key))


def name(key: str) -> str:
    """Return a key, in quotes where it needs them."""
    return key if _BARE.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    """Return a basic string: JSON's escapes are TOML's too. What is no character is replaced."""
    return _UNSAFE.sub(
        lambda found: "\\u007F" if found[0] == "\x7f" else "\\uFFFD", json.dumps(text, ensure_ascii=False)
    )


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name(key)} = {_value(each)}" for key, each in value.items() if each is not None) + "}"
    if isinstance(value, list):
        items = [_value(each) for each in value]
        if any(isinstance(each, dict) for each in value):
            return "[\n" + "".join(f"  {item},\n" for item in items) + "]"
        return f"[{', '.join(items)}]"
    return json.dumps(value)
