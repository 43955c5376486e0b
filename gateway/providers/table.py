"""The table of providers of one gateway: the known ones as the environment and the configuration say, and its own."""

import re
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from gateway.config.model import Config
from gateway.config.model import Provider as Settings
from gateway.errors import ConfigError
from gateway.providers.catalog import CATALOG
from gateway.providers.entry import Entry, KeySent, urls
from gateway.providers.http.client import Origin
from gateway.providers.quirks import Quirks

OPENAI = ("openai-chat", "openai-responses")
ANTHROPIC = ("anthropic-messages",)

# Headers that carry a client's key, by which we know that it brought one.
KEY_HEADERS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})

# Where a dialect is spoken below a base URL that says no version.
_USUAL_PATHS = {
    "openai-chat": "/v1",
    "openai-responses": "/v1",
    "anthropic-messages": "/v1",
    "gemini": "/v1beta",
    "ollama": "",
    "bedrock-converse": "",
}
# They say where clients go, which is to us: people set them in the very shell in which they start the gateway.
_CLIENTS_OWN = frozenset(
    {"OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL", "GROQ_BASE_URL"}
)
# Servers of one's own, which mostly want no key.
_KEYLESS = frozenset({"ollama", "vllm", "llama-cpp", "lm-studio"})
# A provider is mounted at its name.
_RESERVED = {"demo": "the name is taken by the demo provider"} | dict.fromkeys(
    (
        "api assistants audio batches chat completions containers conversations embeddings evals files fine_tuning "
        "images messages model models moderations realtime responses threads uploads v1 v1alpha v1beta v1beta1 "
        "vector_stores videos"
    ).split(),
    "requests for an API's own path begin so",
)
# What no header may have in it (RFC 9110, section 5.5), or cannot be sent as.
_UNSENDABLE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = frozenset("connection content-length expect keep-alive te trailer transfer-encoding upgrade".split())


class Provider(Struct, frozen=True, kw_only=True):
    """Where bytes go and how they are signed.

    Attributes:
        base_path: What the targets begin with of requests that are in no dialect; no trailing slash.
        paths: Below which path each dialect is spoken; their names, in the order in which they are translated into.
        genai_name: The conventions' word for it (`gen_ai.provider.name`).
        prefixes: What a model's name begins with to be sent here; it is taken off.
        key: The configured key; it replaces the client's.
        keys: Several of them, to be used in turn; `key` is the first.
        key_name: What the key is called where there are several, for people.
        environment_key: The environment's key, used where the client brought none.
        key_sent: How a key of ours is sent, `key_sent_to` where that differs by dialect.
        takes_client_keys: Whether a key the client brought is passed on.
        as_built_in: Whether it is a built-in one at its built-in address.
        loose: Whether the configured address says no version: a request's own path says whether there is one.
        set_up: Whether it can be reached without a key, since the configuration names it.
        recovers: Whether its errors may have the answer in them, as Groq's do.
        quirks: How its chat completions differ from OpenAI's.
        only_target: Where a request is sent whatever its path: it has named a URL of its own.

    """

    name: str
    origin: Origin
    base_path: str
    paths: dict[str, str]
    genai_name: str
    prefixes: tuple[str, ...] = ()
    key: str | None = None
    keys: tuple[str, ...] = ()
    key_name: str | None = None
    environment_key: str | None = None
    key_sent: KeySent = "bearer"
    key_sent_to: dict[str, KeySent] = {}
    takes_client_keys: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    stream_usage: bool = False
    as_built_in: bool = False
    loose: bool = False
    set_up: bool = False
    recovers: bool = False
    quirks: Quirks = Quirks()
    names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    only_target: str | None = None

    def __repr__(self) -> str:
        """Name it without its keys."""
        return f"<Provider {self.name} {self.url}{self.base_path}>"

    @property
    def dialects(self) -> tuple[str, ...]:
        """What it speaks."""
        return tuple(self.paths)

    @property
    def url(self) -> str:
        """Scheme, host and port, for people."""
        origin = self.origin
        usual = origin.port == (443 if origin.scheme == "https" else 80)
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        return f"{origin.scheme}://{host}" if usual else f"{origin.scheme}://{origin}"

    def claims(self, model: str) -> bool:
        """Whether a model's name, as its maker calls it, is one of this provider's own."""
        return model.startswith(self.names) and not model.startswith(self.others)

    @property
    def authority(self) -> str:
        """The host as requests name it: with its port where that is not the usual one."""
        return self.url.partition("://")[2]

    def signs(self, dialect: str | None) -> bool:
        """Whether a request of this dialect that shows no key is shown a cloud's credentials."""
        return self.shown(dialect) in {"sigv4", "google"}

    def shown(self, dialect: str | None) -> KeySent:
        """Return how it is shown a key by a request of this dialect."""
        return self.key_sent_to.get(dialect or "", self.key_sent)


