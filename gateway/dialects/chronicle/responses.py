"""chronicle's responses: OpenAI's, with `meta` in a whole body or on the first chunk of a stream. Pure.

No other byte of a body or a chunk is changed. A whole stream ends with `[DONE]`, a broken one with `event: error`.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from gateway.dialects.chronicle import errors
from gateway.dialects.endpoint import ResponseFacts, ResponseRewriter, Rewriting, StreamFilter
from gateway.dialects.openai_chat import CHAT_WRITER
from gateway.dialects.openai_chat.stream_usage import EVENT_END
from gateway.dialects.shared.reported_error import error_of, failure_of
from gateway.dialects.shared.writer import write_whole
from gateway.dialects.wire.content_coding import Decoder, decoder
from gateway.dialects.wire.sse import Event, SseDecoder
from gateway.errors import ExchangeError, Kind, kind_of_status

# A longer event is neither the first chunk nor an error, and is not held until its end.
_LONGEST = 128 * 1024
_DONE = b"data: [DONE]\n\n"
_SPECIAL = re.compile(rb"error|\[DONE\]")


class Meta(Struct, frozen=True, kw_only=True):
    """The `meta` of a response: the request's id, and the attempt that answered it."""

    id: str
    provider: str
    model: str
    num_retries: int
    was_rate_limited: bool


def meta_of(facts: ResponseFacts) -> bytes:
    """Return the `meta` of a response as JSON."""
    return msgspec.json.encode(
        Meta(
            id=facts.id,
            provider=facts.provider,
            model=facts.model,
            num_retries=facts.retries,
            was_rate_limited=facts.rate_limited,
        )
    )


