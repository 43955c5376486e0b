"""Known secrets, by value and by name, and their removal from everything that is recorded, logged or repeated.

The only module that knows which headers, parameters and attributes hold secrets. Patterns, for secrets of which only
the shape is known, are in `gateway.redaction`; the key that is sent to a provider is chosen in `proxy.headers`.
"""

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, AnyStr
from urllib.parse import quote, unquote

import msgspec

from gateway.providers.table import KEY_HEADERS, Provider
from gateway.redaction import REDACTED, USERINFO
from gateway.semconv import CONTENT_ATTRIBUTES
from gateway.tracing.truncate import as_utf8

SECRET_HEADERS = (
    *sorted(name.decode() for name in KEY_HEADERS),
    "proxy-authorization",
    "x-gateway-token",
    "x-auth-token",
    "x-amz-security-token",
    "ocp-apim-subscription-key",
    "cookie",
)
"""Request headers whose values are secret, in lower case."""

SECRET_PARAMETERS = (
    *("key", "token", "secret", "signature", "sig", "password", "passwd", "pwd", "code", "auth", "authorization"),
    "credential",
)
"""Endings of the names of query parameters whose values are secret, in lower case."""

SECRET_ATTRIBUTES = (*SECRET_HEADERS, "apikey", "access-token", "password", "secret")
"""Endings of the names of attributes whose values are secret. `_` and `.` are as good as `-`."""

OPAQUE = 20
"""Characters from which on a secret cannot be mistaken for a word, so that it is redacted in content too."""

URL_ATTRIBUTES = frozenset({"url.full", "url.query", "http.url", "http.target"})
"""Attributes with a URL, or a part of one, whose parameters may be secret."""

# Shorter keys are no different from words, not even in an error message.
_MIN_LENGTH = 6
_MIN_BASE64_LENGTH = 12
_ESCAPE = re.compile("%[0-9A-F]{2}")
_DASHES = str.maketrans("._", "--")
_ATTRIBUTE_ENDS = tuple(f"-{name}" for name in SECRET_ATTRIBUTES)
# An application's own URLs have names such as `donkey` and `zipcode`: short words are whole words.
_PARAMETER = re.compile(
    r"((?:^|[?&])(?:[\w-]*(?:api[_-]?key|token|secret|signature|password|passwd|pwd|credential|authorization)"
    r"|(?:[\w-]*[_-])?(?:key|sig|auth)|code)=)[^&#\s]+",
    re.IGNORECASE,
)

# Names of headers in which vendors take keys: x-portkey-api-key, Helicone-Auth, cf-aig-authorization, X-My-Secret.
_SECRET_NAME = re.compile(
    r"auth(?!ors?(?:-|$)|ority)|key(?!board|word|stone)|token(?!s?-(?:count|limit))|secret|passw|credential"
)
# Those of other values: an ingress that authenticates users sets x-auth-request-email.
_PUBLIC_NAME = re.compile(
    r"idempotency-key$|^sec-websocket-|-max-tokens$"
    r"|-(?:user|email|username|userid|groups?|roles?|name|id|type|method|scheme|count|limit|version)$"
)
# A key of a well-known form is one in whatever header it came.
_KEY_FORM = re.compile(
    r"(?:bearer )?(?:(?:sk|pk|rk|xai|pplx|nvapi|csk)-|(?:gsk|hf|fw|r8|tgp_v1|gh[pousr])_|AIza|ya29\.|eyJ)"
    r"[\w./+=~-]{12,}",
    re.IGNORECASE | re.ASCII,
)
# Of browsers' WebSockets, which can set no other header.
_SUBPROTOCOL_KEY = re.compile(r"-api-key\.([^\s,]+)")
_API_KEY = re.compile(r'"api_key"\s*:\s*"([^"\\]+)"')

_encoder = msgspec.json.Encoder()


