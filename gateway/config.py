"""`gateway.toml`: what can be set, its defaults, and errors that name the path of a wrong value.

No file is needed. Values may say `${env:NAME}` or `${env:NAME:-default}`. Secrets live in fields named `api_key` and
`token`, which `repr` never shows.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from gateway.errors import ConfigError
from gateway.retry import RetryPolicy

DialectName = Literal["openai-chat", "openai-responses", "anthropic-messages", "gemini", "ollama", "bedrock-converse"]
CaptureMode = Literal["full", "truncated", "metadata", "off"]

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
        prefix: A model `prefix + name` is sent here as `name`.
        headers: Added to every request, or replacing the client's.
        timeout: Seconds for one attempt as a whole, instead of `default_timeout`.
        stream_usage: Whether it takes `stream_options.include_usage` (needed for exact usage of chat streams).

    """

    base_url: str | None = None
    dialect: DialectName | list[DialectName] | None = None
    api_key: str | None = None
    prefix: str | None = None
    headers: dict[str, str] = {}
    timeout: float | None = None
    stream_usage: bool | None = None

    def __repr__(self) -> str:
        """Keys and headers may be secret."""
        return "<Provider>"


class Usage(Table, frozen=True):
    """`[usage]`: `ask` adds `include_usage` to chat streams whose client said nothing of `stream_options`."""

    ask: bool = True


class Capture(Table, frozen=True):
    """`[capture]`: how much content each sink gets; the `_bytes` bound one content attribute."""

    store: CaptureMode = "full"
    otlp: CaptureMode = "truncated"
    store_bytes: int = 8 * MIB
    otlp_bytes: int = 2000


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
    """The whole file. `default_timeout`, in seconds, bounds one attempt from its first to its last byte."""

    default_timeout: float = 600.0
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    providers: dict[str, Provider] = {}
    usage: Usage = Usage()
    capture: Capture = Capture()
    store: Store = Store()
    limits: Limits = Limits()
    sql: Sql = Sql()
    auth: Auth = Auth()


_VARIABLE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]+)`")
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

        return _VARIABLE.sub(replace, value)
    if isinstance(value, dict):
        return {key: expand(item, environ, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, environ, f"{path}[{index}]") for index, item in enumerate(value)]
    return value


def parse(text: str, environ: Mapping[str, str], source: str) -> Config:
    """Return the configuration in `text`. Raises ConfigError naming `source`, the path in it and what to change."""
    try:
        raw = expand(tomllib.loads(text), environ)
        config = msgspec.convert(raw, Config)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_with_suggestion(str(error))}") from None
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    problem = _problem(config)
    if problem:
        raise ConfigError(f"{source}: {problem}")
    return config


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read the file at `path`, or give the defaults for None. Raises ConfigError."""
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return parse(text, environ, str(path))


def _with_suggestion(message: str) -> str:
    """Add the nearest known key to msgspec's word on an unknown one."""
    match = _UNKNOWN_FIELD.search(message)
    if match is None:
        return message
    known = [field for table in Table.__subclasses__() for field in table.__struct_fields__]
    known += RetryPolicy.__struct_fields__
    near = difflib.get_close_matches(match.group(1), known, n=1)
    return f"{message}; did you mean `{near[0]}`?" if near else message


def _problem(config: Config) -> str | None:
    """Return what is wrong though each value has the right type."""
    positive = {
        "$.default_timeout": config.default_timeout,
        "$.timeouts.connect": config.timeouts.connect,
        "$.timeouts.idle": config.timeouts.idle,
        "$.limits.body_bytes": config.limits.body_bytes,
        "$.store.rotate_bytes": config.store.rotate_bytes,
        "$.store.rotate_seconds": config.store.rotate_seconds,
    }
    for path, value in positive.items():
        if not value > 0:
            return f"{path} must be more than 0, not {value}"
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