def with_meta(body: bytes, meta: bytes) -> bytes | None:
    """Return a JSON object with `meta` added, every other byte as it was; None if the body is no object."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if "meta" in fields:  # a provider's own: of two the client would see one
        fields["meta"] = Raw(meta)
        return msgspec.json.encode(fields)
    end = body.rindex(b"}")
    return b'%b%b"meta":%b%b' % (body[:end], b"," if fields else b"", meta, body[end:])


def rewrite_whole(body: bytes, facts: ResponseFacts, streamed: bool) -> bytes:
    """Return a response that the gateway has written, with `meta`."""
    meta = meta_of(facts)
    if not streamed:
        return with_meta(body, meta) or body
    stream = MetaStream(meta, lambda: True)
    return stream.feed(body) + stream.flush()


class _Error(Struct, gc=False):
    error: Any = None
    message: Any = None
    choices: Any = None


class MetaStream:
    """Passes a stream of chat chunks through, event by event. `whole` returns at the end whether the stream is."""

    def __init__(self, meta: bytes, whole: Callable[[], bool]) -> None:
        self._meta: bytes | None = meta
        self._whole = whole
        self._held = b""
        self._passing = False  # within an event that is too long
        self._over = False  # its last event has passed

    def __repr__(self) -> str:
        return f"<MetaStream held={len(self._held)} over={self._over}>"

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return the events that end in them."""
        plain = self._meta is None and not self._held and not self._passing
        # After a third line end in a row it takes the whole run to know which of them end an event.
        if plain and data[-2:] == b"\n\n" and data[-3:-2] not in b"\r\n" and not _SPECIAL.search(data):
            return data
        return self._pass(self._held + data, last=False)

    def flush(self) -> bytes:
        """Return the rest of the stream, if it is a whole event, and `[DONE]`, if a whole stream lacks it."""
        rest = self._pass(self._held, last=True)
        return rest if self._over or not self._whole() else rest + _DONE

    def broken(self, message: str) -> bytes:
        """Return the event that reports a stream that broke off."""
        # chronicle's own client takes an event only when a byte has come after its blank line.
        return (b"\n\n" if self._passing else b"") + errors.event(message) + b"\n"

    def _pass(self, data: bytes, *, last: bool) -> bytes:
        passed: list[bytes] = []
        start = 0
        for end in EVENT_END.finditer(data):
            if not last and end.end() == len(data) and data.endswith(b"\r"):
                break  # its line end may not be whole
            event = data[start : end.end()]
            long = self._passing or len(event) > _LONGEST
            passed.append(event if long else self._changed(event))
            self._passing = False
            start = end.end()
        rest = data[start:]
        if last and rest and not self._passing:
            passed.append(self._last(rest))
            rest = b""
        self._passing = self._passing or len(rest) > _LONGEST
        held_back = len(rest) if not self._passing else len(rest) - len(rest.rstrip(b"\r\n"))
        self._held = rest[len(rest) - held_back :] if not last else b""
        passed.append(rest[: len(rest) - len(self._held)])
        return b"".join(passed)

    def _changed(self, raw: bytes) -> bytes:
        """Return an event as the client gets it."""
        for event in SseDecoder().feed(raw):
            if event.data == b"[DONE]":
                self._over = True
            elif (error := self._error(event)) is not None:
                return error
            elif self._meta is not None and (changed := with_meta(event.data, self._meta)) is not None:
                self._meta = None
                return _written(event.name, changed)
        return raw

    def _error(self, event: Event) -> bytes | None:
        """Return a provider's error in chronicle's form; None for any other event, and for an error beside content."""
        if event.name != "error" and b'"error"' not in event.data:
            return None
        try:
            read = msgspec.json.decode(event.data, type=_Error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            read = _Error(message=event.data.decode("utf-8", "replace"))
        if not read.error and event.name != "error":
            return None
        self._over = True
        if read.choices:
            return None
        message = error_of(read.error or {"message": read.message}).message
        return errors.event(message or "the provider sent an error", read.error)

    def _last(self, rest: bytes) -> bytes:
        """Return a last event that lacks only its blank line; nothing of one that was cut off."""
        for event in SseDecoder().feed(rest + b"\n\n"):
            if event.data == b"[DONE]" or with_meta(event.data, b"{}") is not None:
                changed = self._changed(rest + b"\n\n")
                return _written(event.name, event.data) if changed == rest + b"\n\n" else changed
        return b""


def _written(name: str | None, data: bytes) -> bytes:
    named = b"" if name is None else b"event: %b\n" % name.encode()
    return b"%bdata: %b\n\n" % (named, data.replace(b"\n", b"\ndata: "))


class _Whole:
    """Holds a body back until it is whole, and adds `meta`."""

    def __init__(self, meta: bytes) -> None:
        self._meta = meta
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        self._pieces.append(data)
        return b""

    def flush(self) -> bytes:
        changed = with_meta(b"".join(self._pieces), self._meta)
        if changed is None:
            raise ExchangeError(Kind.PARSING, "The provider's response is no JSON object.")
        return changed

    def broken(self, message: str) -> bytes:  # noqa: ARG002  nothing has been sent
        return b""


class _Decoded:
    """Decodes a body in a content coding that was not asked for."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def feed(self, data: bytes) -> bytes:
        try:
            return self._decoder.feed(data)
        except ValueError as error:
            raise ExchangeError(Kind.PARSING, f"The provider's response cannot be decoded: {error}.") from None

    def flush(self) -> bytes:
        return b""


class _Turned:
    """A whole body for a client that asked for a stream, or the reverse: written anew from the parsed response."""

    def __init__(self, rewriting: Rewriting) -> None:
        self._request = structs.replace(rewriting.request, include_usage=True)
        self._received = rewriting.received
        self._now = rewriting.now

    def feed(self, data: bytes) -> bytes:  # noqa: ARG002  it has been read
        return b""

    def flush(self) -> bytes:
        answered = self._received.response()
        if answered is None:
            raise ExchangeError(Kind.PARSING, "The provider's response cannot be read.")
        if self._received.streamed and not (self._received.ended or answered.finish_reasons):
            raise ExchangeError(Kind.CLOSED, "The provider's stream stopped before its last event.")
        if (failure := failure_of(answered)) is not None:
            raise ExchangeError(
                kind_of_status(failure.status) or Kind.SERVER, failure.message, status=failure.status, code=failure.type
            )
        return write_whole(CHAT_WRITER, self._request, answered, self._now)[1]


class MetaRewriter:
    """Writes chronicle's response from a provider's, or from its translation. See `ResponseRewriter`."""

    def __init__(self, source: StreamFilter, output: MetaStream | _Whole, inner: ResponseRewriter | None) -> None:
        self._source = source
        self._output = output
        self._inner = inner
        self.content_type = "text/event-stream; charset=utf-8" if isinstance(output, MetaStream) else "application/json"

    def __repr__(self) -> str:
        return f"<MetaRewriter {self._output!r}>"

    @property
    def dropped(self) -> list[str]:
        """Names of the content that could not be expressed."""
        return [] if self._inner is None else self._inner.dropped

    def feed(self, data: bytes) -> bytes:
        """Take the provider's next bytes, and return the client's. Raises ExchangeError."""
        return self._output.feed(self._source.feed(data))

    def flush(self) -> bytes:
        """Return the rest, at the end. Raises ExchangeError for a response that cannot be read."""
        return self._output.feed(self._source.flush()) + self._output.flush()

    def broken(self, message: str) -> bytes:
        """Return the event that reports a stream that broke off."""
        return self._output.broken(message)


def rewrite(rewriting: Rewriting) -> ResponseRewriter | None:
    """Return the rewriter of a response; None for a body in an unknown coding, which is relayed as it is."""
    received, streams = rewriting.received, rewriting.request.stream
    source: StreamFilter
    if rewriting.inner is not None:
        source = rewriting.inner
    elif streams == received.streamed:
        coded = decoder(rewriting.coding, rewriting.limit)
        if coded is None:
            return None
        source = _Decoded(coded)
    else:
        source = _Turned(rewriting)

    def whole() -> bool:
        answered = received.response()
        if answered is not None and failure_of(answered) is not None:
            return False
        return received.ended or (answered is not None and bool(answered.finish_reasons))

    meta = meta_of(rewriting.facts)
    return MetaRewriter(source, MetaStream(meta, whole) if streams else _Whole(meta), rewriting.inner)