@lru_cache(1024)
def is_secret_header(name: str) -> bool:
    """Whether a request header's value is a secret, by its name alone: the known ones, and any vendor's key.

    >>> is_secret_header("helicone-auth"), is_secret_header("x-my-secret"), is_secret_header("x-author")
    (True, True, False)
    """
    if name in SECRET_HEADERS:
        return True
    return _SECRET_NAME.search(name) is not None and _PUBLIC_NAME.search(name) is None


def request_secrets(headers: Mapping[str, str], target: str) -> Iterator[str]:
    """Yield what may be a secret in a request's headers and target, both as sent and decoded."""
    for name, value in headers.items():
        if is_secret_header(name.lower()):
            yield value
            yield value.rpartition(" ")[2]
            yield from _basic_credentials(value)
            if name.lower() == "cookie":
                yield from (cookie.partition("=")[2] for cookie in value.split("; "))
        elif name.lower() == "sec-websocket-protocol":
            yield from _SUBPROTOCOL_KEY.findall(value)
        elif '"api_key"' in value:  # in an option that is JSON
            yield from _API_KEY.findall(value)
        elif _KEY_FORM.fullmatch(value) is not None:
            yield value
            yield value.rpartition(" ")[2]
    path, _, query = target.partition("?")
    for parameter in query.split("&") if "=" in query else ():
        name, _, value = parameter.partition("=")
        if unquote(name).lower().endswith(SECRET_PARAMETERS) or _KEY_FORM.fullmatch(unquote(value)) is not None:
            yield value
            yield unquote(value)
    if userinfo := USERINFO.match(path):
        yield userinfo.group(2)
        yield userinfo.group(2).partition(":")[2]


def _basic_credentials(value: str) -> Iterator[str]:
    """Yield `user:password` and the password of an `Authorization: Basic` header (RFC 7617)."""
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            decoded = b64decode(encoded).decode()
            yield decoded
            yield decoded.partition(":")[2]


def provider_secrets(provider: Provider) -> tuple[str, ...]:
    """Return the secrets that are sent for the client: keys, configured headers, an override URL, a proxy's login."""
    found = {provider.key, *provider.keys, provider.environment_key, *(value for _, value in provider.headers)}
    found.update(provider.ways.secrets)
    return (*(secret for secret in found if secret), *request_secrets({}, provider.only_target or ""))


def opaque(secrets: Iterable[str]) -> list[str]:
    """Return the secrets that are redacted wherever they appear, content included: no spaces, and at least OPAQUE long.

    Keys of a well-known form may be shorter. The longest comes first, since it may contain another.
    """
    found = {each for each in secrets if " " not in each and (len(each) >= OPAQUE or _KEY_FORM.fullmatch(each))}
    return sorted(found, key=len, reverse=True)


