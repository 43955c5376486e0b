"""Headers and target of an upstream request: the client's, without those that are not for others, and a key. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import unquote

from gateway.dialects.registry import ENDPOINTS, TABLES
from gateway.errors import ExchangeError, Kind
from gateway.providers.audience import SHORTEST, admits, has_of_another, makers, needs_key, of_another
from gateway.providers.catalog import CATALOG
from gateway.providers.entry import KeySent
from gateway.providers.route import Route
from gateway.providers.table import KEY_HEADERS
from gateway.proxy.routing import urls
from gateway.tracing.secrets import SECRET_HEADERS, SECRET_PARAMETERS, is_secret_header

Headers = tuple[tuple[bytes, bytes], ...]

# Headers of one connection, which are not passed on (RFC 9110, section 7.6.1).
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Headers written anew for each request; the expectation has been met by the server side.
_REWRITTEN = frozenset({b"host", b"content-length", b"expect"})

# Headers of the client's body and of the response it accepts, which are not those of a translation.
_OF_THE_BODY = frozenset({b"content-type", b"content-encoding", b"accept", b"accept-encoding"})
# A client's credentials, and headers that belong to its signature: never sent together with a key of ours, or to a
# provider that the client did not name by its path.
_CREDENTIALS = frozenset(name.encode() for name in SECRET_HEADERS) | {b"x-amz-content-sha256", b"x-amz-date"}


# The header of a key, by how the provider expects it. Keys for clouds are bearers too; without one, `signing` signs.
_KEY: dict[KeySent, Callable[[bytes], tuple[bytes, bytes]]] = {
    "x-api-key": lambda key: (b"x-api-key", key),
    "api-key": lambda key: (b"api-key", key),
    "x-goog-api-key": lambda key: (b"x-goog-api-key", key),
} | {bearer: lambda key: (b"authorization", b"Bearer " + key) for bearer in ("bearer", "sigv4", "google")}


def hop_by_hop(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """Return the lower-case names of headers of one connection: the known ones, and those that `Connection` names."""
    names = set(HOP_BY_HOP)
    for name, value in headers:
        if name.lower() == b"connection":
            names.update(token.strip().lower() for token in value.split(b","))
    return names


def forwarded(raw_headers: Headers, route: Route, *, decoded: bool, identity: bool = False) -> Headers:
    """Return the headers of a relayed request: the client's, without those of its connection, with the right key.

    `decoded`: the body is no longer in the content coding that the client sent. `identity`: the response must come
    without one.
    """
    dropped = hop_by_hop(raw_headers) | _REWRITTEN
    if decoded:
        dropped.add(b"content-encoding")
    if identity:
        dropped.add(b"accept-encoding")
    remaining = [(name, value) for name, value in raw_headers if name.lower() not in dropped]
    if identity:
        remaining.append((b"Accept-Encoding", b"identity"))
    return _with_key(remaining, route, in_place=True)


def translated(raw_headers: Headers, route: Route) -> Headers:
    """Return the headers of a translated request: the client's, without those of its dialect, with the right key."""
    dropped = hop_by_hop(raw_headers) | _REWRITTEN | _OF_THE_BODY
    remaining = [
        (name, value)
        for name, value in raw_headers
        if (lowered := name.lower()) not in dropped and not lowered.startswith(TABLES.header_prefixes)
    ]
    remaining += [(b"Content-Type", b"application/json"), (b"Accept-Encoding", b"identity")]
    if route.translated_to is not None:
        remaining += ENDPOINTS[route.translated_to.spoken].headers
    return _with_key(remaining, route, in_place=False)


def _with_key(headers: list[tuple[bytes, bytes]], route: Route, *, in_place: bool) -> Headers:
    """Return headers with the right key. `in_place`: a client's key may stay as it is, in the provider's dialect."""
    provider = route.provider
    key, ours = payer(headers, route)
    dropped = configured = {name.lower().encode("latin-1") for name, _ in provider.headers}
    meant = provider.takes_client_keys and route.addressed
    stays = not ours and in_place and meant
    if stays:
        key = None
    else:
        dropped = configured | _CREDENTIALS
    remaining = [
        (name, value)
        for name, value in headers
        if (lowered := name.lower()) not in dropped
        and not lowered.startswith(TABLES.option_prefixes)
        and not has_of_another(value, provider)
        and (meant or not is_secret_header(lowered.decode("latin-1")))
    ]
    remaining += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in provider.headers]
    if key is not None:
        shown = _KEY[provider.shown(route.upstream_dialect)](key.encode("latin-1"))
        remaining += [shown] if shown[0] not in configured else []
    return tuple(remaining)


