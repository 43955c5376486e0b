"""Content codings: decode a copy of a body for its reader. The bytes that are relayed are never touched.

A coding we cannot read gives no decoder: the body is relayed and traced by HTTP facts alone.
"""

import json
import sys
import zlib
from typing import Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Decoding takes some 3 ms a MiB, on the loop that relays for everybody. Honest bodies that are coded, and larger than
# this when they are not, are rare; a bomb costs no more than one of them.
MAX_DECODED = 32 * 1024 * 1024
_PIECE = 16 * 1024
_STEP = 256 * 1024

# Reading a body for the trace holds that loop, too: some 5 ms a MiB, and up to 1.7 us a string. Within these bounds it
# is 100 ms at most. A million tokens with their tools are within the first two. A larger body must be cut to fit
# $.capture.store_bytes, which goes over all its strings again and again: only a few, such as images, are taken then.
READ_MAX = 6 * 1024 * 1024
STRINGS_MAX = 60_000
READ_MAX_OF_FEW = 16 * 1024 * 1024
FEW_STRINGS = 1_000
# So small a body is not worth counting.
_SMALL = 64 * 1024

# Half a surrogate pair is mended on a slow path: some 10 ms a MiB.
_MENDED_MAX = 4 * 1024 * 1024


class TooLargeError(ValueError):
    """A body decodes to more than it may."""


class Decoder(Protocol):
    """Decodes a body as its pieces come. Raises ValueError on bytes that are not of its coding, TooLargeError."""

    def feed(self, data: bytes) -> bytes:
        """Return the decoded form of `data`, as far as it is known."""

    @property
    def whole(self) -> bool:
        """Whether the body has come to its end, and nothing was behind that."""


class _Zlib:
    def __init__(self, wbits: int, limit: int) -> None:
        self._inner = zlib.decompressobj(wbits)
        self._left = limit

    def feed(self, data: bytes) -> bytes:
        out = []
        try:
            # Small steps: an output that outgrows its buffer again and again takes twice as long.
            for at in range(0, len(data), _PIECE):
                piece = data[at : at + _PIECE]
                while piece:
                    out.append(self._inner.decompress(piece, _STEP))
                    piece = self._inner.unconsumed_tail
                    self._left -= len(out[-1])
                    if self._left < 0:
                        raise TooLargeError("the decoded body is too large")
        except zlib.error as error:
            raise ValueError(str(error)) from None
        return b"".join(out)

    @property
    def whole(self) -> bool:
        return self._inner.eof and not self._inner.unused_data


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
                    raise TooLargeError("the decoded body is too large")
                if self._inner.needs_input or not piece:
                    break
        except zstd.ZstdError as error:
            raise ValueError(str(error)) from None
        return b"".join(out)

    @property
    def whole(self) -> bool:
        return self._inner.eof and not self._inner.unused_data


class _Brotli:
    def __init__(self, limit: int) -> None:
        self._inner = brotli.Decompressor()
        self._left = limit

    def feed(self, data: bytes) -> bytes:
        out = []
        try:
            while data or not self._inner.can_accept_more_data():
                out.append(self._inner.process(data, output_buffer_limit=_STEP))
                data = b""
                self._left -= len(out[-1])
                if self._left < 0:
                    raise TooLargeError("the decoded body is too large")
        except brotli.error as error:
            raise ValueError(str(error)) from None
        return b"".join(out)

    @property
    def whole(self) -> bool:
        return bool(self._inner.is_finished())


class _Several:
    """Undoes codings that were applied one after another."""

    def __init__(self, decoders: list[Decoder]) -> None:
        self._decoders = decoders

    def feed(self, data: bytes) -> bytes:
        for each in self._decoders:
            data = each.feed(data)
        return data

    @property
    def whole(self) -> bool:
        return all(each.whole for each in self._decoders)


class _Identity:
    whole = True

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
        case "br":
            return _Brotli(limit)
        case several if "," in several:
            decoders = [each for name in reversed(several.split(",")) if (each := decoder(name, limit)) is not None]
            return _Several(decoders) if len(decoders) == several.count(",") + 1 else None
        case _:
            return None


def worth_reading(body: bytes) -> bool:
    """Whether a JSON body is small enough to be read for the trace without holding up others."""
    if len(body) <= _SMALL:
        return True
    if len(body) > READ_MAX_OF_FEW:
        return False
    strings = (body.count(b'"') - body.count(b'\\"')) // 2
    return strings <= (STRINGS_MAX if len(body) <= READ_MAX else FEW_STRINGS)


def decode(body: bytes, coding: str, limit: int = MAX_DECODED) -> bytes | None:
    """Return a whole body decoded, None if it cannot be read."""
    inner = decoder(coding, limit)
    if inner is None:
        return None
    try:
        return inner.feed(body)
    except ValueError:
        return None


def decode_whole(body: bytes, coding: str, limit: int) -> bytes:
    """Return a whole body decoded. Raises ValueError if it cannot be read to its end, TooLargeError."""
    inner = decoder(coding, limit)
    if inner is None:
        raise ValueError("this coding is not known")
    decoded = inner.feed(body)
    if not inner.whole:
        raise ValueError("it does not end with the body")
    if len(decoded) > limit:
        raise TooLargeError("the body is too large")
    return decoded


def mended(body: bytes) -> bytes:
    """Return JSON whose texts may have half a character in them, as JavaScript writes them. Raises ValueError."""
    if len(body) > _MENDED_MAX:
        raise ValueError(f"a text in it cannot be read, and more than {_MENDED_MAX} bytes are not searched for it")
    value = json.loads(body, parse_constant=lambda _: None)
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
