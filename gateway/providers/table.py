"""The providers of one gateway: the built-in ones in its environment and configuration, and those it configures."""

import re
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from msgspec import Struct, structs

from gateway.config.model import Config
from gateway.config.model import Provider as Settings
from gateway.dialects.registry import ENDPOINTS, TABLES
from gateway.errors import ConfigError
from gateway.providers.catalog import CATALOG
from gateway.providers.entry import Entry, KeySent, urls
from gateway.providers.http.origin import Origin
from gateway.providers.http.tls import TlsFiles, checked
from gateway.providers.http.ways_out import DIRECTLY, Way, WaysOut, by_setting, from_environment
from gateway.providers.quirks import Quirks

OPENAI = ("openai-chat", "openai-responses")
ANTHROPIC = ("anthropic-messages",)

# Headers that carry a client's key.
KEY_HEADERS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})

# Variables of clients, which name the gateway itself: they are often set in the shell in which it is started.
_CLIENTS_OWN = frozenset(
    {"OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL", "GROQ_BASE_URL"}
)
KEYLESS = frozenset({"ollama", "vllm", "llama-cpp", "lm-studio"})
"""Local servers, which mostly need no key."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# A provider's name is the first segment of its path, so it cannot be that of an API's path.
_RESERVED = {"demo": "the name is taken by the demo provider"} | dict.fromkeys(
    (
        "api assistants audio batches chat completions containers conversations embeddings evals files fine_tuning "
        "images messages model models moderations realtime responses threads uploads v1 v1alpha v1beta v1beta1 v2 "
        "vector_stores videos"
    ).split(),
    "paths of an API begin with it",
)
# Characters that a header's value cannot have (RFC 9110, section 5.5).
_UNSENDABLE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_VERSIONED = re.compile(r"/v\d.*$")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = frozenset("connection content-length expect keep-alive te trailer transfer-encoding upgrade".split())


class Provider(Struct, frozen=True, kw_only=True):
    """An upstream: its origin, its paths by dialect, its keys and its quirks.

    Attributes:
        base_path: The prefix of targets of requests in no dialect, without a trailing slash.
        paths: The path of each dialect, in the order in which they are preferred for translation.
        genai_name: Its value of `gen_ai.provider.name` in the OpenTelemetry conventions.
        prefixes: Prefixes of model names that route here; they are removed.
        key: The configured key; it replaces the client's.
        keys: All configured keys, used in turn; `key` is the first.
        key_name: The name of the key if there are several, for people.
        environment_key: The environment's key, used if the client sent none.
        key_sent: How the gateway's key is sent; `key_sent_to` by dialect if that differs.
        takes_client_keys: Whether a client's key is forwarded.
        takes_any_key: Whether that is so whatever the key's audience (`$.auth.pass_client_keys_to`).
        as_built_in: Whether it is a built-in one at its built-in address.
        loose: Whether the configured base URL has no version; the request's own path has it, if any.
        set_up: Whether it can be reached without a key, since the configuration names it.
        recovers: Whether its errors may contain the response, as Groq's do.
        quirks: How its chat completions differ from OpenAI's.
        root: A path that begins so is below the host, not below a dialect's path, unless a version follows.
        only_target: The target of all requests, if a request has named an upstream URL of its own.
        ways: The ways out to it and to other hosts: its proxy, its CAs and the client's certificate.

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
    takes_any_key: bool = False
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
    root: str | None = None
    only_target: str | None = None
    ways: WaysOut = DIRECTLY

    def __repr__(self) -> str:
        """Name it without its keys."""
        return f"<Provider {self.name} {self.url}{self.base_path}>"

    @property
    def dialects(self) -> tuple[str, ...]:
        """The names of its dialects."""
        return tuple(self.paths)

    @property
    def url(self) -> str:
        """Scheme, host and port, for people."""
        origin = self.origin
        usual = origin.port == (443 if origin.scheme == "https" else 80)
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        return f"{origin.scheme}://{host}" if usual else f"{origin.scheme}://{origin}"

    @property
    def way(self) -> Way:
        """The way out to its origin."""
        return self.ways.to(self.origin)

    def claims(self, model: str) -> bool:
        """Whether a model's name without a prefix is one of this provider's own."""
        return model.startswith(self.names) and not model.startswith(self.others)

    @property
    def authority(self) -> str:
        """The value of the Host header: with its port unless it is the scheme's default."""
        return self.url.partition("://")[2]

    def signs(self, dialect: str | None) -> bool:
        """Whether a request in this dialect without a key is sent with a cloud's credentials."""
        return self.shown(dialect) in {"sigv4", "google"}

    def shown(self, dialect: str | None) -> KeySent:
        """Return how a key is sent with a request in this dialect."""
        return self.key_sent_to.get(dialect or "", self.key_sent)