def payer(headers: Iterable[tuple[bytes, bytes]], route: Route) -> tuple[str | None, bool]:
    """Return the key to show, and whether it is the gateway's; None and True if a cloud's credentials are shown."""
    # Whose key pays for a request:
    # 1. A configured key, or a configured header that shows one: the configuration's.
    # 2. A key of the client's whose audience the provider is, by the request's path or by its form: the client's.
    # 3. Any key of the client's, at a provider of `pass_client_keys_to` without a key in the environment or credentials
    #    of a cloud: the client's.
    # 4. Else the environment's key, or the cloud's credentials, or none.
    # A provider that takes no keys of clients has no case 2 and 3.
    provider, dialect = route.provider, route.upstream_dialect
    sent, signs = provider.shown(dialect), provider.signs(dialect)
    if provider.key is not None or any(name.lower().encode("latin-1") in KEY_HEADERS for name, _ in provider.headers):
        return provider.key, True
    brought = _brought(headers, route, bearer=sent == "sigv4") if provider.takes_client_keys else None
    if brought is not None:
        return brought, False
    return provider.environment_key, signs or provider.environment_key is not None


def _brought(headers: Iterable[tuple[bytes, bytes]], route: Route, *, bearer: bool) -> str | None:
    """Return the client's key for a provider, without its scheme. `bearer`: only a bearer token counts, as at AWS."""
    provider = route.provider
    others = provider.signs(route.upstream_dialect) or provider.environment_key is not None
    for lowered, value, key in _client_keys(headers, route):
        if not admits(provider, key, addressed=route.addressed, alone=not others):
            continue
        if not bearer or (lowered in {b"authorization", b""} and key != value):
            return key.decode("latin-1")
    return None


def _client_keys(headers: Iterable[tuple[bytes, bytes]], route: Route) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the client's keys: the header of each (b"" for the query), its value, and the key without its scheme.

    A signature is no key: it is valid for the request that the client sent, and for no other.
    """
    as_it_is = route.addressed and route.translated_to is None
    for name, value in headers:
        if (lowered := name.lower()) not in KEY_HEADERS or value.startswith(b"AWS4-"):
            continue
        key = without_scheme(value)
        if key and (b" " not in key or as_it_is):  # another scheme's
            yield lowered, value, key
    for key_in_query in urls.keys_in(route.target.partition("?")[2], route.endpoint.query_keys):
        yield b"", b"", key_in_query.encode("utf-8", "surrogateescape")


def refuse_withheld(headers: Headers, route: Route) -> None:
    """Raise ExchangeError for a request whose key is for others than the provider, and for which we have none."""
    provider = route.provider
    if payer(headers, route) != (None, False) or not needs_key(provider):
        return
    keys = [key for _, _, key in _client_keys(headers, route)]
    # At an address of one's own a server may want none, and SDKs send a word in place of one.
    if not any(provider.as_built_in or len(key) >= SHORTEST for key in keys):
        return
    name = provider.name
    own = sorted({maker for key in keys for maker in makers(key)})
    whose = f"a key of {' or '.join(own)}" if own else "of no known form, and came on another provider's path"
    variable = next(iter(CATALOG[name].key_variables)) if name in CATALOG else "its variable"
    raise ExchangeError(
        Kind.AUTH,
        f"The key of the request is not sent to the provider {name!r}: it is {whose}. Set $.providers.{name}.api_key, "
        f"or {variable} where the gateway runs; or name the provider in $.auth.pass_client_keys_to.",
        code="key_of_another_provider",
    )


def without_scheme(value: bytes) -> bytes:
    """Return a value without the scheme `Bearer`, in any case (RFC 9110, section 11.1)."""
    return (value[7:] if value[:7].lower() == b"bearer " else value).strip()


def target(headers: Headers, route: Route) -> bytes:
    """Return the target to send: a key in its query stays if the client's own is good for the provider."""
    path, mark, query = route.target.partition("?")
    sent, keys = route.target, route.endpoint.query_keys
    if mark and "=" in query:
        _, ours = payer(headers, route)
        if not keys or (not ours and route.provider.takes_client_keys and route.addressed):
            keys = frozenset()
        withheld = not route.addressed and not route.provider.takes_any_key
        others = {
            name
            for name, value in urls.parameters(query)
            if of_another(value, route.provider) or (withheld and unquote(name).lower().endswith(SECRET_PARAMETERS))
        }
        if keys or others:
            sent = path + urls.without_keys(mark + query, keys | others)
    return sent.encode("utf-8", "surrogateescape")


def lower(headers: Headers) -> Mapping[str, str]:
    """Return headers by lower-case name; of several with one name, the first."""
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found
