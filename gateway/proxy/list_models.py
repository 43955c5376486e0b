"""`GET /v1/models` with several providers: the models of all, each under the names that lead to it.

With one provider only the request is relayed to it like any other.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import perf_counter, time

from aiohttp import web
from msgspec import structs

from gateway.dialects.registry import DIALECTS, ENDPOINTS
from gateway.dialects.shared import model_list
from gateway.errors import ExchangeError, Kind
from gateway.providers.demo.server import MODELS as DEMO_MODELS
from gateway.providers.http.client import Client
from gateway.providers.route import Route
from gateway.providers.table import Provider
from gateway.proxy.answer import Answer, extra_headers
from gateway.proxy.auth import refuse_pages
from gateway.proxy.headers import Headers, forwarded, lower
from gateway.proxy.routing.context import RequestContext
from gateway.proxy.routing.retry import STALE
from gateway.proxy.routing.routes import ParsedPath, found
from gateway.proxy.upstream import STALE_CONNECTION, Body, Deadlines, Request, Signer, open_response
from gateway.tracing.attempt import Attempt
from gateway.tracing.exchange import Exchange
from gateway.tracing.outcome import OK, Outcome
from gateway.tracing.secrets import provider_secrets

_SECONDS = 5.0
_LARGEST = 8 * 1024 * 1024
# A client's cached list is the gateway's, so its validators mean nothing to a provider.
_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since"})


def routes(providers: Iterable[Provider], parsed: ParsedPath) -> list[Route]:
    """Return the route to each provider's list of models; none for a provider without a list."""
    found_routes = []
    for provider in providers:
        listing = ((path, ENDPOINTS[each].models_path) for each, path in provider.paths.items())
        target = next((path + below for path, below in listing if below is not None), None)
        if target is not None:
            found_routes.append(
                Route(
                    provider=provider,
                    target=target,
                    endpoint=parsed.endpoint,
                    dialect=None,
                    addressed=provider.name == parsed.default_provider,
                )
            )
    return found_routes


def names(
    provider: Provider, listed: list[model_list.Model], parsed: ParsedPath, providers: Mapping[str, Provider]
) -> Iterator[model_list.Listed]:
    """Yield the names that lead to a provider's models: without and with its prefix, unless they are another's."""
    generating = structs.replace(parsed, dialect=DIALECTS[parsed.endpoint.dialect])
    for model in listed:
        for name in (model.name, *(f"{prefix}{model.name}" for prefix in provider.prefixes[:1])):
            leads, rename = found(name, generating, providers)
            if leads is provider and (rename or name) == model.name:
                yield model_list.Listed(name, provider.name, model.entry)


class Lister:
    """Requests the lists of models that answer one exchange, at once."""

    def __init__(self, client: Client, signer: Signer) -> None:
        self._client = client
        self._signer = signer

    async def answer(self, context: RequestContext, providers: Sequence[Provider], exchange: Exchange) -> Answer:
        """Request all lists at once, and answer with those that came in time.

        Providers without a list are named in `x-gateway-unlisted`. Raises ExchangeError for another site's page.
        """
        path, runtime, headers = context.path, context.runtime, context.headers
        exchange.secrets.add(secret for each in providers for secret in provider_secrets(each))
        targets = routes(providers, path)
        if not context.token_valid:
            for route in targets:
                refuse_pages(context.method, headers, route, runtime.config.auth.origins)
        waited, before = exchange.waited, perf_counter()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._of(route, headers, exchange, runtime.config.default_timeout))
                for route in targets
            ]
        exchange.waited = waited + perf_counter() - before  # once, though for all of them
        lists = {route.provider.name: task.result() for route, task in zip(targets, tasks, strict=True)}
        models = [each for p in providers for each in names(p, lists.get(p.name) or [], path, runtime.providers)]
        models += [model_list.Listed(f"demo/{name}", "demo") for name in DEMO_MODELS]
        models = [model_list.Listed(name, "gateway") for name in runtime.aliases] + [
            each for each in models if each.name not in runtime.aliases
        ]
        unlisted = [each.name for each in providers if lists.get(each.name) is None]
        write = path.endpoint.write_models or model_list.write_models
        body = write(models, time())
        extra = extra_headers(exchange, streamed=False)
        if unlisted:
            extra["x-gateway-unlisted"] = ", ".join(unlisted)
        response = web.Response(body=body, content_type="application/json", headers=extra)
        return Answer(outcome=Outcome(OK, 200), response=response)

    async def _of(
        self, route: Route, headers: Headers, exchange: Exchange, longest: float
    ) -> list[model_list.Model] | None:
        """Return a provider's models; None if they did not come in time."""
        for reason in ("listing", STALE):
            with exchange.attempt(reason, 0.0, route) as attempt:
                try:
                    return await self._list(route, headers, attempt, longest)
                except ExchangeError as error:
                    attempt.outcome = Outcome(error.kind.value, None, error.message)
                    if error.code != STALE_CONNECTION:
                        return None
        return None

    async def _list(
        self, route: Route, headers: Headers, attempt: Attempt, longest: float
    ) -> list[model_list.Model] | None:
        seconds = min(_SECONDS, longest)
        deadlines = Deadlines(
            connect=seconds, first_byte=seconds, idle=seconds, total=seconds, total_setting="$.default_timeout"
        )
        response, waits, before = None, _Waits(), perf_counter()
        try:
            async with asyncio.timeout(seconds):
                response = await open_response(self._client, self._signer, route, _request(route, headers), deadlines)
                waits.waited = perf_counter() - before
                content_type = lower(response.headers).get("content-type", "")
                reader = attempt.head(response.status, content_type=content_type, coding="")
                body = await Body(response, route.provider, deadlines, waits).whole(_LARGEST)
        except TimeoutError:
            message = f"The provider {route.provider.name!r} did not list its models within {seconds:g} s."
            raise ExchangeError(Kind.TIMEOUT, message) from None
        finally:
            attempt.apart = waits.waited
            if response is not None:
                response.abort()
        reader.feed(body or b"")  # for the error's message
        reader.finish()
        outcome = attempt.conclude()
        return model_list.read_models(body) if outcome.kind == OK and body is not None else None


def _request(route: Route, headers: Headers) -> Request:
    """Return the request for a provider's list; the client's headers are for the provider that it addressed."""
    own = [each for each in headers if each[0].lower() not in _CONDITIONS] if route.addressed else []
    sent = {name.lower() for name, _ in own}
    for dialect in route.provider.dialects[:1]:
        own += [each for each in ENDPOINTS[dialect].headers if each[0] not in sent]
    return Request(
        method=b"GET",
        target=route.target.encode(),
        headers=forwarded(tuple(own), route, decoded=False, identity=True),
        body=b"",
    )


class _Waits:
    waited = 0.0
