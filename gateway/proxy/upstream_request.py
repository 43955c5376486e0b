"""The request to send upstream on a route, and its deadlines. Pure.

The client's bytes are sent as they came. If a rule changes the body (a prefix renames the model, usage is asked for),
only that value changes; if the provider speaks another dialect, the body is written anew.
"""

from collections.abc import Callable

from msgspec import Struct, structs

from gateway.dialects.endpoint import StreamFilter
from gateway.dialects.registry import ENDPOINTS
from gateway.dialects.wire.edit import rename_model, replace_models
from gateway.errors import ExchangeError, Kind
from gateway.providers.http.origin import climbs
from gateway.providers.route import Route
from gateway.proxy.headers import forwarded, target, translated
from gateway.proxy.routing.context import RequestContext
from gateway.proxy.routing.routes import leaves_prefix
from gateway.proxy.translation import Translation, translate
from gateway.proxy.upstream import Deadlines, Request

# A translation reads and writes the whole body, on the loop that relays for everybody; providers take 50 MB at most.
_TRANSLATED_MAX = 64 * 1024 * 1024


class Plan(Struct, frozen=True, kw_only=True):
    """All that one attempt needs. `withhold_usage` makes the filter of a usage that the client did not ask for."""

    route: Route
    request: Request
    deadlines: Deadlines
    withhold_usage: Callable[[], StreamFilter] | None = None
    translation: Translation | None = None


def plan(context: RequestContext, route: Route) -> Plan:
    """Return what is sent on a route. Raises ExchangeError if the provider cannot be sent what the client asks for."""
    made = _relayed(context, route) if route.translated_to is None else _translated(context, route)
    prefix = len([segment for segment in route.provider.base_path.split("/") if segment])
    path = made.request.target.partition(b"?")[0].decode("latin-1")
    by_name = climbs(path) and not climbs(context.path.path)  # the model's
    if by_name or climbs(path, prefix):
        raise leaves_prefix("The provider's path for this model")
    return made


def _relayed(context: RequestContext, route: Route) -> Plan:
    config, headers, decoded = context.runtime.config, context.headers, context.decoded
    sent, changed = context.body, False
    if decoded is not None and route.rename is not None and not _names_model(route):
        renamed = rename_model(decoded, route.rename)
        if renamed is None and not route.by_path:
            raise ExchangeError(
                Kind.BAD_INPUT,
                f"The model in the body could not be renamed to {route.rename!r}: the body must be one JSON "
                'object with one "model".',
                status=400,
            )
        if renamed is not None:
            sent, changed = renamed, True
    resource = route.endpoint.resource if route.by_path else None
    if decoded is not None and route.rename is not None and resource is not None:
        repeated = replace_models(decoded, f"{resource}{route.model}", f"{resource}{route.rename}")
        if repeated is not None:
            sent, changed = repeated, True
    if context.form is not None and route.rename is not None and not _names_model(route):
        sent = context.form.replaced(context.body, route.rename)
    spoken = ENDPOINTS[route.client_dialect] if route.client_dialect is not None else None
    withhold_usage = None
    asks = config.usage.ask and route.provider.stream_usage and route.stream
    if asks and decoded is not None and spoken is not None and spoken.ask_for_usage is not None:
        asking = spoken.ask_for_usage(sent if changed else decoded)
        if asking is not None:
            sent, changed, withhold_usage = asking, True, spoken.usage_filter
    request = Request(
        method=context.method.encode(),
        target=target(headers, route),
        # A response that is changed on its way to the client must come in no coding.
        headers=forwarded(
            headers,
            route,
            decoded=changed,
            identity=withhold_usage is not None or route.endpoint.rewrite is not None,
        ),
        body=sent,
    )
    return Plan(
        route=route,
        request=request,
        deadlines=_deadlines(context, route),
        withhold_usage=withhold_usage,
    )


def _names_model(route: Route) -> bool:
    """Whether the model is in the path alone, in which it has been renamed already."""
    return route.by_path and not route.endpoint.model_in_body


def _translated(context: RequestContext, route: Route) -> Plan:
    decoded = context.decoded
    if decoded is None:
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The body is no JSON, or in a coding that cannot be read, so it cannot be translated for the provider "
            f"{route.provider.name!r}.",
            status=400,
        )
    if len(decoded) > _TRANSLATED_MAX:
        raise ExchangeError(
            Kind.TOO_LARGE,
            f"A body of more than {_TRANSLATED_MAX} bytes is not translated for the provider "
            f"{route.provider.name!r}; send it in a dialect that the provider speaks.",
            code="body_too_large",
        )
    translation = translate(route, decoded, context.path.path, lossy=context.runtime.config.translation.lossy == "drop")
    written = translation.written
    query = f"?{written.query}" if written.query else ""
    headers = translated(context.headers, route)  # by the client's own target, which may have a key
    provider = route.provider
    to = provider.only_target or provider.paths[translation.provider.name] + written.path + query
    route = structs.replace(route, target=to)
    request = Request(
        method=context.method.encode(),
        target=route.target.encode("utf-8", "surrogateescape"),
        headers=headers,
        body=written.body,
    )
    return Plan(
        route=route,
        request=request,
        deadlines=_deadlines(context, route),
        translation=translation,
    )


def _deadlines(context: RequestContext, route: Route) -> Deadlines:
    config, provider = context.runtime.config, route.provider
    if context.options.timeout is not None:
        total, setting = context.options.timeout / 1000, "the request's option timeout"
    elif provider.timeout:
        total, setting = provider.timeout, f"$.providers.{provider.name}.timeout"
    else:
        total, setting = config.default_timeout, "$.default_timeout"
    first_byte = config.timeouts.first_byte
    return Deadlines(
        connect=min(config.timeouts.connect, total),
        first_byte=min(first_byte, total) if first_byte is not None else total,
        idle=config.timeouts.idle,
        total=total,
        total_setting=setting,
    )
