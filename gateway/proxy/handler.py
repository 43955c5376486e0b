"""Accept an exchange: read it, route it, have it answered, and see that it ends exactly once whatever happens."""

import asyncio
import logging
import random
import re
from collections.abc import Mapping
from time import monotonic, time
from typing import Any

from aiohttp import web
from msgspec import structs
from multidict import CIMultiDict
from yarl import URL

from gateway.config.model import Config
from gateway.dialects.endpoint import Endpoint, TokenCount
from gateway.dialects.registry import by_headers
from gateway.dialects.wire.content_coding import decode, worth_reading
from gateway.dialects.wire.edit import Peek, peek
from gateway.errors import ExchangeError, Kind
from gateway.providers.http.client import Client
from gateway.providers.route import Route
from gateway.proxy.answer import Answer, extra_headers
from gateway.proxy.attempts import Attempts
from gateway.proxy.auth import Authorized, Token, authorize, refuse_pages
from gateway.proxy.error_response import error_answer
from gateway.proxy.list_models import Lister
from gateway.proxy.request_body import read_body
from gateway.proxy.routing.health import Health
from gateway.proxy.routing.request_options import Options, from_headers, said_in, with_body
from gateway.proxy.routing.routes import ParsedPath, asked_model, names_a_model, parse_path
from gateway.proxy.routing.runtime import RuntimeConfig
from gateway.proxy.routing.schedule import AttemptSchedule
from gateway.proxy.routing.select import candidates
from gateway.proxy.translation import estimated_count
from gateway.proxy.upstream import Signer
from gateway.proxy.upstream_request import Planner
from gateway.tracing.exchange import Exchange
from gateway.tracing.outcome import OK, Outcome
from gateway.tracing.tracer import JournalTracer

log = logging.getLogger("gateway.proxy")

_WHOLE_URL = re.compile(r"https?://[^/?#]*(?:/([^?]*))?(.*)", re.IGNORECASE | re.DOTALL)

NOTHING = Peek(model=None, stream=False)


class Proxy:
    """One worker's request path. `stopping` is set when the worker drains: what is cancelled then was not left."""

    def __init__(
        self,
        *,
        setup: RuntimeConfig,
        client: Client,
        signer: Signer,
        tracer: JournalTracer,
        rng: random.Random,
        token: Token | None,
    ) -> None:
        self._setup = setup
        self._health = Health()
        self._client = client
        self._signer = signer
        self._tracer = tracer
        self._rng = rng
        self._token = token
        self._lister = Lister(client, signer)
        self._handling: set[asyncio.Task[Any]] = set()
        self.stopping = False

    def use(self, setup: RuntimeConfig, token: Token | None, signer: Signer | None = None) -> None:
        """Go on by another configuration; what is in flight keeps its own. `signer`: None where it stays as it is."""
        self._setup = setup
        self._token = token
        if signer is not None:
            self._signer = signer
            self._lister = Lister(self._client, signer)

    def cut_off(self) -> None:
        """End what is still in flight when the time to drain is over."""
        for task in self._handling:
            task.cancel()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one client request, and end its exchange before the response's last bytes leave."""
        task = asyncio.current_task()
        if task is not None and task not in self._handling:  # one task handles all requests of a connection
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)
        setup, said = self._setup, said_in(request.raw_headers)
        exchange = Exchange(
            self._tracer,
            setup.capture_policy,
            method=request.method,
            target=request.raw_path,
            headers=_readable(request),
            said=said,
            stopping=lambda: self.stopping,
        )
        try:
            with exchange:
                answer = await self._answered(request, said, setup, exchange)
                exchange.outcome = answer.outcome
            return await answer.finish(request)
        except ConnectionError:
            raise web.HTTPBadRequest(text="The request's body broke off.") from None

    async def _answered(
        self, request: web.Request, said: Mapping[str, tuple[str, str]], setup: RuntimeConfig, exchange: Exchange
    ) -> Answer:
        """Answer a request up to the response's last bytes; an error of ours is an answer too."""
        endpoint: Endpoint | None = None
        try:
            where = self._placed(request, setup)
            endpoint = where.endpoint
            let_in = authorize(request.raw_headers, where, self._token)
            where = structs.replace(where, query=let_in.query)
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return _no_websocket(endpoint, exchange)
            if asked := self._lister.asked(request.method, where, setup):
                return await self._lister.answer(request, asked, let_in, where, setup, exchange)
            body = await _read(request, setup.config, exchange)
            return await self._answer(request, where, let_in, body, from_headers(said), setup, exchange)
        except ExchangeError as error:
            return error_answer(error, endpoint or by_headers(request.raw_headers), exchange)
        except ConnectionError:
            raise
        except Exception:
            if request.writer.output_size:  # too late for an error response
                raise
            log.exception("an exchange failed in the gateway")
            failure = ExchangeError(Kind.GENERIC, "The gateway itself failed; its log says how.", code="gateway_failed")
            return error_answer(failure, endpoint or by_headers(request.raw_headers), exchange)

    async def _answer(
        self,
        request: web.Request,
        where: ParsedPath,
        let_in: Authorized,
        body: bytes,
        options: Options,
        setup: RuntimeConfig,
        exchange: Exchange,
    ) -> Answer:
        """Answer a request that has been read. Raises ExchangeError where it can be sent to nobody."""
        config = setup.config
        decoded, headers = _decoded(request, body, where), let_in.headers
        if where.endpoint.exchange_id is not None:
            exchange.called(where.endpoint.exchange_id(time(), self._rng))
        if where.endpoint.read_options is not None:
            split, of_headers = where.endpoint.read_options(decoded, request.raw_path), options
            options, body = with_body(split, of_headers)
            decoded = body
            headers = tuple(each for each in headers if each[0].lower() not in split.private_headers)
            if options.metadata != of_headers.metadata:
                exchange.told(options.metadata)
        seen = peek(decoded) if decoded else NOTHING
        asked = options.model or asked_model(where, seen)
        chosen = candidates(where, seen, options, setup, lambda each: self._health.latency(each.id(asked)), self._rng)
        course = AttemptSchedule(chosen, asked, config, options.policy(config.retry), self._health, monotonic())

        def admit(route: Route) -> None:
            if not let_in.proven:
                refuse_pages(request.method, headers, route, config.auth.origins)

        planner = Planner(
            config,
            where,
            seen,
            options,
            method=request.method,
            headers=headers,
            body=body,
            decoded=decoded,
            admit=admit,
        )
        if where.counts is not None:
            first = course.candidates[0].provider
            if where.counts.dialect not in first.dialects:
                return _counted(where.counts, decoded, exchange)
        if decoded and not worth_reading(decoded):
            exchange.span.set_attribute("gateway.request.unread", "too large")
            decoded = None
        attempts = Attempts(request, self._client, self._signer, planner, course, exchange, decoded)
        return await attempts.answer(self._rng)

    def _placed(self, request: web.Request, setup: RuntimeConfig) -> ParsedPath:
        """Read the path. Raises ExchangeError, which reveals nothing to a client that may not ask."""
        try:
            return parse_path(request.method, request.raw_path, request.raw_headers, setup.providers)
        except ExchangeError:
            authorize(request.raw_headers, None, self._token)
            raise


