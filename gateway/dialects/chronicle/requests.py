"""Requests of chronicle, whose routes take OpenAI's chat requests with options beside their own fields. Pure.

The options are removed before the body is sent on; every other field keeps the bytes it came with.
"""

import random
import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.dialects.endpoint import Headers, read_field
from gateway.dialects.wire.json import decode
from gateway.errors import ExchangeError, Kind

PATH = "/v1/chat/completions"
"""The path of its requests below a provider."""

HEALTH_PATHS = frozenset({"/", "/healthz"})
HEADER_PREFIX = b"x-chronicle-"

OPTIONS = ("provider", "override_url", "api_key", "models", "random_choice", "timeout", "retry", "metadata")

_ROUTES = re.compile(r"/+(?:v1/+)?chat/.*|/+chat", re.DOTALL)
# OpenAI's own, which chronicle's clients use too if they wrap OpenAI's.
_OPENAIS = re.compile(r"/+(?:v1/+)?chat/+completions(?:/.*)?", re.DOTALL)
_DECODED = frozenset({b"content-encoding"})
# On chronicle's routes these are credentials for the gateway; providers' keys are options, or the gateway's own.
_CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key"})

_FIELDS = msgspec.json.Decoder(dict[str, Raw])


class Chat(Struct, frozen=True, kw_only=True):
    """A chat request, split into its own fields and its options. `plain` is the whole body, if nothing was removed."""

    fields: dict[str, Raw]
    options: dict[str, bytes]
    model: str | None
    private_headers: frozenset[bytes]
    plain: bytes | None

    def body(self, model: str) -> bytes:
        """Return the body without the options; `model` is set if it names none."""
        if self.model and self.plain is not None:
            return self.plain
        fields = self.fields if self.model else self.fields | {"model": Raw(msgspec.json.encode(model))}
        return b"{%b}" % b",".join([b"%b:%b" % (msgspec.json.encode(name), value) for name, value in fields.items()])


def claims(method: str, path: str, headers: Headers) -> str | None:
    """Return the path to send for a chat of chronicle's; None for any other request.

    OpenAI's path is chronicle's if the client sends one of chronicle's headers.

    >>> claims("POST", "/chat", ()), claims("POST", "/v1/chat/completions", ())
    ('/v1/chat/completions', None)
    """
    if method != "POST" or "/chat" not in path or _ROUTES.fullmatch(path) is None:
        return None
    return PATH if _OPENAIS.fullmatch(path) is None or speaks(headers) else None


def speaks(headers: Headers) -> bool:
    """Whether a request has a header that only chronicle's clients send."""
    # It is asked of every chat request: one search in all names is much faster than one for each name.
    return b"\n" + HEADER_PREFIX in b"\n".join([b"", *[name for name, _ in headers]]).lower()


def read(body: bytes | None, raw_target: str) -> Chat:
    """Split a body without content coding. Raises ExchangeError, which names the field and the expected type."""
    fields = None if body is None else decode(body, _FIELDS)
    if body is None or fields is None:
        raise ExchangeError(
            Kind.BAD_INPUT,
            "The body is no JSON object, or in a coding that cannot be read.",
            status=400,
            code="bad_body",
        )
    options = {name: bytes(fields.pop(name)) for name in OPTIONS if name in fields}
    moved = "system" in fields and _move_system(fields)
    named = fields.get("model")
    openais = _OPENAIS.fullmatch(raw_target.partition("?")[0]) is not None
    return Chat(
        fields=fields,
        options=options,
        model=None if named is None else read_field(str | None, "a string", "model", bytes(named)),
        private_headers=_DECODED if openais else _DECODED | _CREDENTIALS,
        plain=None if options or moved else body,
    )


def uuid7(now: float, rng: random.Random) -> str:
    """Return a UUID of version 7 (RFC 9562, section 5.7). `now`: Unix time."""
    value = int(now * 1000) << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62)
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _move_system(fields: dict[str, Raw]) -> bool:
    """Make a `system` of its own the first message; without messages it is left to the provider."""
    system, messages = bytes(fields["system"]), bytes(fields.get("messages") or b"").strip()
    if system == b"null":
        del fields["system"]
        return True
    if not messages.startswith(b"["):
        return False
    read_field(str | list[dict[str, Any]], "a string", "system", system)
    del fields["system"]
    rest = messages[1:].lstrip()
    comma = b"" if rest.startswith(b"]") else b","
    fields["messages"] = Raw(b'[{"role":"system","content":%b}%b%b' % (system, comma, rest))
    return True
