"""Ways out: the proxy to an upstream, if any, and the certificates on the way.

A proxy is named by `HTTPS_PROXY`, `HTTP_PROXY` or `ALL_PROXY`, with the exceptions in `NO_PROXY`, or by a provider's
setting. The rules are curl's and requests': variables in lower case win, `ALL_PROXY` is for schemes without a variable
of their own, and hosts on this machine are no exception unless `NO_PROXY` has them. Link-local addresses, which are
those of a cloud's metadata server, are always reached directly. Pure.
"""

from __future__ import annotations

import re
from base64 import b64encode
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

from gateway.errors import ConfigError
from gateway.providers.http.origin import DEFAULT_PORTS, Origin
from gateway.providers.http.tls import TlsFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

_SEPARATORS: Final = re.compile(r"[\s,]+")
_UNSENDABLE: Final = re.compile(r"[\x00-\x1f\x7f]")


class Proxy(Struct, frozen=True):
    """An HTTP proxy: `secure` if it is spoken to by TLS; `setting` names the variable or setting that it is from."""

    host: str
    port: int
    setting: str
    secure: bool = False
    user: str | None = None
    password: str = ""

    @classmethod
    def from_url(cls, url: str, setting: str) -> Proxy | None:
        """Return the proxy of a URL, or of `host:port`; None for an empty one.

        Raises ConfigError, which names the setting and never repeats the URL: it may have a password.
        """
        url = url.strip()
        if not url:
            return None
        scheme, mark, _ = url.partition("://")
        if mark and scheme.lower() not in DEFAULT_PORTS:
            raise ConfigError(
                f"{setting}: the proxy must be an http:// or https:// URL, as in http://user:pass@host:3128"
            )
        try:
            parts = urlsplit(url if mark else f"http://{url}")
            host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
            host = host if host.isascii() else host.encode("idna").decode()
        except ValueError:
            host, port = "", 0
        if not host or parts.path.strip("/") or parts.query or parts.fragment:
            raise ConfigError(
                f"{setting}: not the URL of a proxy, as in http://user:pass@host:3128; "
                "percent-encode special characters of the password"
            )
        user, password = parts.username, unquote(parts.password or "")
        if user is not None:
            user = unquote(user)
            if _UNSENDABLE.search(user + password) or ":" in user:
                raise ConfigError(f"{setting}: the proxy's user has no colon, and neither it nor the password controls")
        return cls(host, port, setting, parts.scheme == "https", user, password)

    @property
    def authorization(self) -> bytes | None:
        """The value of Proxy-Authorization (RFC 7617), None without a user."""
        if self.user is None:
            return None
        return b"Basic " + b64encode(f"{self.user}:{self.password}".encode())

    @property
    def secrets(self) -> tuple[str, ...]:
        """The credentials in the forms in which they are sent or written."""
        if self.user is None:
            return ()
        basic = (self.authorization or b"").decode().removeprefix("Basic ")
        return tuple(each for each in (basic, f"{self.user}:{self.password}", self.password) if each)

    @property
    def url(self) -> str:
        """The URL with its credentials, for libraries."""
        login = "" if self.user is None else f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@"
        return f"{'https' if self.secure else 'http'}://{login}{self.address}"

    def __str__(self) -> str:
        """Return the host and the port, with the setting."""
        return f"{self.address} (setting: {self.setting})"

    @property
    def address(self) -> str:
        """The host and the port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        """Leave out user and password."""
        return f"<Proxy {self.address}>"


class Way(Struct, frozen=True, cache_hash=True):
    """The way to one origin; connections are pooled by both."""

    proxy: Proxy | None = None
    tls: TlsFiles = TlsFiles()


DIRECT: Final = Way()
"""The way without a proxy, by the system's CAs."""