async def _read(request: web.Request, config: Config, exchange: Exchange) -> bytes:
    """Return the request's body in the coding it came in. Raises ConnectionError if its client left."""
    try:
        return await read_body(request, config.limits.body_bytes, config.timeouts.idle, timer=exchange.waiting)
    except web.RequestPayloadError as error:
        raise ConnectionResetError(str(error)) from error


def in_origin_form(request: web.Request) -> web.Request:
    """Return a request for a whole URL as one for what is below its host, as RFC 9112, section 3.2.2, has it."""
    whole = _WHOLE_URL.fullmatch(request.raw_path)
    return request if whole is None else request.clone(rel_url=URL(f"/{whole[1] or ''}{whole[2]}", encoded=True))


def _readable(request: web.Request) -> Mapping[str, str]:
    """Return the headers as text that can be written again: bytes that are no UTF-8 are replaced."""
    raw = request.raw_headers
    if all(value.isascii() for _, value in raw):
        return request.headers
    return CIMultiDict((name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in raw)


def _counted(counts: TokenCount, decoded: bytes | None, exchange: Exchange) -> Answer:
    """Answer with an estimate, for a provider that does not count tokens."""
    body = estimated_count(counts, decoded)
    headers = extra_headers(exchange, streamed=False) | {"x-gateway-usage": "estimated"}
    response = web.Response(body=body, content_type="application/json", headers=headers)
    return Answer(outcome=Outcome(OK, 200), response=response)


def _no_websocket(endpoint: Endpoint, exchange: Exchange) -> Answer:
    """Refuse an upgrade at once. Codex goes on by HTTP without a pause after this status, and after no other."""
    error = ExchangeError(
        Kind.BAD_INPUT,
        "The gateway does not speak WebSocket; send the same as an HTTP request.",
        status=426,
        code="websocket_unsupported",
    )
    # RFC 9110, section 15.5.22: the status comes with the protocol to use.
    upgrade = {"Upgrade": "HTTP/1.1", "Connection": "Upgrade"}
    return error_answer(error, endpoint, exchange, extra_headers(exchange, streamed=False) | upgrade)


def _decoded(request: web.Request, body: bytes, where: ParsedPath) -> bytes | None:
    """Return a JSON body without its content coding, None where it is none, cannot be read or says nothing to us.

    The body of an operation is JSON whatever its type says: many examples send curl's default.
    """
    reads = names_a_model(where)
    if not body or not (reads or where.provider is None):
        return None
    if not reads and "json" not in request.headers.get("Content-Type", "json"):
        return None
    coding = request.headers.get("Content-Encoding")
    return decode(body, coding) if coding else body
