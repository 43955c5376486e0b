"""The settings of `gateway.toml` with their defaults, and their validation; errors begin with the path of the value.

Every table is optional, and so is the file. Strings may have `${env:NAME}` or `${env:NAME:-default}`. No `repr` shows a
secret.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from gateway.config.bounds import PIB, Bound, Bytes, Grace, Seconds, out_of_bounds
from gateway.config.retry import RetryPolicy
from gateway.config.validation import convert
from gateway.errors import ConfigError
from gateway.redaction import Builtin, PatternError, compiled

DialectName: TypeAlias = str
"""A dialect of `dialects.registry`; `providers.table` refuses any other."""

CaptureMode = Literal["full", "truncated", "metadata", "off"]
VocabularyName = Literal["gen-ai", "gen-ai-1.37", "openinference", "llm"]
Order = Literal["listed", "random", "weighted", "fastest"]

MIB = 1024 * 1024

_KEEP = "leave it out to keep everything"


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file; unknown keys are errors."""


class Timeouts(Table, frozen=True):
    """`[timeouts]`, in seconds. Without `first_byte` only `default_timeout` bounds the wait for a first byte.

    `request_head` bounds the head of a client's request; `request_body` its body, unless `limits.body_rate` is kept.
    """

    connect: Seconds = 10.0
    first_byte: Seconds | None = None
    idle: Seconds = 300.0
    request_head: Seconds = 30.0
    request_body: Seconds = 60.0


class Provider(Table, frozen=True):
    """`[providers.NAME]`: an upstream. Fields of a built-in provider that are not set keep their built-in values.

    Attributes:
        base_url: The prefix of all its URLs, with or without a trailing `/v1`.
        dialect: The name of its dialect, or a list of names.
        api_key: Its key, which replaces the client's own.
        api_keys: Several keys, used in turn; one that is rate limited is skipped for a while.
        prefix: Requests for a model `prefix + name` are sent here, for the model `name`.
        headers: Headers of every request; they replace the client's.
        timeout: Seconds for one attempt as a whole, instead of `default_timeout`.
        proxy: The URL of the proxy to it, with credentials if it needs any; "" for none. Without it the environment's.
        ca_file: The PEM file of the CAs that it is verified by, instead of those of `[tls]`.
        client_cert: The PEM file of the certificate that is shown to it, instead of that of `[tls]`.
        client_key: The PEM file of the certificate's key, if that is another.
        stream_usage: Whether it accepts `stream_options.include_usage`, without which the usage of a chat stream is
            estimated.
        reasoning: The field of an assistant's message in which a chat provider takes its own reasoning back, by default
            `reasoning_content`; "none": it takes none.

    """

    base_url: str | None = None
    dialect: DialectName | list[DialectName] | None = None
    api_key: str | None = None
    api_keys: list[str] = []
    prefix: str | None = None
    headers: dict[str, str] = {}
    timeout: Seconds | None = None
    proxy: str | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    stream_usage: bool | None = None
    reasoning: Literal["reasoning_content", "reasoning", "none"] | None = None

    def __repr__(self) -> str:
        """Leave out keys, headers and the proxy, which may be secret."""
        return "<Provider>"


class Tls(Table, frozen=True):
    """`[tls]`: PEM files for connections to all providers and token services.

    Attributes:
        ca_file: The CAs that they are verified by, instead of the system's (or those of SSL_CERT_FILE).
        client_cert: The certificate that is shown to a server that asks for one.
        client_key: Its key, if that is in another file.

    """

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


class Candidate(Table, frozen=True):
    """One candidate of an alias.

    Attributes:
        model: The model's name at the provider; without a `provider`, its name in a request, which may be an alias.
        provider: The provider's name.
        api_key_name: The name in `[api_keys]` of the key to send, instead of the provider's own.
        weight: Its share of first attempts relative to the other candidates, if the alias's order is "weighted".

    """

    model: str
    provider: str | None = None
    api_key_name: str | None = None
    weight: Annotated[float, Bound(above=0, most=1e9)] = 1.0


