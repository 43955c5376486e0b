"""JSON of an application's values and exceptions: bounded, and without raising whatever the value. Pure."""

from collections.abc import Iterable, Mapping
from traceback import walk_tb
from typing import Any

import msgspec

# Bytes of one input or output.
LARGEST = 1 << 20
# Characters of the repr of a value without a JSON form.
_REPR_MAX = 4096
_DEPTH = 16
_ITEMS = 10_000
# Of an exception: characters of its message, its innermost frames, and exceptions in its chain.
_MESSAGE, _FRAMES, _CHAIN = 4096, 50, 5


def encoded(value: object, largest: int = LARGEST) -> msgspec.Raw:
    """Return JSON of any value; of more than `largest` bytes, a string with its beginning."""
    data = _json(value)
    return msgspec.Raw(data if len(data) <= largest else _encoder.encode(_cut(data, largest)))


def encoded_object(value: Mapping[str, Any], largest: int = LARGEST) -> msgspec.Raw:
    """Return a JSON object of a mapping; of more than `largest` bytes, `{"truncated": "..."}`."""
    data = _json(dict(value) if isinstance(value, Mapping) else {"value": value})
    return msgspec.Raw(data if len(data) <= largest else _encoder.encode({"truncated": _cut(data, largest)}))


def text(value: object) -> str:
    """Return a value as text that can be encoded as UTF-8."""
    string = value if isinstance(value, str) else _repr(value)
    return string.encode("utf-8", "replace").decode()


def texts(values: Iterable[object]) -> list[str]:
    """Return values as a list of texts; a single string is a list of one."""
    return [text(values)] if isinstance(values, str) else [text(value) for value in values]


def _json(value: object) -> bytes:
    try:
        return _encoder.encode(value)
    except Exception:  # a reference cycle, keys that are not strings, half a surrogate pair
        return _encoder.encode(_plain(value, _DEPTH, [_ITEMS]))


def _other(value: object) -> object:
    """Return a JSON form of a value whose type msgspec does not support."""
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(type(value), "model_dump", None)
    if callable(dump):  # pydantic
        return dump(value, mode="json")
    return _repr(value)


_encoder = msgspec.json.Encoder(enc_hook=_other)


def _plain(value: object, depth: int, left: list[int]) -> object:
    """Return a copy that can be encoded, at most `depth` levels deep; `left` is the budget of items, counted down."""
    left[0] -= 1
    if value is None or isinstance(value, bool | float):
        return value
    if depth and isinstance(value, Mapping):
        return {text(key): _plain(each, depth - 1, left) for key, each in value.items() if left[0] > 0}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, depth - 1, left) for each in value if left[0] > 0]
    try:
        _encoder.encode(value)
    except Exception:
        return text(value)
    return value


def _repr(value: object) -> str:
    try:
        string = repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
    return string if len(string) <= _REPR_MAX else string[:_REPR_MAX] + "…"


def _cut(data: bytes, largest: int) -> str:
    return data[:largest].decode("utf-8", "ignore") + "…"


def exception_json(error: BaseException) -> dict[str, str]:
    """Return an exception's type, message and stack, followed by those of its causes.

    No source file is read, as a formatted traceback would.
    """
    stack: list[str] = []
    each: BaseException | None = error
    for _ in range(_CHAIN):
        if each is None:
            break
        frames = [
            f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_qualname}'
            for frame, line in walk_tb(each.__traceback__)
        ]
        stack += [*frames[-_FRAMES:], f"{_type(each)}: {_message(each)}"]
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
        if each is not None:
            stack.append("after:")
    return {"type": _type(error), "message": _message(error), "stack": text("\n".join(stack))}


def _type(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception:
        return ""
    return text(message if len(message) <= _MESSAGE else message[:_MESSAGE] + "…")
