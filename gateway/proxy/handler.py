"""The path of an exchange: read it, decide on it, answer it, and end it exactly once."""

import asyncio
import logging
import random
import re
from collections.abc import Mapping
from time import monotonic, time
from typing import Any

from aiohttp import web
from msgspec import Struct, structs
from multidict import CIMultiDict
from yarl import URL

from gateway.config.model import Config
from gateway.dialects.endpoint import Endpoint, TokenCount
from gateway.dialects.registry import by_headers
from gateway.dialects.wire.content_coding import decode
from gateway.dialects.wire.edit import Peek, peek
from gateway.dialects.wire.multipart import FormField, find_field
from gateway.errors import ExchangeError, Kind
from gateway.providers.http.client import Client
from gateway.proxy.abandoned import Abandoned
from gateway.proxy.answer import Answer, extra_headers
from gateway.proxy.attempts import Attempts
from gateway.proxy.auth import Authorized, Token, authorize
from gateway.proxy.decide import Listing, decide
from gateway.proxy.error_response import Stray, error_answer, unrecorded
from gateway.proxy.list_models import Lister
from gateway.proxy.request_body import pace_of, read_body
from gateway.proxy.routing.context import NO_BODY, RequestContext, RuntimeConfig
from gateway.proxy.routing.health import Health
from gateway.proxy.routing.request_options import Options, from_headers, option_headers, with_body
from gateway.proxy.routing.routes import ParsedPath, names_a_model, parse_path
from gateway.proxy.routing.schedule import AttemptSchedule
from gateway.proxy.routing.unknown_paths import is_stray, settle
from gateway.proxy.translation import estimated_count
from gateway.proxy.upstream import Signer
from gateway.tracing.exchange import Exchange
from gateway.tracing.outcome import OK, Outcome
from gateway.tracing.tracer import JournalTracer

log = logging.getLogger("gateway.proxy")

# Codex goes on by HTTP without a pause after this status, and after no other.
_NO_WEBSOCKET = ExchangeError(
    Kind.BAD_INPUT,
    "The gateway does not speak WebSocket; send the same as an HTTP request.",
    status=426,
    code="websocket_unsupported",
)
# RFC 9110, section 15.5.22: the status comes with the protocol to use.
_UPGRADE = {"Upgrade": "HTTP/1.1", "Connection": "Upgrade"}

_WHOLE_URL = re.compile(r"https?://[^/?#]*(?:/([^?]*))?(.*)", re.IGNORECASE | re.DOTALL)


class _Admitted(Struct, frozen=True):
    """A request that is an exchange: its path, and its head without our token, or the reason to refuse it."""

    endpoint: Endpoint
    head: tuple[ParsedPath, Authorized] | ExchangeError


