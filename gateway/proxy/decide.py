"""The one decision on a request: its candidates, and for each the route to it. Pure.

    path, headers, model, options -> candidates (`routing/select`) -> for each a route, or the reason why there is none

A decision reads no clock, no health and no randomness: the order of the candidates is `routing/schedule`'s, and the
bytes for one of them `upstream_request`'s.
"""

from msgspec import Struct, structs

from gateway.config.model import Order
from gateway.config.retry import RetryPolicy
from gateway.dialects.endpoint import TokenCount
from gateway.dialects.registry import by_shape
from gateway.errors import ExchangeError
from gateway.providers.route import Route
from gateway.proxy.auth import refuse_pages
from gateway.proxy.routing.aliases import Candidate
from gateway.proxy.routing.context import RequestContext
from gateway.proxy.routing.routes import choose
from gateway.proxy.routing.select import select


class Decision(Struct, frozen=True, kw_only=True):
    """The answer to where a request goes.

    Attributes:
        candidates: As configured or asked for; each has its route, and a refusal if it cannot be sent the request.
        order: The rule by which they are tried.
        policy: When to retry: the configuration's rules, and the request's own.
        estimates: The token count that is estimated here, because the provider has no such operation.

    """

    candidates: tuple[Candidate, ...]
    order: Order
    policy: RetryPolicy
    estimates: TokenCount | None = None


def decide(context: RequestContext) -> Decision:
    """Decide where a request goes. Raises ExchangeError if there is no candidate for it."""
    selected = select(context)
    counts, first = context.path.counts, selected.candidates[0].provider
    return Decision(
        candidates=tuple(_routed(each, context) for each in selected.candidates),
        order=selected.order,
        policy=context.options.policy(context.runtime.config.retry),
        estimates=counts if counts is not None and counts.dialect not in first.dialects else None,
    )


def _routed(candidate: Candidate, context: RequestContext) -> Candidate:
    """Return a candidate with its route; of one that cannot be sent the request, what can be recorded of it."""
    try:
        route = choose(context.path, context.peeked, candidate.provider, candidate.model)
        if not context.token_valid:
            refuse_pages(context.method, context.headers, route, context.runtime.config.auth.origins)
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