def demo(base_url: str) -> Provider:
    """Return the provider inside the gateway, listening at `base_url`; it is shown no key."""
    origin, base_path = Origin.from_url(base_url)
    return Provider(
        name="demo",
        origin=origin,
        base_path=base_path,
        paths=dict.fromkeys((*OPENAI, *ANTHROPIC), base_path),
        genai_name="demo",
        prefixes=("demo/",),
        takes_client_keys=False,
        stream_usage=True,
    )


def build(config: Config, environ: Mapping[str, str], ours: Collection[str] = ()) -> dict[str, Provider]:
    """Return all providers by name. `ours` are this gateway's own URLs, which are nobody else's. Raises ConfigError."""
    known = {name: value for name, value in environ.items() if name not in _CLIENTS_OWN}
    providers = {}
    for name, entry in CATALOG.items():
        provider = _known(entry, config.providers.get(name), known, ours)
        if provider is not None:
            providers[name] = provider
    for name, settings in config.providers.items():
        if name in _RESERVED:
            raise ConfigError(f"$.providers.{name}: {_RESERVED[name]}; choose another name")
        if name not in CATALOG:
            providers[name] = _custom(name, settings)
    return providers


def _known(
    entry: Entry, configured: Settings | None, environ: Mapping[str, str], ours: Collection[str]
) -> Provider | None:
    """Return a known provider; None where nobody says where it is (Azure's and Vertex's have no usual place)."""
    settings = configured or Settings()
    if settings.base_url is not None:
        origin, base_path = _parsed(f"$.providers.{entry.name}.base_url", settings.base_url)
        paths = _moved(entry, base_path, environ)
    else:
        found = _urls(entry, environ, ours)
        if not found:
            return None
        variables = ", ".join(variable for variable, _ in entry.base_url_variables) or entry.base_url
        origin, _ = _parsed(f"the environment's {variables}", next(iter(found.values())))
        paths = {dialect: urlsplit(url).path.rstrip("/") for dialect, url in found.items()}
        base_path = next(iter(paths.values()))
    if settings.dialect:
        paths = {d: paths.get(d, _below(base_path, _USUAL_PATHS[d])) for d in _spoken(settings)}
    return Provider(
        name=entry.name,
        origin=origin,
        base_path=base_path,
        paths=paths,
        genai_name=entry.genai_name,
        prefixes=(settings.prefix,) if settings.prefix else entry.prefixes,
        key=next(iter(_keys(entry.name, settings)), None),
        keys=_keys(entry.name, settings),
        environment_key=next(filter(None, (key_of(name, environ.get(name)) for name in entry.key_variables)), None),
        key_sent=entry.key_sent,
        key_sent_to=entry.key_sent_to,
        headers=_headers(entry.name, settings),
        timeout=settings.timeout,
        stream_usage=entry.stream_usage if settings.stream_usage is None else settings.stream_usage,
        as_built_in=settings.base_url is None,
        loose=settings.base_url is not None and not _versioned(base_path),
        set_up=configured is not None and entry.name in _KEYLESS,
        recovers=entry.name == "groq",
        quirks=entry.quirks,
        names=entry.names,
        others=entry.others,
    )