class Proxy:
    """One worker's request path. `stopping`: the worker drains, so that no client left a cancelled exchange."""

    def __init__(
        self,
        *,
        runtime: RuntimeConfig,
        client: Client,
        signer: Signer,
        tracer: JournalTracer,
        rng: random.Random,
        token: Token | None,
    ) -> None:
        self._runtime = runtime
        self._health = Health()
        self._client = client
        self._signer = signer
        self._tracer = tracer
        self._rng = rng
        self._token = token
        self._handling: set[asyncio.Task[Any]] = set()
        self.abandoned = Abandoned()
        self.stopping = False

    def use(self, runtime: RuntimeConfig, token: Token | None, signer: Signer | None = None) -> None:
        """Apply another configuration; exchanges in flight keep theirs. `signer`: None if unchanged."""
        self._runtime = runtime
        self._token = token
        if signer is not None:
            self._signer = signer

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
        runtime, options = self._runtime, option_headers(request.raw_headers)
        admitted = self._admit(request, options, runtime)
        if isinstance(admitted, Stray):
            return unrecorded(request, admitted)
        exchange = Exchange(
            self._tracer,
            runtime.capture_policy,
            method=request.method,
            target=request.raw_path,
            headers=_readable(request),
            options=options,
            stopping=lambda: self.stopping,
        )
        try:
            with exchange:
                answer = await self._answered(request, admitted, options, runtime, exchange)
                exchange.outcome = answer.outcome
            return await answer.finish(request)
        except ConnectionError:
            raise web.HTTPBadRequest(text="The request's body broke off.") from None

    def _admit(
        self, request: web.Request, options: Mapping[str, tuple[str, str]], runtime: RuntimeConfig
    ) -> "_Admitted | Stray":
        """Read the path and the token of a request. A refusal reveals nothing to a client that may not ask."""
        try:
            path = parse_path(request.method, request.raw_path, request.raw_headers, runtime.providers)
        except ExchangeError as error:
            return _Admitted(by_headers(request.raw_headers), self._refusal(request) or error)
        stray = is_stray(path)
        try:
            authorized = authorize(request.raw_headers, path, self._token)
            path = structs.replace(path, query=authorized.query)
            if stray:
                path = settle(path, request.method, authorized.headers, options, runtime.providers)
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return Stray(path.endpoint, _NO_WEBSOCKET, _UPGRADE)
        except ExchangeError as error:
            return Stray(path.endpoint, error) if stray else _Admitted(path.endpoint, error)
        return _Admitted(path.endpoint, (path, authorized))

    def _refusal(self, request: web.Request) -> ExchangeError | None:
        """Return the refusal of a client without our token, whatever its path."""
        try:
            authorize(request.raw_headers, None, self._token)
        except ExchangeError as error:
            return error
        return None

    async def _answered(
        self,
        request: web.Request,
        admitted: "_Admitted",
        options: Mapping[str, tuple[str, str]],
        runtime: RuntimeConfig,
        exchange: Exchange,
    ) -> Answer:
        """Answer a request up to the response's last bytes; an error of ours is an answer too."""
        endpoint, head = admitted.endpoint, admitted.head
        try:
            if isinstance(head, ExchangeError):
                raise head
            path, authorized = head
            context = await self._context(request, path, authorized, from_headers(options), runtime, exchange)
            return await self._answer(request, context, exchange)
        except ExchangeError as error:
            return error_answer(error, endpoint, exchange)
        except ConnectionError:
            raise
        except Exception:
            if request.writer.output_size:  # too late for an error response
                raise
            log.exception("an exchange failed in the gateway")
            failure = ExchangeError(Kind.GENERIC, "The gateway itself failed; its log says how.", code="gateway_failed")
            return error_answer(failure, endpoint, exchange)

    async def _context(
        self,
        request: web.Request,
        path: ParsedPath,
        authorized: Authorized,
        options: Options,
        runtime: RuntimeConfig,
        exchange: Exchange,
    ) -> RequestContext:
        """Read the body and make the context of an authorized request. Raises ExchangeError, ConnectionError."""
        body = await _read(request, runtime.config, exchange)
        form = _form(request, body, path)
        decoded = _decoded(request, body, path) if form is None else None
        headers, endpoint = authorized.headers, path.endpoint
        if endpoint.exchange_id is not None:
            exchange.set_chat_id(endpoint.exchange_id(time(), self._rng))
        exchange.add_keys(options.keys)
        if endpoint.read_options is not None:
            in_body, in_headers = endpoint.read_options(decoded, request.raw_path), options
            options, body = with_body(in_body, in_headers)
            decoded = body
            headers = tuple(each for each in headers if each[0].lower() not in in_body.private_headers)
            exchange.add_keys(options.keys)
            if options.metadata != in_headers.metadata:
                exchange.add_metadata(options.metadata)
        return RequestContext(
            method=request.method,
            path=path,
            headers=headers,
            body=body,
            decoded=decoded,
            form=form,
            peeked=peek(decoded) if decoded else NO_BODY if form is None else Peek(model=form.value),
            options=options,
            runtime=runtime,
            token_valid=authorized.token_valid,
        )

    async def _answer(self, request: web.Request, context: RequestContext, exchange: Exchange) -> Answer:
        """Answer a request by the providers. Raises ExchangeError if it can be sent to none."""
        decision = decide(context)
        if isinstance(decision, Listing):
            return await Lister(self._client, self._signer).answer(context, decision.providers, exchange)
        if decision.estimates is not None:
            return _counted(decision.estimates, context.decoded, exchange)
        health, config, model = self._health, context.runtime.config, context.model
        schedule = AttemptSchedule(
            decision.candidates,
            model,
            config,
            decision.policy,
            health,
            monotonic(),
            order=decision.order,
            rng=self._rng,
        )
        attempts = Attempts(request, context, schedule, exchange, self._client, self._signer)
        reads_on, seconds = context.path.endpoint.reads_on, config.usage.drain_seconds
        if not reads_on and not seconds:
            return await attempts.answer(self._rng)
        return await self.abandoned.answer(attempts.answer(self._rng), exchange, None if reads_on else seconds)


async def _read(request: web.Request, config: Config, exchange: Exchange) -> bytes:
    """Return the request's body in the coding it came in. Raises ConnectionError if its client left."""
    try:
        return await read_body(request, config.limits.body_bytes, pace_of(config), timer=exchange.waiting)
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


def _form(request: web.Request, body: bytes, path: ParsedPath) -> FormField | None:
    """Return the field that names the model in a form with files; None for any other body, and below a mere mount."""
    if not body or not (names_a_model(path) or path.provider is None):
        return None
    return find_field(body, request.headers.get("Content-Type", ""), "model")


def _decoded(request: web.Request, body: bytes, path: ParsedPath) -> bytes | None:
    """Return a JSON body without its content coding, None if it is none, cannot be read or is only relayed.

    The body of an operation is JSON whatever its Content-Type: many examples send curl's default.
    """
    reads = names_a_model(path)
    if not body or not (reads or path.provider is None):
        return None
    if not reads and "json" not in request.headers.get("Content-Type", "json"):
        return None
    coding = request.headers.get("Content-Encoding")
    return decode(body, coding) if coding else body
