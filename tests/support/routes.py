"""Requests without options: their context, and the route to their first candidate."""

from collections.abc import Mapping

from gateway.config.model import Config
from gateway.dialects.wire.edit import Peek, peek
from gateway.providers.route import Route
from gateway.providers.table import Provider
from gateway.proxy.decide import decide
from gateway.proxy.routing.context import RequestContext, RuntimeConfig
from gateway.proxy.routing.routes import ParsedPath, parse_path
from gateway.proxy.routing.unknown_paths import is_stray, settle

ANTHROPICS = ((b"Anthropic-Version", b"2023-06-01"),)
"""The header by which a client of Anthropic's is known."""


def context(
    path: ParsedPath,
    providers: Mapping[str, Provider],
    peeked: Peek | None = None,
    *,
    body: bytes = b"",
    decoded: bytes | None = None,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    config: Config | None = None,
) -> RequestContext:
    """Return the context of a POST. `peeked`: of `decoded`, if it is not given."""
    runtime = RuntimeConfig(config=config or Config(), providers=providers, aliases={}, keys={})
    return RequestContext(
        method="POST",
        path=path,
        headers=headers,
        body=body,
        decoded=decoded,
        peeked=peek(decoded or b"") if peeked is None else peeked,
        runtime=runtime,
        token_valid=True,
    )


def route(of: RequestContext) -> Route:
    """Return the route to the first candidate. Raises ExchangeError if it cannot be sent the request."""
    (candidate, *_) = decide(of).candidates
    if candidate.refusal is not None:
        raise candidate.refusal
    assert candidate.route is not None
    return candidate.route


def parsed(
    method: str, target: str, headers: tuple[tuple[bytes, bytes], ...], providers: Mapping[str, Provider]
) -> ParsedPath:
    """Return a path as the worker reads it. Raises ExchangeError for one that may be sent to no provider."""
    path = parse_path(method, target, headers, providers)
    return settle(path, method, headers, (), providers) if is_stray(path) else path


def first(where: ParsedPath, seen: Peek, providers: Mapping[str, Provider]) -> Route:
    """Return the route of a request of which only the path and the model are known."""
    return route(context(where, providers, seen))
