"""What is sent upstream beside the body: the client's headers less what is not for others, and the right key. Pure."""

from collections.abc import Callable, Iterable, Mapping

from gateway.dialects.registry import ENDPOINTS, TABLES
from gateway.providers.entry import KeySent
from gateway.providers.route import Route
from gateway.providers.table import KEY_HEADERS
from gateway.proxy.routing import urls
from gateway.tracing.secrets import SECRET_HEADERS

Headers = tuple[tuple[bytes, bytes], ...]

# RFC 9110, section 7.6.1: what speaks of one connection, and is not passed on.
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
# Written anew for each request: the body's framing, the host, and what the server side has answered already.
_REWRITTEN = frozenset({b"host", b"content-length", b"expect"})

# What says how the client wrote its body, and how it wants the answer: nothing of a body that we write.
_OF_THE_BODY = frozenset({b"content-type", b"content-encoding", b"accept", b"accept-encoding"})
# A client's credentials, and headers that belong to its signature: never sent together with a key of ours, or to a
# provider that the client did not name by its path.
_CREDENTIALS = frozenset(name.encode() for name in SECRET_HEADERS) | {b"x-amz-content-sha256", b"x-amz-date"}

# How a key is shown. A Bedrock key and a Google token are bearers too; without one, `signing` has the last word.
_KEY: dict[KeySent, Callable[[bytes], tuple[bytes, bytes]]] = {
    "x-api-key": lambda key: (b"x-api-key", key),
    "api-key": lambda key: (b"api-key", key),
    "x-goog-api-key": lambda key: (b"x-goog-api-key", key),
} | {bearer: lambda key: (b"authorization", b"Bearer " + key) for bearer in ("bearer", "sigv4", "google")}


def hop_by_hop(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """Return the lower-case names of what is not passed on: the known ones, and those that `Connection` names."""
    names = set(HOP_BY_HOP)
    for name, value in headers:
        if name.lower() == b"connection":
            names.update(token.strip().lower() for token in value.split(b","))
    return names


def forwarded(raw_headers: Headers, route: Route, *, decoded: bool, identity: bool = False) -> Headers:
    """Return the headers to send: the client's own, less what speaks of its connection and of us, with the right key.

    `decoded`: the body had to be changed and is no longer in the coding the client sent it in. `identity`: the response
    must come in no coding.
    """
    dropped = hop_by_hop(raw_headers) | _REWRITTEN
    if decoded:
        dropped.add(b"content-encoding")
    if identity:
        dropped.add(b"accept-encoding")
    kept = [(name, value) for name, value in raw_headers if name.lower() not in dropped]
    if identity:
        kept.append((b"Accept-Encoding", b"identity"))
    return _with_key(kept, route, in_place=True)


def translated(raw_headers: Headers, route: Route) -> Headers:
    """Return the headers of a request that was written anew: less all that speaks of the client's own dialect."""
    dropped = hop_by_hop(raw_headers) | _REWRITTEN | _OF_THE_BODY
    kept = [
        (name, value)
        for name, value in raw_headers
        if (lowered := name.lower()) not in dropped and not lowered.startswith(TABLES.header_prefixes)
    ]
    kept += [(b"Content-Type", b"application/json"), (b"Accept-Encoding", b"identity")]
    if route.translated_to is not None:
        kept += ENDPOINTS[route.translated_to.spoken].headers
    return _with_key(kept, route, in_place=False)


def _with_key(headers: list[tuple[bytes, bytes]], route: Route, *, in_place: bool) -> Headers:
    """Put the right key into headers. `in_place`: a client's key may stay where it is, in the provider's dialect."""
    provider = route.provider
    key, ours = payer(headers, route)
    dropped = configured = {name.lower().encode("latin-1") for name, _ in provider.headers}
    if ours or not provider.takes_client_keys or not (in_place and route.addressed):
        dropped = configured | _CREDENTIALS
    else:
        key = None
    kept = [
        (name, value)
        for name, value in headers
        if (lowered := name.lower()) not in dropped and not lowered.startswith(TABLES.option_prefixes)
    ]
    kept += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in provider.headers]
    if key is not None:
        shown = _KEY[provider.shown(route.upstream_dialect)](key.encode("latin-1"))
        kept += [shown] if shown[0] not in configured else []
    return tuple(kept)


def payer(headers: Iterable[tuple[bytes, bytes]], route: Route) -> tuple[str | None, bool]:
    """Return the key to show, and whether it is ours: the configured one; else the client's; else the environment's.

    A client that reached the provider by a model's name has most likely brought another one's key: the environment's
    goes before it then. None, and ours: a cloud's credentials are shown instead.
    """
    provider = route.provider
    shown, signs = provider.shown(route.upstream_dialect), provider.signs(route.upstream_dialect)
    brought = _brought(headers, route, bearer=shown == "sigv4") if provider.takes_client_keys else None
    if provider.key is not None or any(name.lower().encode("latin-1") in KEY_HEADERS for name, _ in provider.headers):
        return provider.key, True
    if brought is not None and (route.addressed or not (signs or provider.environment_key)):
        return brought, False
    return provider.environment_key, signs or provider.environment_key is not None


def _brought(headers: Iterable[tuple[bytes, bytes]], route: Route, *, bearer: bool) -> str | None:
    """Return the client's own key, without what stands before it. `bearer`: only as AWS takes one.

    A signature is none: it is good for the request that the client sent to us, and for no other.
    """
    as_it_is = route.addressed and route.translated_to is None
    for name, value in headers:
        if (lowered := name.lower()) not in KEY_HEADERS or value.startswith(b"AWS4-"):
            continue
        key = without_scheme(value)
        if not key or (b" " in key and not as_it_is):  # another scheme's
            continue
        if not bearer or (lowered == b"authorization" and key != value):
            return key.decode("latin-1")
    return next(iter(urls.keys_in(route.target.partition("?")[2], route.endpoint.query_keys)), None)


def without_scheme(value: bytes) -> bytes:
    """Return what follows `Bearer`, whose case does not matter (RFC 9110, section 11.1)."""
    return (value[7:] if value[:7].lower() == b"bearer " else value).strip()


def target(headers: Headers, route: Route) -> bytes:
    """Return the target to send: a key in its query stays if the client's own is good for the provider."""
    path, mark, query = route.target.partition("?")
    sent, keys = route.target, route.endpoint.query_keys
    if mark and keys and "=" in query:
        _, ours = payer(headers, route)
        if ours or not (route.provider.takes_client_keys and route.addressed):
            sent = path + urls.without_keys(mark + query, keys)
    return sent.encode("utf-8", "surrogateescape")


def lower(headers: Headers) -> Mapping[str, str]:
    """Return response headers by lower-case name; of several of a name, the first."""
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found