def _custom(name: str, settings: Settings) -> Provider:
    where = f"$.providers.{name}"
    if settings.base_url is None:
        raise ConfigError(f"{where}: base_url is missing; say where its requests go: http://127.0.0.1:9000/v1")
    origin, base_path = _parsed(f"{where}.base_url", settings.base_url)
    dialects = _spoken(settings) or OPENAI[:1]
    anthropic = set(dialects) <= set(ANTHROPIC)
    return Provider(
        name=name,
        origin=origin,
        base_path=base_path,
        paths={dialect: _below(base_path, _USUAL_PATHS[dialect]) for dialect in dialects},
        genai_name=name,
        prefixes=(settings.prefix or f"{name}/",),
        key=next(iter(_keys(name, settings)), None),
        keys=_keys(name, settings),
        key_sent="x-api-key" if anthropic else "x-goog-api-key" if dialects == ("gemini",) else "bearer",
        headers=_headers(name, settings),
        timeout=settings.timeout,
        stream_usage=bool(settings.stream_usage),
        loose=not _versioned(base_path),
        set_up=True,
        quirks=Quirks(custom=False, max_tokens="max_tokens", developer=False),
    )


def _spoken(settings: Settings) -> tuple[str, ...]:
    said = settings.dialect
    return (said,) if isinstance(said, str) else tuple(said or ())


def _parsed(where: str, base_url: str) -> tuple[Origin, str]:
    try:
        return Origin.from_url(base_url.strip())
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _urls(entry: Entry, environ: Mapping[str, str], ours: Collection[str] = ()) -> dict[str, str]:
    try:
        return urls(entry, environ, ours)
    except ValueError:  # its text may have a part of what was set
        raise ConfigError(f"OLLAMA_HOST, for the provider {entry.name!r}, is no host or URL") from None


def _keys(name: str, settings: Settings) -> tuple[str, ...]:
    """Return the configured keys, each once; empty ones are none."""
    said = {f"$.providers.{name}.api_key": settings.api_key}
    said |= {f"$.providers.{name}.api_keys[{index}]": key for index, key in enumerate(settings.api_keys)}
    return tuple(dict.fromkeys(key for where, each in said.items() if (key := key_of(where, each)) is not None))


def key_of(where: str, key: str | None) -> str | None:
    """Return a key without the white space that comes with it out of a file; None for an empty one."""
    key = key.strip() if key else None
    if key and _UNSENDABLE.search(key):
        raise ConfigError(f"{where}: a key cannot have control characters, or others than Latin-1; it was read wrong")
    return key or None


def _headers(name: str, settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return the configured headers, which can be sent as they are."""
    for header, value in settings.headers.items():
        where = f"$.providers.{name}.headers"
        if not _TOKEN.fullmatch(header):
            raise ConfigError(f"{where}: {header!r} is no name of a header")
        if header.lower() in _FRAMING:
            raise ConfigError(f"{where}.{header}: it speaks of one connection or body, and is written for each")
        if _UNSENDABLE.search(value):
            raise ConfigError(f"{where}.{header}: a value cannot have control characters, or others than Latin-1")
    return tuple((header, value.strip()) for header, value in settings.headers.items())


def _moved(entry: Entry, base_path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return where a known provider's dialects are spoken below a base URL of one's own.

    One that ends like one of the entry's own paths says where the others are too: Ollama's `/v1` has `/api` beside it.
    """
    own = dict(entry.dialects)
    if any("{" in path for path in own.values()):
        if "/projects/" in base_path:  # the whole of the first one's
            return {next(iter(own)): base_path}
        own = {dialect: urlsplit(url).path for dialect, url in _urls(entry, environ).items()}
        if not own:
            raise ConfigError(
                f"$.providers.{entry.name}.base_url: its path must name the project, as in "
                "/v1/projects/PROJECT/locations/LOCATION/publishers/google; or set GOOGLE_CLOUD_PROJECT"
            )
    for path in sorted(filter(None, own.values()), key=len, reverse=True):
        if base_path.endswith(path):
            return {dialect: base_path.removesuffix(path) + each for dialect, each in own.items()}
    return {dialect: base_path if _versioned(base_path) else base_path + path for dialect, path in own.items()}


def _below(base_path: str, usual: str) -> str:
    """Return where a dialect is spoken below a base URL's path, which says the whole of it where it has a version."""
    return base_path if not usual or _versioned(base_path) else base_path.removesuffix(usual) + usual


def _versioned(path: str) -> bool:
    last = path.rpartition("/")[2]
    return last[:1] == "v" and last[1:2].isdigit()
