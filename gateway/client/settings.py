"""Settings of the client: the gateway's address, and metadata of all runs of this process. Pure."""

from collections.abc import Mapping
from typing import TypedDict
from urllib.parse import urlsplit

from msgspec import Struct, structs

DEFAULT_URL = "http://127.0.0.1:4000"


class Metadata(TypedDict, total=False):
    """Metadata of runs, steps and requests; columns of the store have these names."""

    application: str
    environment: str
    session: str
    user: str
    organization_id: str
    project_id: str
    workflow_id: str
    workflow_name: str
    step_index: int
    prompt_id: str
    prompt_version: int
    extra: Mapping[str, object]


class Address(Struct, frozen=True):
    """A URL's parts. `path`: the prefix of `/events`."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """The URL, with its port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of `configure`. `timeout`: seconds; `queue_events`: the capacity of the queue."""

    url: str = DEFAULT_URL
    token: str | None = None
    enabled: bool = True
    queue_events: int = 10_000
    timeout: float = 10.0
    metadata: Metadata = {}

    @property
    def address(self) -> Address:
        """The parts of the URL."""
        return address_of(self.url)

    def __repr__(self) -> str:
        """Keep the token out."""
        return f"<Settings {self.url!r} token={'***' if self.token else None} metadata={self.metadata!r}>"


def address_of(url: str) -> Address:
    """Return a URL's parts. Raises ValueError, whose message repeats no part that may be secret."""
    if not _is_word(url):
        raise ValueError("the gateway's url must be ASCII without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"the gateway's url is no URL: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("the gateway's url must have no user and no password in it; give token=... (GATEWAY_TOKEN)")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"the gateway's url must be like {DEFAULT_URL}, not {url!r}")
    if parts.query or parts.fragment:
        raise ValueError("the gateway's url must have no query and no fragment")
    return Address(
        parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")
    )


def from_environ(environ: Mapping[str, str]) -> Settings:
    """Return the settings of GATEWAY_URL and GATEWAY_TOKEN. Raises ValueError for invalid ones."""
    url, token = environ.get("GATEWAY_URL", "").strip(), environ.get("GATEWAY_TOKEN", "").strip()
    return changed(Settings(), url=url or None, token=token or None)


def changed(
    settings: Settings,
    *,
    url: str | None = None,
    token: str | None = None,
    enabled: bool | None = None,
    queue_events: int | None = None,
    timeout: float | None = None,
    metadata: Metadata | None = None,
) -> Settings:
    """Return settings with the given values replaced. Raises ValueError, and TypeError for unknown metadata."""
    if url is not None:
        address_of(url)
    if token and not _is_word(token):
        raise ValueError("the gateway's token must be ASCII without spaces")
    if queue_events is not None and queue_events < 1:
        raise ValueError(f"queue_events must be at least 1, not {queue_events!r}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")
    given = {
        "url": url,
        "token": token or settings.token,
        "enabled": enabled,
        "queue_events": queue_events,
        "timeout": timeout,
        "metadata": merged(settings.metadata, known(metadata or {})),
    }
    return structs.replace(settings, **{name: value for name, value in given.items() if value is not None})


def known(metadata: Metadata) -> Metadata:
    """Return the metadata unchanged. Raises TypeError for a name that is not in `Metadata`."""
    for name in metadata:
        if name not in Metadata.__annotations__:
            raise TypeError(f"unexpected keyword argument {name!r}; metadata is {', '.join(Metadata.__annotations__)}")
    return metadata


def merged(outer: Metadata, inner: Metadata) -> Metadata:
    """Merge metadata; values of the inner one win, unless they are None."""
    both: Metadata = {**outer}
    both.update({name: value for name, value in inner.items() if value is not None})  # type: ignore[typeddict-item]
    return both


def _is_word(value: str) -> bool:
    """Whether a value is a single word of ASCII, as in a request's head."""
    return value.isascii() and value.isprintable() and " " not in value
