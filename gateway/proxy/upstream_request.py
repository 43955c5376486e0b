"""What is sent upstream for one exchange, to each of its candidates, and within which deadlines. Pure.

The client's bytes go up as they came. Where a rule changes the body (a prefix renames the model, usage is asked for),
only that changes; where the provider speaks another dialect, the body is written anew.
"""

from collections.abc import Callable

from msgspec import Struct, structs

from gateway.config.model import Config
from gateway.dialects.endpoint import StreamFilter
from gateway.dialects.registry import ENDPOINTS, by_shape
from gateway.dialects.wire.edit import Peek, rename_model
from gateway.errors import ExchangeError, Kind
from gateway.providers.route import Route
from gateway.providers.table import Provider
from gateway.proxy.headers import Headers, forwarded, target, translated
from gateway.proxy.routing.request_options import Options
from gateway.proxy.routing.routes import ParsedPath, asked_model, choose
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


class Planner:
    """Plans the attempts of one exchange.

    `decoded`: the body without its content coding, where it is JSON. `admit`: raises ExchangeError for a route that the
    client may not use.
    """

    def __init__(
        self,
        config: Config,
        where: ParsedPath,
        seen: Peek,
        options: Options,
        *,
        method: str,
        headers: Headers,
        body: bytes,
        decoded: bytes | None,
        admit: Callable[[Route], None],
    ) -> None:
        self._config = config
        self._where = where
        self._seen = seen
        self._options = options
        self._method = method
        self._headers = headers
        self._body = body
        self._decoded = decoded
        self._admit = admit
        self.endpoint = where.endpoint
        self._last: tuple[Provider, str | None, Plan] | None = None

    def route(self, provider: Provider, model: str | None) -> Route:
        """Return how a provider is asked. Raises ExchangeError where it cannot be."""
        return choose(self._where, self._seen, provider, model)

    def unplanned(self, provider: Provider, model: str | None) -> Route:
        """Return what can be said of an attempt that could not be planned."""
        where = self._where
        return Route(
            provider=provider,
            target=where.path,
            endpoint=where.endpoint,
            dialect=None if where.dialect is None else by_shape(where.dialect, self._seen),
            model=asked_model(where, self._seen),
            rename=model,
        )

    def plan(self, provider: Provider, model: str | None) -> Plan:
        """Say what is sent to a provider. Raises ExchangeError where it cannot be told what the client asks for."""
        last = self._last
        if last is not None and last[0] is provider and last[1] == model:
            return last[2]
        route = self.route(provider, model)
        self._admit(route)
        timeout = self._options.timeout
        made = plan(
            self._config,
            route,
            self._method,
            self._where.path,
            self._headers,
            self._body,
            self._decoded,
            None if timeout is None else timeout / 1000,
        )
        self._last = provider, model, made
        return made


def plan(
    config: Config,
    route: Route,
    method: str,
    path: str,
    headers: Headers,
    body: bytes,
    decoded: bytes | None,
    timeout: float | None = None,
) -> Plan:
    """Say what is sent. `decoded`: the body without its content coding, where it is JSON. Raises ExchangeError.

    `timeout`: seconds that the request itself allows for an attempt.
    """
    if route.translated_to is not None:
        return _translated(config, route, method, path, headers, decoded, timeout)
    sent, changed = body, False
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
    spoken = ENDPOINTS[route.client_dialect] if route.client_dialect is not None else None
    withhold_usage = None
    asks = config.usage.ask and route.provider.stream_usage and route.stream
    if asks and decoded is not None and spoken is not None and spoken.ask_for_usage is not None:
        asking = spoken.ask_for_usage(sent if changed else decoded)
        if asking is not None:
            sent, changed, withhold_usage = asking, True, spoken.usage_filter
    request = Request(
        method=method.encode(),
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
        deadlines=_deadlines(config, route, timeout),
        withhold_usage=withhold_usage,
    )


def _names_model(route: Route) -> bool:
    """Whether the model is in the path alone, in which it has been renamed already."""
    return route.by_path and not route.endpoint.model_in_body


def _translated(
    config: Config,
    route: Route,
    method: str,
    path: str,
    headers: Headers,
    decoded: bytes | None,
    timeout: float | None,
) -> Plan:
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
    translation = translate(route, decoded, path)
    written = translation.written
    query = f"?{written.query}" if written.query else ""
    shown = translated(headers, route)  # by the client's own target, which may have a key
    provider = route.provider
    to = provider.only_target or provider.paths[translation.provider.name] + written.path + query
    route = structs.replace(route, target=to)
    request = Request(
        method=method.encode(),
        target=route.target.encode("utf-8", "surrogateescape"),
        headers=shown,
        body=written.body,
    )
    return Plan(
        route=route,
        request=request,
        deadlines=_deadlines(config, route, timeout),
        translation=translation,
    )


def _deadlines(config: Config, route: Route, timeout: float | None) -> Deadlines:
    provider = route.provider
    if timeout is not None:
        total, setting = timeout, "the request's option timeout"
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
