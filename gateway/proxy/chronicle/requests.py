"""The seed's requests: chronicle's routes, and its options in a chat request's body. Pure.

A body is OpenAI's chat request with options beside its own fields. They are taken out before it is sent on; every other
field keeps the bytes it came with. What goes back is in `chronicle_reply`.
"""

import random
import re
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec
from msgspec import Raw, Struct

from gateway.config.retry import RetryPolicy
from gateway.dialects.wire.json import decode
from gateway.errors import ExchangeError, Kind
from gateway.proxy.routing.request_options import NONE, Named, Options, merged
from gateway.tracing.metadata import INTEGERS, UUID, Metadata

HEALTHY = b'{"status":"ok"}'
PATH = "/v1/chat/completions"
"""Where its requests are sent below a provider."""

_HEALTH = frozenset({"/", "/healthz"})
_ROUTES = re.compile(r"/+(?:v1/+)?chat/.*|/+chat", re.DOTALL)
# OpenAI's own, which chronicle's clients use too where they wrap OpenAI's.
_OPENAIS = re.compile(r"/+(?:v1/+)?chat/+completions(?:/.*)?", re.DOTALL)
_HEADER = b"x-chronicle-"
# On chronicle's routes this is for who guards the gateway; providers' keys are options, or the gateway's own.
_NOT_FOR_PROVIDERS = frozenset({b"authorization", b"x-api-key", b"api-key"})

_FIELDS = msgspec.json.Decoder(dict[str, Raw])

Headers = tuple[tuple[bytes, bytes], ...]


class Chat(Struct, frozen=True, kw_only=True):
    """A chat request without its options: the body to send, in no coding, and what it says for itself.

    `metadata`: whether the body says what the request belongs to.
    """

    body: bytes
    headers: Headers
    options: Options
    metadata: bool


def healthy(method: str, raw_target: str) -> bool:
    """Whether a request asks whether the gateway is there."""
    return method in {"GET", "HEAD"} and raw_target.partition("?")[0] in _HEALTH


def speaks(raw_headers: Headers) -> bool:
    """Whether a request has a header as only chronicle's clients send them."""
    return any(name[: len(_HEADER)].lower() == _HEADER for name, _ in raw_headers)


def is_chat(method: str, path: str, *, speaks: bool) -> bool:
    """Whether a request is one of chronicle's chats. `speaks`: it has one of its headers.

    >>> is_chat("POST", "/chat", speaks=False), is_chat("POST", "/v1/chat/completions", speaks=False)
    (True, False)
    """
    return method == "POST" and _ROUTES.fullmatch(path) is not None and (speaks or _OPENAIS.fullmatch(path) is None)


def read(decoded: bytes | None, headers: Headers, raw_target: str, said: Options) -> Chat:
    """Take the options out of a body. `said`: those in headers, which count where the body says nothing.

    Raises ExchangeError, which names the field and what was expected there.
    """
    fields = None if decoded is None else decode(decoded, _FIELDS)
    if fields is None:
        raise ExchangeError(
            Kind.BAD_INPUT,
            "The body is no JSON object, or in a coding that cannot be read.",
            status=400,
            code="bad_body",
        )
    taken = {name: bytes(fields.pop(name)) for name in _READ if name in fields}
    asked = Options(**{name: _READ[name](name, value) for name, value in taken.items() if value != b"null"})
    model = _model(fields.get("model"))
    options = merged(asked, said) if taken else said
    changed = bool(taken)
    if "system" in fields:
        changed = _move_system(fields) or changed
    if not model:
        model = options.model or next((each.model for each in options.models), None)
        if not model:
            raise ExchangeError(Kind.BAD_INPUT, "Request is missing model name.", status=400, code="missing_model")
        fields["model"] = Raw(msgspec.json.encode(model))
        changed = True
    dropped = {b"content-encoding"}
    if _OPENAIS.fullmatch(raw_target.partition("?")[0]) is None:
        dropped |= _NOT_FOR_PROVIDERS
    return Chat(
        body=_written(fields) if changed else decoded or b"",
        headers=tuple(each for each in headers if each[0].lower() not in dropped),
        options=options,
        metadata=asked.metadata != NONE.metadata,
    )


