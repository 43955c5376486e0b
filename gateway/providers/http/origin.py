"""Upstream origins, the base URLs that name them, and the paths that would leave a base URL. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple, Self
from urllib.parse import unquote_to_bytes, urlsplit

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""The port of a URL without one, by its scheme."""

_ESCAPED_TWICE: Final = 3
_SEPARATORS: Final = re.compile(rb"[/\\]")


class Origin(NamedTuple):
    """The scheme, host and port of an upstream: idle connections are pooled by it."""

    scheme: Literal["http", "https"]
    host: str
    port: int

    @classmethod
    def from_url(cls, url: str) -> tuple[Self, str]:
        """Split a base URL into its origin and its path, which has no slash at the end ("" for the root).

        Raises ValueError, whose text has its scheme and host only: the URL may have a password.
        """
        try:
            parts = urlsplit(url)
            name, port = parts.hostname, parts.port
            host = "" if not name else name if name.isascii() else name.encode("idna").decode()
        except ValueError:  # its text may repeat the password
            raise ValueError("not a URL: its host or its port is invalid") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("not an http:// or https:// URL" + (f": {parts.scheme}://{host}" if host else ""))
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(f"a base URL has no user, query or fragment: {parts.scheme}://{host}")
        if climbs(parts.path):
            raise ValueError(f"a base URL's path has no segment ..: {parts.scheme}://{host}")
        scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
        return cls(scheme, host, port or DEFAULT_PORTS[scheme]), parts.path.rstrip("/")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(maxsize=1024)
def authority(origin: Origin) -> bytes:
    """Return the value of the Host header: with its port unless it is the scheme's default."""
    text = str(origin)
    return text.removesuffix(f":{DEFAULT_PORTS[origin.scheme]}").encode("ascii")


def climbs(path: str, floor: int | None = None) -> bool:
    """Whether a segment `..` of a path leads above its first `floor` segments; None: whether there is any.

    Servers and proxies resolve it to the path above. Dots and separators may be percent-encoded, also repeatedly, since
    a proxy in between may decode them once more. A backslash is a separator to some servers, and so is the text after
    a `;` no part of the name.

    >>> climbs("/v1/%2e./admin"), climbs("/v1/..%252fadmin"), climbs("/v1/a..b/...")
    (True, True, False)
    >>> climbs("/v1/files/a/../b", 2), climbs("/v1/files/a/../../../b", 2)
    (False, True)
    """
    if ".." not in path and "%" not in path:
        return False
    raw = path.encode("utf-8", "surrogateescape")
    for _ in range(_ESCAPED_TWICE):
        if _falls(raw, floor):
            return True
        decoded = unquote_to_bytes(raw)
        if decoded == raw:
            return False
        raw = decoded
    return _falls(raw, floor)


def _falls(raw: bytes, floor: int | None) -> bool:
    depth = 0
    for segment in _SEPARATORS.split(raw):
        name = segment.partition(b";")[0].strip()
        if name == b"..":
            depth -= 1
            if floor is None or depth < floor:
                return True
        elif name not in {b"", b"."}:
            depth += 1
    return False
