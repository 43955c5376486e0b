"""Content codings: decode a copy of a body for its reader. The bytes that are relayed are never touched.

A coding we cannot read gives no decoder: the body is relayed and traced by HTTP facts alone.
"""

import sys
import zlib
from typing import Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# The copy for the reader is bounded, so that a bomb costs no more than an honest body of the largest size: providers
# take 50 MB at most.
MAX_DECODED = 64 * 1024 * 1024

# A body is read for the trace on the loop that relays for everybody. Reading costs up to 2.5 us a string and some 5 ms
# a MiB: within both bounds it holds the loop for 100 ms at most, and a million tokens with their tools are well within
# both. They also keep what is read below the default of $.capture.store_bytes, so that nothing need be cut.
READ_MAX = 6 * 1024 * 1024
STRINGS_MAX = 40_000
# So small a body is not worth counting.
_SMALL = 64 * 1024
_STEP = 1024 * 1024


class Decoder(Protocol):
    """Decodes a body as its pieces come. Raises ValueError on what is not of its coding, or too large."""

    def feed(self, data: bytes) -> bytes:
        """Return what `data` decodes to, as far as it is known."""


class _Zlib:
    def __init__(self, wbits: int, limit: int) -> None:
        self._inner = zlib.decompressobj(wbits)
        self._left = limit

    def feed(self, data: bytes) -> bytes:
        try:
            out = self._inner.decompress(data, self._left + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        self._left -= len(out)
        if self._left < 0:
            raise ValueError("the decoded body is too large")
        return out


class _Zstd:
    def __init__(self, limit: int) -> None:
        self._inner = zstd.ZstdDecompressor()
        self._left = limit

    def feed(self, data: bytes) -> bytes:
        out = []
        try:
            while not self._inner.eof:
                piece = self._inner.decompress(data, max_length=_STEP)
                data = b""
                out.append(piece)
                self._left -= len(piece)
                if self._left < 0:
                    raise ValueError("the decoded body is too large")
                if self._inner.needs_input or not piece:
                    break
        except zstd.ZstdError as error:
            raise ValueError(str(error)) from None
        return b"".join(out)


class _Identity:
    def feed(self, data: bytes) -> bytes:
        return data


def decoder(coding: str, limit: int = MAX_DECODED) -> Decoder | None:
    """Return a decoder for the value of a Content-Encoding header, None for one we cannot read."""
    match coding.strip().lower():
        case "" | "identity":
            return _Identity()
        case "gzip" | "x-gzip":
            return _Zlib(16 + zlib.MAX_WBITS, limit)
        case "deflate":
            return _Zlib(zlib.MAX_WBITS, limit)
        case "zstd":
            return _Zstd(limit)
        case _:
            return None


def worth_reading(body: bytes) -> bool:
    """Whether a JSON body is small enough to be read for the trace without holding up others."""
    if len(body) <= _SMALL:
        return True
    return len(body) <= READ_MAX and body.count(b'"') - body.count(b'\\"') <= 2 * STRINGS_MAX


def decode(body: bytes, coding: str, limit: int = MAX_DECODED) -> bytes | None:
    """Return a whole body decoded, None where it cannot be read."""
    inner = decoder(coding, limit)
    if inner is None:
        return None
    try:
        return inner.feed(body)
    except ValueError:
        return None
