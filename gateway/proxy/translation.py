"""From the client's dialect to the provider's and back, by way of the conversation form. Pure.

The request is read whole and written anew. A whole response is translated when it is all there; a stream event by
event, so that each delta leaves when it arrives. The reader of the provider's stream is the trace's own.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from gateway.dialects import Dialect
from gateway.dialects.conversation import ChatRequest, ChatResponse
from gateway.dialects.endpoint import ResponseFacts, ResponseRewriter, Rewriting, TokenCount
from gateway.dialects.events import Broken, Ended
from gateway.dialects.registry import ENDPOINTS, TABLES
from gateway.dialects.shared.custom_tools import CustomToolRestorer, custom_tool_names, restore_custom_calls
from gateway.dialects.shared.parameters import PREVIOUS_RESPONSE_ID
from gateway.dialects.shared.synthesize_stream import synthesize
from gateway.dialects.shared.token_estimate import estimate
from gateway.dialects.shared.writer import Writer, Written
from gateway.dialects.wire.content_coding import decode
from gateway.errors import ExchangeError, Kind
from gateway.providers.quirks import fitted, renamed
from gateway.providers.route import Route
from gateway.semconv import CHAT
from gateway.tracing.exchange import Exchange
from gateway.tracing.response_reader import KEPT_MAX, STREAM_MAX, ResponseReader


class Translation(Struct, frozen=True, kw_only=True):
    """One exchange's translation: what was asked, how it is sent (`written`), and who writes the client's answer.

    `dropped` names all that the provider's dialect, or the provider, cannot be sent; `client_statuses` are the HTTP
    statuses that only the client's dialect has.
    """

    asked: ChatRequest
    written: Written
    dropped: tuple[str, ...]
    provider: Dialect
    client: Writer
    client_statuses: frozenset[int]

    def reply(self, tee: ResponseReader, coding: str, now: float) -> "StreamReply | WholeReply":
        """Return what turns the response that `tee` reads into the client's."""
        return StreamReply(self, tee, now) if self.asked.stream else WholeReply(self, tee, coding, now)