class Exempt(Struct, frozen=True):
    """One entry of `NO_PROXY`: a host and all below it, or a network; at any port, or at one."""

    name: str | None = None
    network: IPv4Network | IPv6Network | None = None
    port: int | None = None

    def covers(self, host: str, port: int) -> bool:
        """Whether a host, in lower case, is reached without the proxy."""
        if self.port not in {None, port}:
            return False
        if self.network is not None:
            try:
                address = ip_address(host)
            except ValueError:
                return False
            return address.version == self.network.version and address in self.network
        return host == self.name or host.endswith(f".{self.name}")


class WaysOut(Struct, frozen=True, kw_only=True, cache_hash=True):
    """The ways to all origins. `exempt`: the entries of `NO_PROXY`, None for `*`: all."""

    http: Proxy | None = None
    https: Proxy | None = None
    exempt: tuple[Exempt, ...] | None = ()
    tls: TlsFiles = TlsFiles()

    def to(self, origin: Origin) -> Way:
        """Return the way to an origin."""
        return _way(self, origin)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The credentials of the proxies."""
        return tuple(secret for each in (self.http, self.https) if each is not None for secret in each.secrets)


DIRECTLY: Final = WaysOut()
"""No proxy, and the system's CAs."""


@lru_cache(maxsize=1024)
def _way(ways: WaysOut, origin: Origin) -> Way:
    proxy, host = ways.https if origin.scheme == "https" else ways.http, origin.host.lower().rstrip(".")
    exempt = ways.exempt is None or any(each.covers(host, origin.port) for each in ways.exempt)
    return Way(None if exempt or _link_local(host) else proxy, ways.tls)


def _link_local(host: str) -> bool:
    try:
        return ip_address(host).is_link_local
    except ValueError:
        return False


def from_environment(environ: Mapping[str, str], tls: TlsFiles) -> WaysOut:
    """Return the ways out of an environment. Raises ConfigError, naming the variable of a proxy that cannot be used."""
    return WaysOut(
        http=_variable(environ, "http"),
        https=_variable(environ, "https"),
        exempt=exemptions(environ.get("no_proxy") or environ.get("NO_PROXY") or ""),
        tls=tls,
    )


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy that an environment has for a URL, which may be `host:port`. Raises ConfigError, ValueError."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    origin, _ = Origin.from_url(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    return from_environment(environ, TlsFiles()).to(origin).proxy


def by_setting(proxy: str | None, setting: str, usual: WaysOut, tls: TlsFiles) -> WaysOut:
    """Return a provider's ways out: by its own proxy for all hosts, directly for an empty one, None for the usual."""
    if proxy is None:
        return WaysOut(http=usual.http, https=usual.https, exempt=usual.exempt, tls=tls)
    named = Proxy.from_url(proxy, setting)
    return WaysOut(http=named, https=named, tls=tls)


def _variable(environ: Mapping[str, str], scheme: Literal["http", "https"]) -> Proxy | None:
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    name = next((name for name in names if environ.get(name)), None)
    return None if name is None else Proxy.from_url(environ[name], name)


def exemptions(text: str) -> tuple[Exempt, ...] | None:
    """Return the entries of a `NO_PROXY`; None for one with `*`.

    Entries are separated by commas or spaces: `host` and `.host` (with all below), `host:port`, an address, a network.
    """
    entries = [entry for entry in _SEPARATORS.split(text.strip()) if entry]
    return None if "*" in entries else tuple(map(_exempt, entries))


def _exempt(entry: str) -> Exempt:
    network, port = _network(entry.strip("[]")), None
    if network is None:
        head, _, tail = entry.rpartition(":")
        if head and tail.isdecimal():
            entry, port = head, int(tail)
            network = _network(entry.strip("[]"))
    if network is not None:
        return Exempt(network=network, port=port)
    name = entry.lower().removeprefix("*").strip(".")
    with suppress(UnicodeError):
        name = name if name.isascii() else name.encode("idna").decode()
    return Exempt(name=name, port=port)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
