"""Who may send requests through us: who has our token, where one is needed, and no web page of somebody else's. Pure.

Where no token is needed, a page in a browser on this machine could spend the keys that we add: by a form, or under a
name of its own that leads here (DNS rebinding). Browsers say where such a request is from, in `Origin`.
"""

import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

from gateway.errors import ExchangeError, Kind
from gateway.providers.table import KEY_HEADERS, Provider
from gateway.upstream import Headers

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def admitted(headers: Headers, token: str | None) -> Headers:
    """Return the client's headers without our own token. Raises ExchangeError where it is needed and not there.

    It is given as `x-gateway-token`, or in the place of a key: then the client has brought no key of its own.
    """
    if token is None:
        return headers
    kept = tuple(
        (name, value)
        for name, value in headers
        if name.lower() not in KEY_HEADERS or not _is(_without_scheme(value), token)
    )
    given = (value for name, value in headers if name.lower() == b"x-gateway-token")
    if len(kept) == len(headers) and not any(_is(value, token) for value in given):
        raise ExchangeError(
            Kind.AUTH, "This gateway needs its token, as x-gateway-token or as the API key (setting: $.auth.token)."
        )
    return kept


def _without_scheme(value: bytes) -> bytes:
    """Return what follows `Bearer`, whose case does not matter (RFC 9110, section 11.1)."""
    return value[7:] if value[:7].lower() == b"bearer " else value


def _is(given: bytes, token: str) -> bool:
    return hmac.compare_digest(given, token.encode())


def refuse_pages(headers: Headers, provider: Provider, allowed: Collection[str]) -> None:
    """Raise ExchangeError for a request of another site's page that a key of ours would pay for.

    `allowed`: origins of one's own, such as `https://chat.example`. Applications with a scheme of their own, and pages
    of this machine, are no other sites.
    """
    if not (provider.key or provider.environment_key):
        return
    origin = next((value.decode("latin-1") for name, value in headers if name.lower() == b"origin"), None)
    if origin is None or origin in allowed or not _elsewhere(origin):
        return
    raise ExchangeError(
        Kind.AUTH,
        f"A web page of {origin!r} may not use this gateway's keys; if it is yours, add it to $.auth.origins.",
        status=403,
        code="origin_refused",
    )


def _elsewhere(origin: str) -> bool:
    """Whether an origin is a page that is not of this machine. A page that hides its origin may be any."""
    if origin == "null":
        return True
    parts = urlsplit(origin)
    return parts.scheme in {"http", "https"} and (parts.hostname or "") not in _LOOPBACK