def translate(route: Route, body: bytes, path: str) -> Translation:
    """Read a request and write it for the provider. Raises ExchangeError for one that cannot be told to it."""
    dialect, sent, reply = route.dialect, route.translated_to, route.response_dialect
    if dialect is None or dialect.read_conversation is None or sent is None or reply is None:
        raise RuntimeError("only a route with another dialect is translated")
    asked = dialect.read_conversation(body, path)
    asked = msgspec.structs.replace(asked, model=route.model, stream=route.stream or asked.stream)
    if route.endpoint.reports_usage:
        asked = msgspec.structs.replace(asked, include_usage=True)
    if not asked.input_messages and not asked.system_instructions:
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The body is no {route.client_dialect} request that could be translated for the provider "
            f"{route.provider.name!r}: it has no messages.",
            status=400,
        )
    stored = asked.conversation_id or asked.parameters.get(PREVIOUS_RESPONSE_ID)
    target = ENDPOINTS[sent.spoken]
    if stored and not target.stores_conversations:
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The request goes on from {stored!r}, which only a provider that speaks openai-responses has; "
            f"send the whole conversation to {route.provider.name!r}.",
            status=400,
            code="conversation_unavailable",
        )
    told = msgspec.structs.replace(
        asked,
        model=route.rename or route.model,
        include_usage=True if asked.stream and route.provider.stream_usage else None,
    )
    given_up: list[str] = []
    quirks = route.provider.quirks
    if target.has_quirks:
        told, given_up = fitted(quirks, told)
    writer = target.cache_writer if quirks.marks and target.cache_writer is not None else target.writer
    written = writer.request(told)
    if target.has_quirks:
        written = renamed(quirks, written)
    client = ENDPOINTS[reply]
    return Translation(
        asked=asked,
        written=written,
        dropped=tuple(dict.fromkeys([*given_up, *written.dropped])),
        provider=sent,
        client=client.client_writer(route.target),
        client_statuses=frozenset(client.statuses),
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
    request = exchange.asked or ChatRequest(operation=CHAT)
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
    """Writes a stream for the client out of what the tee's reader is told; or out of a whole response, at its end."""

    def __init__(self, translation: Translation, tee: ResponseReader, now: float) -> None:
        self._dropped = translation.dropped
        self._provider = translation.provider.name
        self._writer = translation.client.stream(translation.asked, now)
        self._restoring = CustomToolRestorer(custom_tool_names(translation.asked))
        self._tee = tee
        self.content_type = self._writer.content_type

    @property
    def dropped(self) -> list[str]:
        """What could not be said to the provider, or to the client."""
        return [*self._dropped, *self._writer.dropped]

    def feed(self, data: bytes) -> bytes:  # noqa: ARG002  the tee has read it
        """Return what the client is told of the bytes that the tee has just read."""
        told = self._tee.drain_events()
        if not told:
            return b""
        return b"".join([self._writer.write(event) for event in self._restoring.restore(told)])

    def flush(self) -> bytes:
        """Return what is still to be said at the end. Raises ExchangeError for a whole response that is unreadable."""
        if self._tee.streamed:
            rest, answered = self.feed(b""), self._tee.answered()
            # Some providers stop after the reason why, without the event that ends their stream.
            finished = answered is not None and answered.finish_reasons
            return rest + self._writer.write(Ended()) if finished else rest
        answered = _readable(self._tee.answered(), self._provider)
        return b"".join([self._writer.write(event) for event in self._restoring.restore(synthesize(answered))])

    def broken(self, message: str) -> bytes:
        """Return what tells the client that no more will come."""
        return self._writer.write(Broken(message=message))


class WholeReply:
    """Holds a whole response back until it is all there, and writes it in the client's dialect."""

    content_type = "application/json"

    def __init__(self, translation: Translation, tee: ResponseReader, coding: str, now: float) -> None:
        self._translation = translation
        self._tee = tee
        self._coding = coding
        self._now = now
        self._pieces: list[bytes] = []
        self.dropped = list(translation.dropped)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes."""
        self._pieces.append(data)
        return b""

    def flush(self) -> bytes:
        """Return the whole response. Raises ExchangeError where the provider's cannot be read."""
        translation, provider = self._translation, self._translation.provider
        if self._tee.streamed:  # though nobody asked for that
            told = self._tee.answered()
        else:
            told = provider.read_response(plain(b"".join(self._pieces), self._coding))
        answered = _readable(told, provider.name)
        answered = restore_custom_calls(answered, custom_tool_names(translation.asked))
        written, names = translation.client.response(answered, translation.asked, self._now)
        self.dropped += names
        return written

    def broken(self, message: str) -> bytes:  # noqa: ARG002  nothing was said so far
        """Return what tells the client that no more will come."""
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
    """Return the status and the body of a provider's error for a client of another dialect, keys scrubbed from it."""
    body = plain(body, coding)
    answered = translation.provider.read_response(body)
    message = scrub(answered.error_message or _shown(body)) or f"the provider answered {status}"
    told = status if status in translation.client_statuses else TABLES.statuses.get(status, status)
    return told, translation.client.error(kind, told, message, answered.error_type, request_id)


def _readable(answered: ChatResponse | None, dialect: str) -> ChatResponse:
    """Return a whole response that says something. Raises ExchangeError, which repeats nothing of what came."""
    told = answered is not None and (
        answered.output_messages or answered.usage is not None or answered.id is not None or answered.error_message
    )
    if answered is None or not told:
        raise ExchangeError(Kind.PARSING, f"The provider's response is no {dialect} that could be translated.")
    return answered


def _shown(body: bytes) -> str:
    return body[:1000].decode("utf-8", "replace")


def plain(body: bytes, coding: str) -> bytes:
    """Return a body without its content coding, as it is where that cannot be undone."""
    decoded = decode(body, coding)
    return body if decoded is None else decoded