def uuid7(now: float, rng: random.Random) -> str:
    """Return a UUID of version 7 (RFC 9562, section 5.7). `now`: Unix time."""
    value = int(now * 1000) << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62)
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _written(fields: dict[str, Raw]) -> bytes:
    return b"{%b}" % b",".join([b"%b:%b" % (msgspec.json.encode(name), value) for name, value in fields.items()])


def _model(value: Raw | None) -> str | None:
    return None if value is None else _of(str | None, "a string", "model", bytes(value))


def _move_system(fields: dict[str, Raw]) -> bool:
    """Make a `system` of its own the first message; where there are no messages it is left to the provider."""
    system, messages = bytes(fields["system"]), bytes(fields.get("messages") or b"").strip()
    if system == b"null":
        del fields["system"]
        return True
    if not messages.startswith(b"["):
        return False
    _of(str | list[dict[str, Any]], "a string", "system", system)
    del fields["system"]
    rest = messages[1:].lstrip()
    comma = b"" if rest.startswith(b"]") else b","
    fields["messages"] = Raw(b'[{"role":"system","content":%b}%b%b' % (system, comma, rest))
    return True


_METADATA = frozenset(Metadata.__struct_fields__)
_UUIDS = frozenset({"run_id", "step_id"})
_INTEGER_MAX = 2**31 - 1


def _metadata(field: str, value: bytes) -> Metadata:
    """Read what the body says that the request belongs to; keys of no meaning of their own go to `extra`."""
    whole = _of(dict[str, Any], "an object", field, value)
    said: dict[str, Any] = {}
    extra: dict[str, Any] = {name: each for name, each in whole.items() if name not in _METADATA}
    for name in _METADATA & whole.keys():
        each = whole[name]
        if each is None:
            continue
        if name == "extra":
            extra = {**(each if isinstance(each, dict) else {"extra": each}), **extra}
        elif name in INTEGERS:
            if not isinstance(each, int) or isinstance(each, bool) or not 0 <= each <= _INTEGER_MAX:
                _refuse(f"{field}.{name}", f"a whole number from 0 to {_INTEGER_MAX}")
            said[name] = each
        elif not isinstance(each, str):
            _refuse(f"{field}.{name}", "a string")
        elif name in _UUIDS and not UUID.fullmatch(each):
            _refuse(f"{field}.{name}", "a UUID")
        else:
            said[name] = each
    return Metadata(**said, extra=extra or None)


def _retry(field: str, value: bytes) -> dict[str, Any]:
    said = _of(dict[str, Any], "an object like [retry]", field, value)
    said = {name: each for name, each in said.items() if each is not None}
    try:
        Options(retry=said).policy(RetryPolicy())
    except ExchangeError as error:
        raise ExchangeError(error.kind, f"The body's field {error.message}", code="bad_body") from None
    return said


def _timeout(field: str, value: bytes) -> float:
    said: float = _of(float, _MILLISECONDS, field, value)
    if said <= 0:
        _refuse(field, _MILLISECONDS)
    return said


_MILLISECONDS = "a number of milliseconds above 0"
_READ: dict[str, Callable[[str, bytes], Any]] = {
    "provider": lambda field, value: _of(str, "a string", field, value) or None,
    "override_url": lambda field, value: _of(str, "a string", field, value) or None,
    "api_key": lambda field, value: _of(str, "a string", field, value) or None,
    "models": lambda field, value: _of(tuple[Named, ...], "a list of {model, provider}", field, value),
    "random_choice": lambda field, value: _of(bool, "true or false", field, value),
    "timeout": _timeout,
    "retry": _retry,
    "metadata": _metadata,
}


def _of(kind: Any, expected: str, field: str, value: bytes) -> Any:
    """Return a value of a type. The message repeats nothing of the value, which may be a key."""
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse(field, f"{expected} ({error})")


def _refuse(field: str, expected: str) -> NoReturn:
    raise ExchangeError(
        Kind.BAD_INPUT, f"The body's field {field!r} is wrong: expected {expected}.", code="bad_body"
    ) from None
