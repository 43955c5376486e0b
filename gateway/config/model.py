"""`gateway.toml`: what can be set, its defaults, and errors that name the path of a wrong value.

No file is needed. Values may say `${env:NAME}` or `${env:NAME:-default}`. Secrets live in fields named `api_key` and
`token`, which `repr` never shows.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from gateway.config.retry import RetryPolicy, policy_problem
from gateway.config.validation import convert
from gateway.errors import ConfigError
from gateway.redaction import Builtin, PatternError, compiled

DialectName: TypeAlias = str
"""A dialect of `dialects.registry`; `providers.table` refuses any other."""

CaptureMode = Literal["full", "truncated", "metadata", "off"]
VocabularyName = Literal["gen-ai", "gen-ai-1.37", "openinference", "llm"]
Order = Literal["listed", "random", "weighted", "fastest"]

MIB = 1024 * 1024


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file; unknown keys are errors."""


class Timeouts(Table, frozen=True):
    """Seconds. `first_byte` is bounded by `default_timeout` where it is not set."""

    connect: float = 10.0
    first_byte: float | None = None
    idle: float = 300.0


class Provider(Table, frozen=True):
    """`[providers.NAME]`: where requests go. For a built-in name, what is not set keeps its built-in value.

    Attributes:
        base_url: With or without a trailing `/v1`; requests are sent below it.
        dialect: What it speaks, one name or a list.
        api_key: Replaces the client's own key.
        api_keys: Several of them, used in turn; one that was rate limited rests.
        prefix: A model `prefix + name` is sent here as `name`.
        headers: Added to every request, or replacing the client's.
        timeout: Seconds for one attempt as a whole, instead of `default_timeout`.
        stream_usage: Whether it takes `stream_options.include_usage` (needed for exact usage of chat streams).

    """

    base_url: str | None = None
    dialect: DialectName | list[DialectName] | None = None
    api_key: str | None = None
    api_keys: list[str] = []
    prefix: str | None = None
    headers: dict[str, str] = {}
    timeout: float | None = None
    stream_usage: bool | None = None

    def __repr__(self) -> str:
        """Keys and headers may be secret."""
        return "<Provider>"


class Candidate(Table, frozen=True):
    """One of an alias's candidates.

    Attributes:
        model: As the provider knows it; without a `provider`, as a request would name it, which may be another alias.
        provider: Its name.
        api_key_name: Which of `[api_keys]` is shown to the provider, instead of the provider's own.
        weight: How often it is taken first, beside the others, where the alias's order is "weighted".

    """

    model: str
    provider: str | None = None
    api_key_name: str | None = None
    weight: float = 1.0


class Alias(Table, frozen=True):
    """`[aliases.NAME]`: a model's name that stands for candidates, tried one after the other.

    Attributes:
        candidates: Tables as above, or models as a request would name them (`"openai/gpt-5.4-mini"`).
        order: "listed"; "random": begun at a random one; "weighted": shuffled by weight; "fastest": by the time to
            first byte that was observed.

    """

    candidates: list[Candidate | str]
    order: Order = "listed"


class Circuit(Table, frozen=True):
    """`[circuit]`: when a candidate that keeps failing is put behind the others, and when it is probed again.

    Attributes:
        failures: In a row, until it opens; 0 turns circuits off.
        open_seconds: Until it is probed; each failed probe doubles that, up to `max_open_seconds`.

    """

    failures: int = 5
    open_seconds: float = 30.0
    max_open_seconds: float = 600.0


class Hedge(Table, frozen=True):
    """`[hedge]`: a second attempt where the first byte is late; the one that answers first wins. Off by default.

    Attributes:
        percentile: Late is later than this part (0.95) of the candidate's attempts so far; None turns hedging off.
        min_ms: Never hedge earlier than this.
        min_samples: Attempts that must have been seen before.

    """

    percentile: float | None = None
    min_ms: float = 100.0
    min_samples: int = 20


class Requests(Table, frozen=True):
    """`[requests]`: what a request may say for itself beyond its model: where it is sent, and with which key."""

    override_url: bool = False
    api_keys: bool = False


class Usage(Table, frozen=True):
    """`[usage]`: `ask` adds `include_usage` to chat streams whose client said nothing of `stream_options`."""

    ask: bool = True


class Capture(Table, frozen=True):
    """`[capture]`: how much content each sink gets; the `_bytes` bound one content attribute."""

    store: CaptureMode = "full"
    otlp: CaptureMode = "truncated"
    store_bytes: int = 8 * MIB
    otlp_bytes: int = 2000


class Redacted(Table, frozen=True):
    """`[redaction]`: what is taken out of all that is kept: kinds that are known, and patterns (RE2) by their names."""

    builtin: list[Builtin] = []
    patterns: dict[str, str] = {}


class Otlp(Table, frozen=True):
    """`[otlp]`: under which names spans are sent (today's GenAI conventions, those of 1.37, OpenInference, `llm.*`)."""

    vocabulary: VocabularyName = "gen-ai"


