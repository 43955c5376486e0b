"""`GET /v1/models` where several providers can be reached: all their models, each under the names it can be asked by.

With one provider only the request is relayed to it like any other.
"""

import asyncio
from collections.abc import Iterable, Mapping
from time import time

from aiohttp import web

from gateway.config import Config
from gateway.dialects import models
from gateway.errors import ExchangeError
from gateway.providers.demo import MODELS as DEMO_MODELS
from gateway.providers.table import Provider
from gateway.recording import OK, Exchange
from gateway.relay import extra_headers
from gateway.routing import Family, Place, Route
from gateway.upstream import Body, Deadlines, Headers, Request, Signer, forwarded, lower, open_response, secrets_in
from gateway.wire import Client

_SECONDS = 5.0
_PATHS = frozenset({"/v1/models", "/models"})


def asked_for(method: str, where: Place) -> bool:
    """Whether a request asks for the models of all providers: it has no mount."""
    return method == "GET" and where.provider is None and where.path.rstrip("/") in _PATHS


def listed(providers: Mapping[str, Provider], usual: str) -> list[Provider]:
    """Return the providers whose models are listed: the path's own, and those that were set up."""
    return [
        each for each in providers.values() if each.name == usual or each.key or each.environment_key or each.set_up
    ]


def names(provider: Provider, found: Iterable[str], *, usual: bool) -> list[str]:
    """Return the names that a provider's models can be asked by: with its prefix, and without where that leads here."""
    told = []
    for model in found:
        if usual or provider.claims(model):
            told.append(model)
        told += [f"{prefix}{model}" for prefix in provider.prefixes[:1]]
    return told


async def answer(
    request: web.Request,
    client: Client,
    signer: Signer,
    config: Config,
    asked: list[Provider],
    headers: Headers,
    family: Family,
    exchange: Exchange,
) -> web.StreamResponse:
    """Ask all at once, and answer with what came in time; who did not answer is named in `x-gateway-unlisted`."""
    exchange.keys.ours = tuple(key for each in asked for key in secrets_in(each))
    tasks = []
    async with asyncio.TaskGroup() as group:
        for provider in asked:
            tasks.append(group.create_task(_of(client, signer, config, provider, headers, family, exchange)))  # noqa: PERF401
    told: list[tuple[str, str]] = []
    unlisted = []
    for provider, task in zip(asked, tasks, strict=True):
        found = task.result()
        if found is None:
            unlisted.append(provider.name)
        told += [(name, provider.name) for name in names(provider, found or (), usual=provider.name == family)]
    told += [(f"demo/{name}", "demo") for name in DEMO_MODELS]
    body = models.write_models(told, anthropic=family == "anthropic", now=time())
    extra = extra_headers(exchange, streamed=False)
    if unlisted:
        extra["x-gateway-unlisted"] = ", ".join(unlisted)
    exchange.end(OK, 200)
    response = web.Response(body=body, content_type="application/json", headers=extra)
    await response.prepare(request)
    await response.write_eof()
    return response


async def _of(
    client: Client,
    signer: Signer,
    config: Config,
    provider: Provider,
    headers: Headers,
    family: Family,
    exchange: Exchange,
) -> list[str] | None:
    """Return a provider's models; None where it has no list, or did not give it in time."""
    dialect = next((each for each in provider.dialects if each in models.PATHS), None)
    if dialect is None:
        return None
    route = Route(
        provider=provider,
        target=provider.paths[dialect] + models.PATHS[dialect],
        family=family,
        dialect=None,
        addressed=provider.name == family,
    )
    attempt = exchange.attempt("listing", 0.0, route)
    seconds = min(_SECONDS, config.default_timeout)
    deadlines = Deadlines(
        connect=seconds, first_byte=seconds, idle=seconds, total=seconds, total_setting="$.default_timeout"
    )
    own = headers if route.addressed else ()
    if dialect == "anthropic-messages" and not any(name.lower() == b"anthropic-version" for name, _ in own):
        own = (*own, (b"anthropic-version", b"2023-06-01"))
    sent = Request(
        method=b"GET",
        target=route.target.encode(),
        headers=forwarded(own, route, decoded=False, identity=True),
        body=b"",
    )
    try:
        async with asyncio.timeout(seconds):
            response = await open_response(client, signer, route, sent, deadlines)
            attempt.head(response.status, content_type=lower(response.headers).get("content-type", ""), coding="")
            body = await Body(response, provider, deadlines, exchange).whole(8 * 1024 * 1024)
    except (ExchangeError, TimeoutError) as error:
        attempt.end(error.kind if isinstance(error, ExchangeError) else "timeout", str(error))
        return None
    outcome = attempt.end(None)
    return models.read_models(body) if outcome == OK and body is not None else None