class Alias(Table, frozen=True):
    """`[aliases.NAME]`: a model's name that resolves to candidates, tried one after the other.

    Attributes:
        candidates: Tables of `Candidate`, or models by their names in a request (`"openai/gpt-5.4-mini"`).
        order: "listed"; "random": the list, rotated to start at a random candidate; "weighted": shuffled by weight;
            "fastest": sorted by the observed time to first byte.

    """

    candidates: list[Candidate | str]
    order: Order = "listed"


class Circuit(Table, frozen=True):
    """`[circuit]`: the circuit breaker of each candidate. Candidates with an open circuit are tried last.

    Attributes:
        failures: The number of failures in a row that opens a circuit; 0 turns circuits off.
        open_seconds: The time until an open circuit is probed; doubled by each failed probe, up to `max_open_seconds`.

    """

    failures: Annotated[int, Bound(least=0, most=1_000_000, remedy="0 turns circuits off")] = 5
    open_seconds: Seconds = 30.0
    max_open_seconds: Seconds = 600.0


class Hedge(Table, frozen=True):
    """`[hedge]`: a second attempt if the first byte is late; the first response wins. Off by default.

    Attributes:
        percentile: The quantile (such as 0.95) of the candidate's times to first byte after which a first byte is late;
            None turns hedging off.
        min_ms: The shortest time before a second attempt.
        min_samples: The number of times to first byte from which a quantile is computed at all.

    """

    percentile: Annotated[float, Bound(above=0, below=1, remedy="without it nothing is hedged")] | None = None
    min_ms: Annotated[float, Bound(least=0, most=3_600_000)] = 100.0
    min_samples: Annotated[int, Bound(least=1, most=1_000_000)] = 20


class Requests(Table, frozen=True):
    """`[requests]`: overrides that a request may set itself: the URL that it is sent to, and keys by name."""

    override_url: bool = False
    api_keys: bool = False


class Usage(Table, frozen=True):
    """`[usage]`: how token counts are learned.

    Attributes:
        ask: Adds `include_usage` to streamed chat requests that have no `stream_options`.
        drain_seconds: Time for which a response is read on after its client has left; 0 cancels the request upstream.

    """

    ask: bool = True
    drain_seconds: Annotated[float, Bound(least=0, most=3600)] = 0.0


class Translation(Table, frozen=True):
    """`[translation]`: requests for providers of another dialect.

    `lossy`: whether a request with images, sounds or files that the provider's dialect has no place for is refused, or
    is sent without them.
    """

    lossy: Literal["refuse", "drop"] = "refuse"


class Capture(Table, frozen=True):
    """`[capture]`: the content that the store and the collector get; `*_bytes` limit one content attribute."""

    store: CaptureMode = "full"
    otlp: CaptureMode = "truncated"
    store_bytes: Annotated[int, Bound(least=0, most=PIB)] = 8 * MIB
    otlp_bytes: Annotated[int, Bound(least=0, most=PIB)] = 2000


class Redacted(Table, frozen=True):
    """`[redaction]`: the built-in kinds and the patterns (RE2, by name) that are redacted from everything recorded."""

    builtin: list[Builtin] = []
    patterns: dict[str, str] = {}


class Otlp(Table, frozen=True):
    """`[otlp]`: the vocabulary of exported spans: GenAI conventions, those of 1.37, OpenInference, or `llm.*`."""

    vocabulary: VocabularyName = "gen-ai"


class Store(Table, frozen=True):
    """`[store]`: limits at which a journal is sealed, and the retention of segments."""

    rotate_bytes: Bytes = 32 * MIB
    rotate_seconds: Seconds = 600.0
    grace_seconds: Grace = 60.0
    max_age_days: Annotated[float, Bound(above=0, most=36_600, remedy=_KEEP)] | None = None
    max_bytes: Annotated[int, Bound(least=1, most=PIB, remedy=_KEEP)] | None = None


class Limits(Table, frozen=True):
    """`[limits]`: the largest request body, and the time that streams in flight have to end on a stop.

    Each `body_rate` bytes of a request's body extend `timeouts.request_body` by a second.
    """

    body_bytes: Bytes = 256 * MIB
    body_rate: Bytes = 500
    drain_seconds: Grace = 5.0


class Sql(Table, frozen=True):
    """`[sql]`: limits of one query in the sandbox; `timeout` in seconds."""

    timeout: Seconds = 30.0
    memory_mb: Annotated[int, Bound(least=16, most=1024 * 1024)] = 1024
    max_rows: Annotated[int, Bound(least=1, most=1_000_000_000)] = 10_000