def without_secret(text: AnyStr, secret: AnyStr, placeholder: AnyStr) -> AnyStr:
    """Return a text without a secret, and without any part of one that has at least its first half.

    A stream may end, and a long text may be cut, in the middle of a secret.
    """
    half, folded = secret[: (len(secret) + 1) // 2], secret.lower() if secret.isascii() else secret
    at, end = text.find(half), 0
    if at < 0:
        return text
    pieces: list[AnyStr] = []
    while at >= 0:
        pieces += [text[end:at], placeholder]
        end = at + len(half)
        while end - at < len(secret) and text[end : end + 1].lower() == folded[end - at : end - at + 1]:
            end += 1
        at = text.find(half, end)
    pieces.append(text[end:])
    return text[:0].join(pieces)


def scrub_json(encoded: bytes, secrets: Iterable[str]) -> bytes:
    """Return encoded JSON without the given secrets, or parts of them; it stays valid."""
    for secret in secrets:
        encoded = without_secret(encoded, _escaped(secret).encode(), REDACTED.encode())
    return encoded


def scrub_named(name: str, value: Any) -> Any:
    """Return an attribute's value without what its name shows to be secret: a header's value, a URL's parameters."""
    if f"-{name}".casefold().translate(_DASHES).endswith(_ATTRIBUTE_ENDS):  # a regex takes 30 times as long
        return REDACTED
    if name in URL_ATTRIBUTES and isinstance(value, str):
        return _PARAMETER.sub(rf"\1{REDACTED}", value)
    return value


def forms(secret: str) -> Iterator[str]:
    """Yield the forms in which a provider may repeat a secret: plain, as JSON, percent-encoded, and in base64.

    JSON may escape a `/`. Base64 is yielded for each of the three offsets at which a secret may begin in the encoded
    bytes; the letters at either end that are shared with its neighbours stay.
    """
    yield secret
    if not secret.isascii():
        return
    yield secret.lower()
    escaped = _escaped(secret)
    yield escaped
    yield escaped.replace("/", "\\/")
    quoted = quote(secret, safe="")
    yield quoted
    yield _ESCAPE.sub(lambda found: found[0].lower(), quoted)
    for skipped in range(3):
        whole = secret[skipped : skipped + (len(secret) - skipped) // 3 * 3].encode()
        for encode in (b64encode, urlsafe_b64encode):
            if len(encoded := encode(whole)) >= _MIN_BASE64_LENGTH:
                yield encoded.decode()


class ExchangeSecrets:
    """The secrets of one exchange: those of the client's request, and those sent upstream for it.

    They are searched for only once something is scrubbed: most exchanges have nothing that needs it.
    """

    def __init__(self, headers: Mapping[str, str], target: str) -> None:
        self._headers = headers
        self._target = target
        self._upstream: tuple[str, ...] = ()
        self._all: tuple[str, ...] | None = None
        self._forms: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return "<ExchangeSecrets>"

    def add(self, secrets: Iterable[str]) -> None:
        """Add secrets that are sent upstream for the client."""
        upstream = tuple(dict.fromkeys((*self._upstream, *secrets)))
        if upstream != self._upstream:
            self._upstream, self._all, self._forms = upstream, None, None

    @property
    def all(self) -> tuple[str, ...]:
        """All secrets that are long enough not to be words, the longest first."""
        if self._all is None:
            found = {*self._upstream, *request_secrets(self._headers, self._target)}
            self._all = tuple(sorted((each for each in found if len(each) >= _MIN_LENGTH), key=len, reverse=True))
        return self._all

    def scrub(self, text: str) -> str:
        """Return a text without the secrets, in whatever form it repeats them, as valid UTF-8."""
        if self._forms is None:
            found = {form for secret in self.all for form in forms(secret)}
            self._forms = tuple(sorted(found, key=len, reverse=True))
        for form in self._forms:
            text = text.replace(form, REDACTED)
        return as_utf8(text)

    def scrub_attributes(self, attributes: dict[str, Any]) -> None:
        """Redact opaque secrets in all attributes, content too: an agent may have been shown its own environment."""
        for secret in opaque(self.all):
            # Content is JSON: a secret appears there escaped, and only texts may be changed.
            escaped, spellings = _escaped(secret), _spellings(secret)
            for name, value in attributes.items():
                if name in CONTENT_ATTRIBUTES:
                    if isinstance(value, str):
                        attributes[name] = without_secret(value, escaped, REDACTED)
                elif isinstance(value, str):
                    attributes[name] = _without(value, spellings)
                elif isinstance(value, list | tuple):
                    attributes[name] = [_without(each, spellings) if isinstance(each, str) else each for each in value]

    def scrub_name(self, name: str) -> str:
        """Return a span's name without opaque secrets."""
        for secret in opaque(self.all):
            name = _without(name, _spellings(secret))
        return name


def _spellings(secret: str) -> list[str]:
    """Return the forms of a secret in a model's name, a header or a path: as it is, percent-encoded, in lower case."""
    encoded = quote(secret, safe="") if secret.isascii() else secret
    return list(dict.fromkeys((secret, encoded, secret.lower())))


def _without(text: str, spellings: Iterable[str]) -> str:
    for each in spellings:
        text = without_secret(text, each, REDACTED)
    return text


def _escaped(secret: str) -> str:
    """Return a secret as it appears within a JSON string."""
    return _encoder.encode(as_utf8(secret))[1:-1].decode()
