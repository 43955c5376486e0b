"""The one decision on a request: its candidates, and for each the route to it. Pure.

    path, headers, model, options -> candidates (`routing/select`) -> for each a route, or the reason why there is none

A decision reads no clock, no health and no randomness: the order of the candidates is `routing/schedule`'s, and the
bytes for one of them `upstream_request`'s.
"""

from msgspec import Struct, structs

from gateway.config.model import Order
from gateway.config.retry import RetryPolicy
from gateway.dialects.endpoint import TokenCount, bare
from gateway.dialects.registry import by_shape
from gateway.errors import ExchangeError
from gateway.providers.route import Route
from gateway.providers.table import Provider
from gateway.proxy.auth import refuse_pages
from gateway.proxy.headers import refuse_withheld
from gateway.proxy.routing.aliases import Candidate
from gateway.proxy.routing.context import RequestContext
from gateway.proxy.routing.routes import choose
from gateway.proxy.routing.select import select


class Listing(Struct, frozen=True):
    """A request for the models of several providers, in place of a decision on candidates."""

    providers: tuple[Provider, ...]


class Decision(Struct, frozen=True, kw_only=True):
    """The candidates of a request, and the rules by which they are tried.

    Attributes:
        candidates: As configured or requested; each has its route, and a refusal if it cannot be sent the request.
        order: The rule by which they are tried.
        policy: When to retry: the configuration's rules, and the request's own.
        estimates: The token count that is estimated here, because the provider has no such operation.

    """

    candidates: tuple[Candidate, ...]
    order: Order
    policy: RetryPolicy
    estimates: TokenCount | None = None


def decide(context: RequestContext) -> Decision | Listing:
    """Return the candidates of a request, or the providers of a model list. Raises ExchangeError if there is none."""
    if providers := _listed(context):
        return Listing(providers)
    selected = select(context)
    counts, first = context.path.counts, selected.candidates[0].provider
    return Decision(
        candidates=tuple(_routed(each, context) for each in selected.candidates),
        order=selected.order,
        policy=context.options.policy(context.runtime.config.retry),
        estimates=counts if counts is not None and counts.dialect not in first.dialects else None,
    )


def _listed(context: RequestContext) -> tuple[Provider, ...]:
    """Return the providers whose models are listed together: the path's own, and those that were set up.

    None if the request is no bare `GET /models`, or leads to one provider only, whose list is relayed as it is.
    """
    path, runtime = context.path, context.runtime
    bare_path = path.endpoint.write_models is not None and path.provider is None
    if not (context.method == "GET" and bare_path and bare(path.path).rstrip("/") == "/models"):
        return ()
    providers = tuple(
        each
        for each in runtime.providers.values()
        if each.name == path.default_provider or each.key or each.environment_key or each.set_up
    )
    return providers if len(providers) > 1 or runtime.aliases else ()


def _routed(candidate: Candidate, context: RequestContext) -> Candidate:
    """Return a candidate with its route; of one that cannot be sent the request, what can be recorded of it."""
    try:
        route = choose(context.path, context.peeked, candidate.provider, candidate.model)
        if not context.token_valid:
            refuse_pages(context.method, context.headers, route, context.runtime.config.auth.origins)
        refuse_withheld(context.headers, route)
    except ExchangeError as refusal:
        return structs.replace(candidate, route=_unsent(candidate, context), refusal=refusal)
    return structs.replace(candidate, route=route)


def _unsent(candidate: Candidate, context: RequestContext) -> Route:
    path = context.path
    return Route(
        provider=candidate.provider,
        target=path.path,
        endpoint=path.endpoint,
        dialect=None if path.dialect is None else by_shape(path.dialect, context.peeked),
        model=context.named_model,
        rename=candidate.model,
    )