class Store(Table, frozen=True):
    """`[store]`: when a journal is sealed, and how long segments stay."""

    rotate_bytes: int = 32 * MIB
    rotate_seconds: float = 600.0
    grace_seconds: float = 60.0
    max_age_days: float | None = None
    max_bytes: int | None = None


class Limits(Table, frozen=True):
    """`[limits]`: the largest request body, and how long a stop waits for streams in flight."""

    body_bytes: int = 256 * MIB
    drain_seconds: float = 5.0


class Sql(Table, frozen=True):
    """`[sql]`: bounds of one query in the locked room."""

    timeout: float = 30.0
    memory_mb: int = 1024
    max_rows: int = 10_000


class Auth(Table, frozen=True):
    """`[auth]`: whether clients and /-/ pages need `token`. Not said: needed off loopback only.

    `origins`: web pages, as `https://chat.example`, that may use the gateway's keys where no token is needed.
    """

    required: bool | None = None
    token: str | None = None
    origins: list[str] = []

    def __repr__(self) -> str:
        """Keep the token out."""
        return f"<Auth required={self.required}>"


class Config(Table, frozen=True):
    """The whole file.

    Attributes:
        default_timeout: In seconds, bounds one attempt from its first to its last byte.
        host: The address to listen on; `--host` wins.
        port: Likewise.
        dotenv: Whether the `.env` beside each configuration file is read.
        api_keys: Keys by name, for candidates.

    """

    default_timeout: float = 600.0
    host: str = "127.0.0.1"
    port: int = 4000
    dotenv: bool = True
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    providers: dict[str, Provider] = {}
    aliases: dict[str, Alias] = {}
    api_keys: dict[str, str] = {}
    circuit: Circuit = Circuit()
    hedge: Hedge = Hedge()
    requests: Requests = Requests()
    usage: Usage = Usage()
    capture: Capture = Capture()
    redaction: Redacted = Redacted()
    otlp: Otlp = Otlp()
    store: Store = Store()
    limits: Limits = Limits()
    sql: Sql = Sql()
    auth: Auth = Auth()

    def __repr__(self) -> str:
        """Keys are secret."""
        return f"<Config providers={sorted(self.providers)} aliases={sorted(self.aliases)}>"


VARIABLE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def expand(value: Any, environ: Mapping[str, str], path: str = "$") -> Any:
    """Return `value` with every `${env:NAME:-default}` in its strings replaced. Raises ConfigError, naming the path."""
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
    """Return the configuration in expanded tables. Raises ConfigError, which begins with the path of what is wrong."""
    config = convert(raw, Config)
    if wrong := problem(config):
        raise ConfigError(wrong)
    return config


def parse(text: str, environ: Mapping[str, str], source: str) -> Config:
    """Return the configuration in `text`. Raises ConfigError naming `source`, the path in it and what to change."""
    try:
        return build(expand(tomllib.loads(text), environ))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def problem(config: Config) -> str | None:
    """Return what is wrong though each value has the right type."""
    positive = {
        "$.default_timeout": config.default_timeout,
        "$.circuit.open_seconds": config.circuit.open_seconds,
        "$.circuit.max_open_seconds": config.circuit.max_open_seconds,
        "$.hedge.min_samples": config.hedge.min_samples,
        "$.timeouts.connect": config.timeouts.connect,
        "$.timeouts.idle": config.timeouts.idle,
        "$.limits.body_bytes": config.limits.body_bytes,
        "$.store.rotate_bytes": config.store.rotate_bytes,
        "$.store.rotate_seconds": config.store.rotate_seconds,
    }
    for path, value in positive.items():
        if not value > 0:
            return f"{path} must be more than 0, not {value}"
    if not 0 <= config.port <= 65535:
        return f"$.port must be from 0 to 65535, not {config.port}"
    if config.circuit.failures < 0:
        return f"$.circuit.failures must be 0 (off) or more, not {config.circuit.failures}"
    percentile = config.hedge.percentile
    if percentile is not None and not 0 < percentile < 1:
        return f"$.hedge.percentile must be between 0 and 1, not {percentile}"
    for name, alias in config.aliases.items():
        for index, each in enumerate(alias.candidates):
            if isinstance(each, Candidate) and not each.weight > 0:
                return f"$.aliases.{name}.candidates[{index}].weight must be more than 0, not {each.weight}"
    if wrong := policy_problem(config.retry):
        return f"$.retry.{wrong}"
    for name, pattern in config.redaction.patterns.items():
        if not _NAME.fullmatch(name):
            return f"$.redaction.patterns.{name}: a name is lower-case letters, digits, - and _"
        try:
            compiled(pattern)
        except PatternError as error:
            return f"$.redaction.patterns.{name}: {error}"
    prefixes: dict[str, str] = {}
    for name, provider in config.providers.items():
        where = f"$.providers.{name}"
        if not _NAME.fullmatch(name):
            return f"{where}: a provider's name is lower-case letters, digits, - and _"
        if provider.prefix is not None:
            other = prefixes.setdefault(provider.prefix, name)
            if other != name:
                return f"{where}.prefix {provider.prefix!r} is also the prefix of $.providers.{other}"
    return None