class Auth(Table, frozen=True):
    """`[auth]`: the gateway's token, for clients and pages below /-/. By default it is required off loopback only.

    `origins`: origins of web pages, such as `https://chat.example`, that may use the gateway's keys without a token,
    and read its responses (CORS). `pass_client_keys_to`: names of providers to which any client's key is sent,
    whichever maker it is for; other providers get the keys of their own maker only.
    """

    required: bool | None = None
    token: str | None = None
    origins: list[str] = []
    pass_client_keys_to: list[str] = []

    def __repr__(self) -> str:
        """Keep the token out."""
        return f"<Auth required={self.required}>"


class Config(Table, frozen=True):
    """The whole file.

    Attributes:
        default_timeout: Seconds for one attempt, from its first byte to its last.
        host: The address to listen on; `--host` wins.
        port: The port to listen on; `--port` wins.
        dotenv: Whether the `.env` beside each configuration file is read.
        api_keys: Keys by name, for candidates.

    """

    default_timeout: Seconds = 600.0
    host: str = "127.0.0.1"
    port: Annotated[int, Bound(least=0, most=65_535)] = 4000
    dotenv: bool = True
    timeouts: Timeouts = Timeouts()
    tls: Tls = Tls()
    retry: RetryPolicy = RetryPolicy()
    providers: dict[str, Provider] = {}
    aliases: dict[str, Alias] = {}
    api_keys: dict[str, str] = {}
    circuit: Circuit = Circuit()
    hedge: Hedge = Hedge()
    requests: Requests = Requests()
    usage: Usage = Usage()
    translation: Translation = Translation()
    capture: Capture = Capture()
    redaction: Redacted = Redacted()
    otlp: Otlp = Otlp()
    store: Store = Store()
    limits: Limits = Limits()
    sql: Sql = Sql()
    auth: Auth = Auth()

    def __repr__(self) -> str:
        """Leave out keys."""
        return f"<Config providers={sorted(self.providers)} aliases={sorted(self.aliases)}>"


VARIABLE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def expand(value: Any, environ: Mapping[str, str], path: str = "$") -> Any:
    """Return `value` with every `${env:NAME:-default}` in its strings expanded. Raises ConfigError, naming the path."""
    if isinstance(value, str):

        def replace(match: re.Match[str]) -> str:
            name, default = match.group(1), match.group(2)
            found = environ.get(name) or default
            if found is None:
                raise ConfigError(
                    f"{path}: the environment variable {name} is not set; set it, or write ${{env:{name}:-default}}"
                )
            return found

        return VARIABLE.sub(replace, value)
    if isinstance(value, dict):
        return {key: expand(item, environ, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, environ, f"{path}[{index}]") for index, item in enumerate(value)]
    return value


def build(raw: Mapping[str, Any]) -> Config:
    """Return the configuration of expanded tables. Raises ConfigError, which begins with the wrong value's path."""
    config = convert(raw, Config)
    if wrong := problem(config):
        raise ConfigError(wrong)
    return config


def parse(text: str, environ: Mapping[str, str], source: str) -> Config:
    """Return the configuration in `text`. Raises ConfigError, which names `source`, the path in it and the remedy."""
    try:
        return build(expand(tomllib.loads(text), environ))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def problem(config: Config) -> str | None:
    """Return the first value out of bounds as a message that begins with its path; None if all are valid."""
    if wrong := out_of_bounds(config):
        return wrong
    for name, pattern in config.redaction.patterns.items():
        if not _NAME.fullmatch(name):
            return f"$.redaction.patterns.{name}: a name is lower-case letters, digits, - and _"
        try:
            compiled(pattern)
        except PatternError as error:
            return f"$.redaction.patterns.{name}: {error}"
    prefixes: dict[str, str] = {}
    for name, provider in config.providers.items():
        path = f"$.providers.{name}"
        if not _NAME.fullmatch(name):
            return f"{path}: a provider's name is lower-case letters, digits, - and _"
        if provider.prefix is not None:
            other = prefixes.setdefault(provider.prefix, name)
            if other != name:
                return f"{path}.prefix {provider.prefix!r} is also the prefix of $.providers.{other}; choose another"
    return None
