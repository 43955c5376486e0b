"""From the client's dialect to the provider's and back, by way of the conversation form. Pure.

The request is read whole and written anew. A whole response is translated when it is all there; a stream event by
event, so that each delta leaves when it arrives. The reader of the provider's stream is the trace's own.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec
from msgspec import Struct

from gateway.dialects import Dialect
from gateway.dialects.conversation import ChatRequest, ChatResponse
from gateway.dialects.endpoint import ResponseFacts, ResponseRewriter, Rewriting, TokenCount
from gateway.dialects.events import Broken, ChoiceDone, Ended, Event, synthesize
from gateway.dialects.registry import ENDPOINTS, TABLES, WRITERS
from gateway.dialects.shared.custom_tools import CustomToolRestorer, custom_tool_names, restore_custom_calls
from gateway.dialects.shared.parameters import PREVIOUS_RESPONSE_ID
from gateway.dialects.shared.reported_error import failure_of, finish_failure
from gateway.dialects.shared.token_estimate import estimate
from gateway.dialects.shared.tool_names import ClientNames, fitted_tools
from gateway.dialects.shared.writer import Writer, Written
from gateway.dialects.wire.content_coding import decode
from gateway.errors import ExchangeError, Kind, kind_of_status
from gateway.providers.quirks import fitted, renamed
from gateway.providers.route import Route
from gateway.semconv import CHAT
from gateway.tracing.exchange import LARGE, Exchange
from gateway.tracing.response_reader import KEPT_MAX, STREAM_MAX, ResponseReader


class Translation(Struct, frozen=True, kw_only=True):
    """One exchange's translation.

    Attributes:
        request: The client's request, read.
        written: The request in the provider's dialect.
        dropped: Names of the fields that the provider's dialect, or the provider, has no place for.
        provider: The reader of the provider's dialect.
        client: The writer of the client's.
        client_statuses: HTTP statuses that only the client's dialect has.
        names: The client's names of tools that have other ones in `written`.

    """

    request: ChatRequest
    written: Written
    dropped: tuple[str, ...]
    provider: Dialect
    client: Writer
    client_statuses: frozenset[int]
    names: ClientNames = ClientNames()

    def reply(self, reader: ResponseReader, coding: str, now: float) -> "StreamReply | WholeReply":
        """Return the rewriter of the response that `reader` reads."""
        return StreamReply(self, reader, now) if self.request.stream else WholeReply(self, reader, coding, now)


def translate(route: Route, body: bytes, path: str, *, lossy: bool = False) -> Translation:
    """Read a request and write it for the provider. Raises ExchangeError if it cannot be sent there.

    `lossy`: images, sounds and files that the provider's dialect has no place for are dropped, instead of an error.
    """
    dialect, sent, reply = route.dialect, route.translated_to, route.response_dialect
    if dialect is None or dialect.read_conversation is None or sent is None or reply is None:
        raise RuntimeError("only a route with another dialect is translated")
    request = dialect.read_conversation(body, path)
    request = msgspec.structs.replace(request, model=route.model, stream=route.stream or request.stream)
    if route.endpoint.reports_usage:
        request = msgspec.structs.replace(request, include_usage=True)
    if not request.input_messages and not request.system_instructions:
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The body is no {route.client_dialect} request that could be translated for the provider "
            f"{route.provider.name!r}: it has no messages.",
            status=400,
        )
    stored = request.conversation_id or request.parameters.get(PREVIOUS_RESPONSE_ID)
    target = ENDPOINTS[sent.spoken]
    if stored and not target.stores_conversations:
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The request goes on from {stored!r}, which the provider does not store; "
            f"send the whole conversation to {route.provider.name!r}.",
            status=400,
            code="conversation_unavailable",
        )
    outgoing = msgspec.structs.replace(
        request,
        model=route.rename or route.model,
        include_usage=True if request.stream and route.provider.stream_usage else None,
    )
    outgoing, names = fitted_tools(outgoing, target.tool_names)
    dropped: list[str] = []
    quirks = route.provider.quirks
    if target.has_quirks:
        outgoing, dropped = fitted(quirks, outgoing)
    writer = target.cache_writer if quirks.marks and target.cache_writer is not None else WRITERS[sent.spoken]
    written = writer.request(outgoing)
    if target.has_quirks:
        written = renamed(quirks, written)
    if written.media and not lossy:
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The provider {route.provider.name!r} cannot be sent {', '.join(written.media)}: its dialect, "
            f"{sent.spoken}, has no place for it. Send the request to another provider, or drop it with "
            '$.translation.lossy = "drop".',
            status=400,
            code="content_not_supported",
        )
    client = ENDPOINTS[reply]
    if len(body) >= LARGE:  # the response is written without them
        request = msgspec.structs.replace(request, input_messages=[])
    return Translation(
        request=request,
        written=written,
        dropped=tuple(dict.fromkeys([*dropped, *written.dropped])),
        provider=sent,
        client=client.client_writer(route.target),
        client_statuses=frozenset(client.statuses),
        names=names,
    )


def facts(exchange: Exchange, route: Route) -> ResponseFacts:
    """Return the facts of an exchange so far, for an API that adds them to its responses."""
    return ResponseFacts(
        id=exchange.chat_id,
        provider=route.provider.name,
        model=route.rename or route.model or "",
        retries=exchange.retries,
        rate_limited=exchange.rate_limited,
    )


def rewritten(
    route: Route,
    exchange: Exchange,
    received: ResponseReader,
    coding: str,
    inner: ResponseRewriter | None,
    now: float,
) -> ResponseRewriter | None:
    """Return the rewriter of a successful response, if the client's API has one; else `inner`, the translation."""
    if route.endpoint.rewrite is None:
        return inner
    request = exchange.request or ChatRequest(operation=CHAT)
    return route.endpoint.rewrite(
        Rewriting(
            facts=facts(exchange, route),
            request=msgspec.structs.replace(request, model=route.model, stream=route.stream),
            received=received,
            coding=coding,
            limit=STREAM_MAX if received.streamed else KEPT_MAX,
            inner=inner,
            now=now,
        )
    )