def demo(base_url: str) -> Provider:
    """Return the provider inside the gateway, listening at `base_url`; no key is sent to it."""
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
    """Return all providers by name. `ours` are this gateway's own URLs, which name no provider. Raises ConfigError."""
    known = {name: value for name, value in environ.items() if name not in _CLIENTS_OWN}
    usual = ways_out(config, environ)
    providers = {}
    for name, entry in CATALOG.items():
        provider = _known(entry, config.providers.get(name), known, ours)
        if provider is not None:
            providers[name] = structs.replace(provider, ways=_ways(provider, config.providers.get(name), usual))
    for name, settings in config.providers.items():
        if name in _RESERVED:
            raise ConfigError(f"$.providers.{name}: {_RESERVED[name]}; choose another name")
        if name not in CATALOG:
            provider = _custom(name, settings)
            providers[name] = structs.replace(provider, ways=_ways(provider, settings, usual))
    for index, name in enumerate(config.auth.pass_client_keys_to):
        if name not in providers:
            raise ConfigError(
                f"$.auth.pass_client_keys_to[{index}]: there is no provider {name!r}; there are {', '.join(providers)}"
            )
        providers[name] = structs.replace(providers[name], takes_any_key=True)
    return providers


def ways_out(config: Config, environ: Mapping[str, str]) -> WaysOut:
    """Return the ways out of the environment and of `[tls]`. Blocks. Raises ConfigError."""
    tls = config.tls
    files = TlsFiles(tls.ca_file, tls.client_cert, tls.client_key)
    return from_environment(environ, checked(files, "$.tls"))


def _ways(provider: Provider, settings: Settings | None, usual: WaysOut) -> WaysOut:
    """Return the ways out to a provider. Blocks. Raises ConfigError."""
    if provider.name in KEYLESS and provider.origin.host in _LOOPBACK:
        usual = structs.replace(DIRECTLY, tls=usual.tls)  # the environment's proxy is for other machines
    if settings is None:
        return usual
    path = f"$.providers.{provider.name}"
    files = usual.tls
    own = TlsFiles(settings.ca_file, settings.client_cert, settings.client_key)
    if own != TlsFiles():
        own = checked(own, path)
        pair = own if own.client_cert is not None else files
        files = TlsFiles(own.ca_file or files.ca_file, pair.client_cert, pair.client_key)
    return by_setting(settings.proxy, f"{path}.proxy", usual, files)


def _known(
    entry: Entry, configured: Settings | None, environ: Mapping[str, str], ours: Collection[str]
) -> Provider | None:
    """Return a built-in provider; None if its URL is unknown (Azure's and Vertex's have no default)."""
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
        paths = {d: paths.get(d, _below(base_path, ENDPOINTS[d].base_path)) for d in _dialects(entry.name, settings)}
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
        set_up=configured is not None and entry.name in KEYLESS,
        recovers=entry.name == "groq",
        quirks=_quirks(entry.quirks, settings),
        names=entry.names,
        others=entry.others,
        root=entry.root,
    )


def _custom(name: str, settings: Settings) -> Provider:
    path = f"$.providers.{name}"
    if settings.base_url is None:
        raise ConfigError(f"{path}: base_url is missing; set the URL of its API, as in http://127.0.0.1:9000/v1")
    origin, base_path = _parsed(f"{path}.base_url", settings.base_url)
    dialects = _dialects(name, settings) or OPENAI[:1]
    return Provider(
        name=name,
        origin=origin,
        base_path=base_path,
        paths={dialect: _below(base_path, ENDPOINTS[dialect].base_path) for dialect in dialects},
        genai_name=name,
        prefixes=(settings.prefix or f"{name}/",),
        key=next(iter(_keys(name, settings)), None),
        keys=_keys(name, settings),
        key_sent=ENDPOINTS[dialects[0]].key_header if len(set(dialects)) == 1 else "bearer",
        headers=_headers(name, settings),
        timeout=settings.timeout,
        stream_usage=bool(settings.stream_usage),
        loose=not _versioned(base_path),
        set_up=True,
        quirks=_quirks(
            Quirks(custom=False, max_tokens="max_tokens", developer=False, reasoning="reasoning_content"), settings
        ),
    )


