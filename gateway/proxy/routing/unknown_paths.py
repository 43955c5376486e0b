"""Bare paths that no API is known to have: nothing is sent to a provider by guess. Pure.

Such a request goes on only if its client brings a key in the form of one maker (`sk-ant-...`, or `x-api-key` beside
`anthropic-version`): to that maker, with that key, never with one of the gateway's. So an SDK's newest operation works.
Telemetry goes to no provider, whatever comes with it: an application's OTLP exporter may be directed at the gateway,
and its logs have prompts in clear. A provider's mount takes any other path.
"""

import posixpath
import re
from collections.abc import Container, Iterator, Mapping
from urllib.parse import unquote

from msgspec import structs

from gateway.dialects.endpoint import Endpoint
from gateway.dialects.registry import ENDPOINTS
from gateway.errors import ExchangeError, Kind
from gateway.providers import audience
from gateway.providers.table import KEY_HEADERS, Provider
from gateway.proxy.headers import Headers, without_scheme
from gateway.proxy.routing import urls
from gateway.proxy.routing.routes import ParsedPath

# OpenTelemetry, "OTLP Specification": the paths of OTLP/HTTP, below whatever base URL; the services of OTLP/gRPC.
_TELEMETRY = re.compile(
    r"(?:^/|/v1)/*(?:traces|logs|metrics|profiles)(?:[;\s%].*)?$|(?:^|/)v1development(?:/|$)|^/+opentelemetry\.proto\.",
    re.IGNORECASE,
)


def is_telemetry(path: str) -> bool:
    """Whether a path is one of OTLP's, in any spelling.

    >>> is_telemetry("/v1/logs/"), is_telemetry("/v1/v1/%6Cogs"), is_telemetry("/v1development/profiles")
    (True, True, True)
    >>> is_telemetry("/v1/fine_tuning/logs"), is_telemetry("/v1/models/logs")
    (False, False)
    """
    return _TELEMETRY.search(posixpath.normpath(unquote(path, "latin-1"))) is not None


def is_stray(parsed: ParsedPath) -> bool:
    """Whether no API is known to have a path, or it is telemetry's."""
    return not parsed.known or is_telemetry(parsed.path)


def settle(
    parsed: ParsedPath, method: str, headers: Headers, options: Container[str], providers: Mapping[str, Provider]
) -> ParsedPath:
    """Return a stray path as one of the maker's whose key the client brings. Raises ExchangeError if it brings none.

    `headers`: the client's, without our token. A client that names a provider by its `options` guesses nothing either.
    """
    telemetry = is_telemetry(parsed.path)
    if not telemetry and ("provider" in options or "models" in options):
        return structs.replace(parsed, known=True)
    maker = None if telemetry else _maker(parsed, headers, providers)
    if maker is None:
        raise ExchangeError(
            Kind.NOT_FOUND, _unknown(parsed, method, providers, telemetry=telemetry), code="unknown_path"
        )
    return structs.replace(
        parsed,
        endpoint=maker,
        default_provider=maker.provider,
        dialect=None,
        named=None,
        prefix=None,
        counts=None,
    )


def _maker(parsed: ParsedPath, headers: Headers, providers: Mapping[str, Provider]) -> Endpoint | None:
    """Return the API to whose maker the client's key belongs, None if that is unknown, or the path another API's."""
    for each in ENDPOINTS.values():
        provider = providers.get(each.provider)
        if provider is None or not (each.below_v1 or each.version is not None):
            continue
        versions = [own for own in ENDPOINTS.values() if own.version is not None and own.version.match(parsed.path)]
        if versions and each not in versions:
            continue
        if any(_is_of(each, provider, name, key, headers) for name, key in _keys(parsed, headers)):
            return each
    return None


def _keys(parsed: ParsedPath, headers: Headers) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys that a client brings: the header of each in lower case, or nothing for the query's."""
    for name, value in headers:
        if name.lower() in KEY_HEADERS and (key := without_scheme(value)):
            yield name.lower(), key
    for each in ENDPOINTS.values():
        yield from ((b"", key.encode("utf-8", "replace")) for key in urls.keys_in(parsed.query, each.query_keys))


def _is_of(endpoint: Endpoint, provider: Provider, header: bytes, key: bytes, headers: Headers) -> bool:
    """Whether a key has the form of an API's maker, or came in the headers that this API alone has."""
    if audience.of_another(key, provider):
        return False
    own = endpoint.key_header.encode()
    marks = {name for name, _ in endpoint.headers}
    sent = {name.lower() for name, _ in headers}
    if header == own and marks <= sent:
        return True
    others = {name for each in ENDPOINTS.values() if each.provider != endpoint.provider for name, _ in each.headers}
    return audience.is_of(key, endpoint.provider) and (bool(audience.makers(key)) or not others & sent)


def _unknown(parsed: ParsedPath, method: str, providers: Mapping[str, Provider], *, telemetry: bool) -> str:
    """Return the text of the error, which names the paths that there are."""
    if telemetry:
        return (
            f"The gateway has no route for {method} {parsed.path}. Telemetry is sent to no provider; post OTLP "
            "over HTTP to /v1/traces, /v1/logs or /v1/metrics."
        )
    tails = sorted({"/".join(tail) for each in ENDPOINTS.values() if each.below_v1 for tail in each.operations})
    mounts = ", ".join(f"/{name}/" for name in providers)
    return (
        f"The gateway has no route for {method} {parsed.path}, and sends nothing to a provider by guess. "
        f"Use {', '.join(f'/v1/{tail}' for tail in tails)} or another path of a maker's API; below a provider's mount "
        f"({mounts}) any path goes through, as in /openai{parsed.path}. The gateway's own pages are below /-/."
    )