def estimated_count(counts: TokenCount, body: bytes | None) -> bytes:
    """Return the response to a request to count tokens, as an estimate. Raises ExchangeError if there is none."""
    usage = estimate(counts.read(body or b""), ChatResponse())
    if usage.input_tokens is None:
        raise ExchangeError(
            Kind.BAD_INPUT,
            "The tokens of this request cannot be estimated: it has no messages, or parts that are no text.",
            status=400,
        )
    return counts.write(usage.input_tokens)


class StreamReply:
    """Writes the client's stream from the events of the provider's stream, or at the end from a whole response."""

    def __init__(self, translation: Translation, reader: ResponseReader, now: float) -> None:
        self._dropped = translation.dropped
        self._provider = translation.provider.name
        self._writer = translation.client.stream(translation.request, now)
        self._names = translation.names
        self._restoring = CustomToolRestorer(custom_tool_names(translation.request))
        self._reader = reader
        self.content_type = self._writer.content_type

    @property
    def dropped(self) -> list[str]:
        """Names of the fields that the provider's or the client's dialect has no place for."""
        return [*self._dropped, *self._writer.dropped]

    def feed(self, data: bytes) -> bytes:  # noqa: ARG002  the reader has them
        """Return the client's events for the bytes that have just been read."""
        events = self._reader.drain_events()
        if not events:
            return b""
        return b"".join([self._write(event) for event in self._restored(events)])

    def _write(self, event: Event) -> bytes:
        """Write an event; the end of a choice by failure is the stream's failure."""
        if isinstance(event, ChoiceDone) and event.finish_reason == "error":
            failure = finish_failure(event.finish_word)
            event = Broken(type=failure.type, message=failure.message)
        return self._writer.write(event)

    def flush(self) -> bytes:
        """Return the last events. Raises ExchangeError for a whole response that cannot be read."""
        if self._reader.streamed:
            rest, answered = self.feed(b""), self._reader.response()
            # Some providers stop after the reason why, without the event that ends their stream.
            finished = answered is not None and answered.finish_reasons
            return rest + self._writer.write(Ended()) if finished else rest
        answered = _readable(self._reader.response(), self._provider)
        return b"".join([self._write(event) for event in self._restored(synthesize(answered))])

    def _restored(self, events: Iterable[Event]) -> Iterator[Event]:
        return self._restoring.restore(self._names.restore_events(events))

    def broken(self, message: str) -> bytes:
        """Return the event that reports a broken response."""
        return self._writer.write(Broken(message=message))


