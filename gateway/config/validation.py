"""Conversion of untyped tables to typed ones; errors begin with the path of the wrong value and name the valid keys.

msgspec reports an error without the name of the table's entry, which is found here. No value is repeated, since any may
be a key.
"""

import difflib
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from gateway.errors import ConfigError

T = TypeVar("T")

_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]|\[\.\.\.\]")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")
# The words of TOML for JSON's.
_TOML_WORDS = {"object": "table", "array": "list"}
_WORDS = re.compile(r"\b(object|array)\b")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")


def convert(raw: Any, kind: type[T], path: str = "$") -> T:
    """Return `raw` as a `kind`. `path`: the path of `raw`. Raises ConfigError: `$.retry.max_tries: Expected ...`."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_explained(str(error), raw, kind, path)) from None


def _explained(message: str, raw: Any, kind: Any, path: str) -> str:
    """Return msgspec's message, prefixed with the path."""
    match = _MESSAGE.fullmatch(message)
    what, steps = (match["what"], match["path"] or "") if match else (message, "")
    for step in _STEP.finditer(steps.removeprefix("$")):
        key: Any
        if step["name"] is not None:
            key = step["name"]
            kind, path = _field(kind, key), f"{path}.{key}"
        elif step["index"] is not None:
            key = int(step["index"])
            kind, path = _within(kind, list, 0), f"{path}[{key}]"
        else:
            kind = _within(kind, dict, 1)
            key = _wrong(raw, kind)
            path = f"{path}.{key}"
        try:
            raw = raw[key]
        except (LookupError, TypeError):  # a tag that is missing
            raw = None
    if unknown := _UNKNOWN.fullmatch(what):
        return f"{path}.{unknown[1]}: there is no such key; {_nearest(unknown[1], list(_keys(kind, raw)))}"
    if missing := _MISSING.fullmatch(what):
        return f"{path}: the key `{missing[1]}` is missing"
    if what.startswith("Invalid"):
        values = list(_values(kind))
        return f"{path}: not a value that this can have" + (f"; there are {', '.join(values)}" if values else "")
    return f"{path}: {_WORDS.sub(lambda found: _TOML_WORDS[found[0]], what)}"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known) or 'none'}"


def _options(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union; any other type is returned alone."""
    return get_args(kind) if get_origin(kind) in {Union, types.UnionType} else (kind,)


def _tables(kind: Any) -> Iterator[type[msgspec.Struct]]:
    for each in _options(kind):
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            yield each


def _keys(kind: Any, raw: Any) -> Iterator[str]:
    """Yield the valid keys of a table; of a tagged union, those of the kind that its tag names."""
    for table in _tables(kind):
        tag = table.__struct_config__.tag_field
        if tag is None or raw.get(tag) == table.__struct_config__.tag:
            yield from (*_tag(table), *table.__struct_fields__)


def _tag(table: type[msgspec.Struct]) -> tuple[str, ...]:
    tag = table.__struct_config__.tag_field
    return (tag,) if tag else ()


def _values(kind: Any) -> Iterator[str]:
    """Yield the values of a literal type."""
    for each in _options(kind):
        if get_origin(each) is Literal:
            yield from map(str, get_args(each))


def _field(kind: Any, name: str) -> Any:
    """Return the type of a table's field; for a tag, a literal of its values."""
    for table in _tables(kind):
        if name in table.__struct_fields__:
            return get_type_hints(table)[name]
    tags = tuple(str(table.__struct_config__.tag) for table in _tables(kind) if name in _tag(table))
    return Literal[tags] if tags else Any


def _within(kind: Any, container: type, argument: int) -> Any:
    """Return the type of a list's items, or of a table's values."""
    return next((get_args(each)[argument] for each in _options(kind) if get_origin(each) is container), Any)


def _wrong(table: Mapping[str, Any], kind: Any) -> str:
    """Return the key of the first entry that is no `kind`, at which msgspec stopped."""
    for key, value in table.items():
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return key
    return "..."