def _quirks(quirks: Quirks, settings: Settings) -> Quirks:
    """Return a provider's quirks, with those that are configured."""
    if settings.reasoning is None:
        return quirks
    return structs.replace(quirks, reasoning=None if settings.reasoning == "none" else settings.reasoning)


def _dialects(name: str, settings: Settings) -> tuple[str, ...]:
    """Return the configured dialects. Raises ConfigError for one that no endpoint has."""
    configured = settings.dialect
    dialects = (configured,) if isinstance(configured, str) else tuple(configured or ())
    for index, dialect in enumerate(dialects):
        if dialect not in TABLES.dialects:
            path = f"$.providers.{name}.dialect" + ("" if isinstance(configured, str) else f"[{index}]")
            raise ConfigError(f"{path}: not a value that this can have; there are {', '.join(TABLES.dialects)}")
    return dialects


def _parsed(path: str, base_url: str) -> tuple[Origin, str]:
    try:
        return Origin.from_url(base_url.strip())
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _urls(entry: Entry, environ: Mapping[str, str], ours: Collection[str] = ()) -> dict[str, str]:
    try:
        return urls(entry, environ, ours)
    except ValueError:  # its text may repeat a secret
        raise ConfigError(f"OLLAMA_HOST, for the provider {entry.name!r}, is not a host or URL; correct it") from None


def _keys(name: str, settings: Settings) -> tuple[str, ...]:
    """Return the configured keys without duplicates and empty ones."""
    given = {f"$.providers.{name}.api_key": settings.api_key}
    given |= {f"$.providers.{name}.api_keys[{index}]": key for index, key in enumerate(settings.api_keys)}
    return tuple(dict.fromkeys(key for path, each in given.items() if (key := key_of(path, each)) is not None))


def key_of(path: str, key: str | None) -> str | None:
    """Return a key without surrounding white space, None for an empty one. Raises ConfigError, naming its `path`."""
    key = key.strip() if key else None
    if key and _UNSENDABLE.search(key):
        raise ConfigError(
            f"{path}: a key has no control characters and only Latin-1; set the key as the provider shows it"
        )
    return key or None


def _headers(name: str, settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return the configured headers. Raises ConfigError for one that cannot be sent."""
    for header, value in settings.headers.items():
        path = f"$.providers.{name}.headers"
        if not _TOKEN.fullmatch(header):
            raise ConfigError(f"{path}: {header!r} is not a valid header name; correct it")
        if header.lower() in _FRAMING:
            raise ConfigError(f"{path}.{header}: the gateway sets this header for each request; remove it")
        if _UNSENDABLE.search(value):
            raise ConfigError(f"{path}.{header}: a header value has no control characters and only Latin-1; correct it")
    return tuple((header, value.strip()) for header, value in settings.headers.items())


def _moved(entry: Entry, base_path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the paths of a built-in provider's dialects below a configured base URL.

    If it ends with the path of one of them, or with the part of it before the version, it locates the others too:
    Ollama's `/v1` has `/api` beside it, Cohere's `/compatibility` has `/v2`.
    """
    own = dict(entry.dialects)
    if any("{" in path for path in own.values()):
        if "/projects/" in base_path:  # the whole path of the first dialect
            return {next(iter(own)): base_path}
        own = {dialect: urlsplit(url).path for dialect, url in _urls(entry, environ).items()}
        if not own:
            raise ConfigError(
                f"$.providers.{entry.name}.base_url: its path must name the project, as in "
                "/v1/projects/PROJECT/locations/LOCATION/publishers/google; or set GOOGLE_CLOUD_PROJECT"
            )
    for path in sorted(filter(None, own.values()), key=len, reverse=True):
        for ending in (path, _VERSIONED.sub("", path)):
            if ending and base_path.endswith(ending):
                return {dialect: base_path.removesuffix(ending) + each for dialect, each in own.items()}
    return {dialect: base_path if _versioned(base_path) else base_path + path for dialect, path in own.items()}


def _below(base_path: str, usual: str) -> str:
    """Return a dialect's path below a base URL, which is the whole path if it has a version."""
    return base_path if not usual or _versioned(base_path) else base_path.removesuffix(usual) + usual


def _versioned(path: str) -> bool:
    last = path.rpartition("/")[2]
    return last[:1] == "v" and last[1:2].isdigit()