class WholeReply:
    """Holds a whole response back until it is all there, and writes it in the client's dialect."""

    content_type = "application/json"

    def __init__(self, translation: Translation, reader: ResponseReader, coding: str, now: float) -> None:
        self._translation = translation
        self._reader = reader
        self._coding = coding
        self._now = now
        self._pieces: list[bytes] = []
        self.dropped = list(translation.dropped)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes."""
        self._pieces.append(data)
        return b""

    def flush(self) -> bytes:
        """Return the whole response. Raises ExchangeError if the provider's cannot be read."""
        translation, provider = self._translation, self._translation.provider
        if self._reader.streamed:  # though no stream was requested
            response = self._reader.response()
        else:
            response = provider.read_response(plain(b"".join(self._pieces), self._coding))
        answered = _readable(response, provider.name)
        if (failure := failure_of(answered)) is not None:
            raise ExchangeError(
                kind_of_status(failure.status) or Kind.SERVER, failure.message, status=failure.status, code=failure.type
            )
        answered = restore_custom_calls(translation.names.restore(answered), custom_tool_names(translation.request))
        written, names = translation.client.response(answered, translation.request, self._now)
        self.dropped += names
        return written

    def broken(self, message: str) -> bytes:  # noqa: ARG002  nothing was sent so far
        """Return no event: the client gets an error response."""
        return b""


def translate_error(
    translation: Translation,
    kind: Kind,
    status: int,
    body: bytes,
    coding: str,
    request_id: str,
    scrub: Callable[[str], str],
) -> tuple[int, bytes]:
    """Return the status and body of a provider's error in the client's dialect, with secrets redacted."""
    body = plain(body, coding)
    answered = translation.provider.read_response(body)
    message = scrub(answered.error_message or _shown(body)) or f"the provider answered {status}"
    return write_error(translation, kind, status, message, answered.error_type, request_id)


def write_error(
    translation: Translation, kind: Kind, status: int, message: str, word: str | None, request_id: str
) -> tuple[int, bytes]:
    """Return the status and body of an error for the client; `status` and `word` are the provider's."""
    shown_status = status if status in translation.client_statuses else TABLES.statuses.get(status, status)
    return shown_status, translation.client.error(kind, shown_status, message, word, request_id)


def _readable(answered: ChatResponse | None, dialect: str) -> ChatResponse:
    """Return a response that has content. Raises ExchangeError, which repeats nothing of the body."""
    has_content = answered is not None and (
        answered.output_messages or answered.usage is not None or answered.id is not None or answered.error_message
    )
    if answered is None or not has_content:
        raise ExchangeError(Kind.PARSING, f"The provider's response is no {dialect} that could be translated.")
    return answered


def _shown(body: bytes) -> str:
    return body[:1000].decode("utf-8", "replace")


def plain(body: bytes, coding: str) -> bytes:
    """Return a body without its content coding; as it is if that cannot be undone."""
    decoded = decode(body, coding)
    return body if decoded is None else decoded
