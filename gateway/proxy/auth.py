"""Authorization of a request: by our token, if one is required, and of no web page of another site. Pure.

Where no token is needed, a page in a browser on this machine could spend the keys that we add: by a form, or under a
name of its own that leads here (DNS rebinding). Browsers name the page of such a request in `Origin`.
"""

import hmac
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from msgspec import Struct

from gateway.errors import ExchangeError, Kind
from gateway.providers.route import Route
from gateway.providers.table import KEY_HEADERS
from gateway.proxy.headers import Headers, payer, without_scheme
from gateway.proxy.routing import urls
from gateway.proxy.routing.routes import ParsedPath

# Names that are not in the public DNS, so that no page of another site can reach this machine under them.
_PRIVATE = (".localhost", ".local", ".internal", ".home.arpa", ".home", ".lan", ".corp", ".test")


class Token(Struct, frozen=True):
    """Our own token, and whether clients need it."""

    value: str
    required: bool = True

    def __repr__(self) -> str:
        """Keep it out."""
        return f"<Token required={self.required}>"


class Authorized(Struct, frozen=True):
    """A client's headers and query without our token. `token_valid`: whether they had it."""

    headers: Headers
    query: str
    token_valid: bool


def authorize(headers: Headers, parsed: ParsedPath | None, token: Token | None) -> Authorized:
    """Remove our token from a request. Raises ExchangeError if it is required and missing.

    It is given as `x-gateway-token`, or in the place of a key: then the client has brought no key of its own.
    """
    if token is None:
        return Authorized(headers, parsed.query if parsed is not None else "", token_valid=False)
    remaining = tuple(
        (name, value)
        for name, value in headers
        if name.lower() not in KEY_HEADERS or not _is(without_scheme(value), token)
    )
    query = shown = parsed.query if parsed is not None else ""
    names = parsed.endpoint.query_keys if parsed is not None else frozenset()
    if any(_is(key.encode(), token) for key in urls.keys_in(query, names)):
        query = urls.without_keys(query, names)
    given = any(_is(value, token) for name, value in headers if name.lower() == b"x-gateway-token")
    token_valid = given or len(remaining) < len(headers) or query != shown
    if token.required and not token_valid:
        raise ExchangeError(
            Kind.AUTH, "This gateway needs its token, as x-gateway-token or as the API key (setting: $.auth.token)."
        )
    return Authorized(remaining, query, token_valid)


def _is(given: bytes, token: Token) -> bool:
    return hmac.compare_digest(given, token.value.encode())


def refuse_pages(method: str, headers: Headers, route: Route, allowed: Collection[str]) -> None:
    """Raise ExchangeError for a request of another site's page that a key of ours would pay for.

    `allowed`: origins of one's own, such as `https://chat.example`. Applications with a scheme of their own, and pages
    of this machine, are no other sites, unless the browser says so (`Sec-Fetch-Site`, which no page can set): by it an
    image's GET is known, which has no origin.
    """
    if not (payer(headers, route)[1] or route.provider.headers):
        return
    origin = _first(headers, b"origin")
    if _cross_site(headers) and not is_named(origin, allowed):
        origin = origin or "another site"
    elif origin is None:
        # A page that reads below its own name sends no origin: its name is only in Host.
        host = _first(headers, b"host") or ""
        if method not in {"GET", "HEAD"} or not _public(_name(host)) or _hosts(allowed) & {host, _name(host)}:
            return
        origin = f"http://{host}"
    elif is_named(origin, allowed) or not _elsewhere(origin):
        return
    raise ExchangeError(
        Kind.AUTH,
        f"A web page of {origin!r} may not use this gateway's keys; if it is yours, add it to $.auth.origins.",
        status=403,
        code="origin_refused",
    )


def refuse_foreign_page(headers: Headers, allowed: Collection[str]) -> None:
    """Raise ExchangeError for a request of another site's page, whoever would pay. `allowed` as for `refuse_pages`.

    For POST, with which browsers send the origin even to a name of the page's own.
    """
    origin = _first(headers, b"origin")
    if is_named(origin, allowed):
        return
    if _cross_site(headers) or (origin is not None and _elsewhere(origin)):
        raise ExchangeError(
            Kind.AUTH,
            f"A web page of {origin or 'another site'!r} may not use this gateway; "
            "if it is yours, add it to $.auth.origins.",
            status=403,
            code="origin_refused",
        )


def is_named(origin: str | None, allowed: Collection[str]) -> bool:
    """Whether an origin is one of `$.auth.origins`; a slash at the end of those makes no difference."""
    return origin is not None and any(origin.lower() == each.rstrip("/").lower() for each in allowed)


def is_cross_site(value: str | None) -> bool:
    """Whether the header `Sec-Fetch-Site` is that of a request of another site's page."""
    return value is not None and value.strip().lower() == "cross-site"


def _cross_site(headers: Headers) -> bool:
    return is_cross_site(_first(headers, b"sec-fetch-site"))


def _first(headers: Headers, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in headers if name.lower() == wanted), None)


def _hosts(origins: Collection[str]) -> set[str]:
    return {origin.partition("://")[2] for origin in origins}


def _name(host: str) -> str:
    """Return a Host header without its port."""
    name, _, port = host.rpartition(":")
    return (name if port.isdecimal() else host).strip("[]").rstrip(".").lower()


def _public(name: str) -> bool:
    """Whether a name may be in the public DNS: no address, no single word, and none of a private network."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." in name and not name.endswith(_PRIVATE)
    return False


def _elsewhere(origin: str) -> bool:
    """Whether an origin is a page that is not of this machine. A page that hides its origin may be any."""
    if origin == "null":
        return True
    try:
        parts = urlsplit(origin)
        return parts.scheme in {"http", "https"} and not _loopback(parts.hostname or "")
    except ValueError:
        return True


def _loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
