"""The keys of one exchange, so that no text of ours repeats them: those it came with, and those sent for it."""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import msgspec

from gateway.tracing import attributes as seen

# A key that is shorter cannot be told from a word.
_SHORTEST = 6
_SHORTEST_BASE64 = 12
_ESCAPE = re.compile("%[0-9A-F]{2}")

_encoder = msgspec.json.Encoder()


def forms(key: str) -> Iterator[str]:
    """Give a key as it is, as JSON, percent-encoded, and in base64 wherever it stands in what is encoded.

    JSON need not escape a `/`, and some writers do. What shares three bytes of base64 with something else is left.
    """
    yield key
    if not key.isascii():
        return
    escaped = _encoder.encode(key)[1:-1].decode()
    yield escaped
    yield escaped.replace("/", "\\/")
    quoted = quote(key, safe="")
    yield quoted
    yield _ESCAPE.sub(lambda found: found[0].lower(), quoted)
    for skipped in range(3):
        whole = key[skipped : skipped + (len(key) - skipped) // 3 * 3].encode()
        for encode in (b64encode, urlsafe_b64encode):
            if len(encoded := encode(whole)) >= _SHORTEST_BASE64:
                yield encoded.decode()


class Keys:
    """Looked for only when a text is scrubbed."""

    def __init__(self, headers: Mapping[str, str], target: str) -> None:
        self._headers = headers
        self._target = target
        self._all: tuple[str, ...] | None = None
        self._written: tuple[str, ...] | None = None
        self._ours: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "<Keys>"

    @property
    def ours(self) -> tuple[str, ...]:
        """Those that are sent for the client."""
        return self._ours

    @ours.setter
    def ours(self, keys: tuple[str, ...]) -> None:
        if keys != self._ours:
            self._ours, self._all, self._written = keys, None, None

    @property
    def all(self) -> tuple[str, ...]:
        """All keys, the longest first."""
        if self._all is None:
            found = {*self._ours, *seen.secrets_in(self._headers, self._target)}
            self._all = tuple(sorted((each for each in found if len(each) >= _SHORTEST), key=len, reverse=True))
        return self._all

    @property
    def written(self) -> tuple[str, ...]:
        """All keys in each form in which a provider may repeat them, the longest first."""
        if self._written is None:
            found = {form for key in self.all for form in forms(key)}
            self._written = tuple(sorted(found, key=len, reverse=True))
        return self._written

    def scrub(self, text: str) -> str:
        """Take the keys out of a text."""
        for secret in self.written:
            text = text.replace(secret, seen.REDACTED)
        return seen.readable(text)
