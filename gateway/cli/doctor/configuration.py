"""The user's configuration on loopback: every upstream is the scripted provider, every key a canary. Pure.

Settings that decide about leaks stay: `[capture]`, `[redaction]`, `[otlp]`, `[requests]`, `[auth]`, `[usage]`, and
which provider has a key of its own. Settings that make a run slow, or one request depend on another, are replaced:
retries are quick and few, circuits and hedging are off, and the store removes nothing.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from gateway.cli.doctor.canaries import Canaries
from gateway.config.model import Capture, Config, DialectName
from gateway.dialects.registry import WRITERS
from gateway.providers.catalog import CATALOG
from gateway.providers.table import Provider
from gateway.proxy.routing.context import RuntimeConfig
from gateway.store.otlp.exporter import content_wanted, wanted
from gateway.tracing.capture import least_capture

DIALECTS: dict[DialectName, str] = {name: f"doctor-{name.rpartition('-')[2]}" for name in WRITERS}
"""Doctor's own providers without a key, by dialect."""
KEYED, NAMED, REFUSING, TLS, SLOW = "doctor-keyed", "doctor-named", "doctor-refusing", "doctor-tls", "doctor-slow"
SIGNED = "aws-bedrock"
"""The provider that is shown a signature, made with credentials of the environment."""

_SLOW_SECONDS = 0.4
_ALIASES_MAX = 20
_SYSTEM_PREFIXES = ("LC_", "PYTHON", "DYLD_", "LD_")
_SYSTEM_VARIABLES = frozenset({"PATH", "LANG", "TZ", "VIRTUAL_ENV", "SYSTEMROOT"})


class Addresses(Struct, frozen=True, kw_only=True):
    """URLs without a trailing slash: `refusing` has no listener. `home` is an empty folder."""

    provider: str
    collector: str
    refusing: str
    home: str


class LoopbackConfig(Struct, frozen=True, kw_only=True):
    """The configuration of the examined gateway, and what its requests depend on.

    Attributes:
        environ: Its whole environment.
        required: Whether clients must show `token`.
        providers: The user's own providers, each with a dialect of it.
        capture: What each sink may have; OpenTelemetry's own variable is applied.

    """

    toml: str
    environ: Mapping[str, str]
    token: str
    required: bool
    providers: tuple[tuple[str, DialectName], ...]
    aliases: tuple[str, ...]
    capture: Capture
    exports_spans: bool
    exports_logs: bool
    exports_metrics: bool
    override_url: bool
    api_keys: bool

    def __repr__(self) -> str:
        return f"<LoopbackConfig {self.capture}>"


def on_loopback(
    runtime: RuntimeConfig,
    environ: Mapping[str, str],
    canaries: Canaries,
    addresses: Addresses,
    *,
    token_required: bool,
) -> LoopbackConfig:
    """Return a configuration with loopback addresses and canaries. `environ`: the process's own, with `.env` files."""
    config = runtime.config
    child = _environment(environ, canaries, addresses)
    tables: dict[str, Any] = msgspec.to_builtins(config)
    tables["providers"] = providers = {}
    tables["tls"] = {}  # nothing here is reached by TLS or by a proxy
    own: list[tuple[str, DialectName]] = []
    for name, provider in runtime.providers.items():
        if name == "demo":
            continue
        providers[name] = _moved(provider, config, canaries, addresses)
        if provider.environment_key and not providers[name]["api_key"] and not providers[name]["api_keys"]:
            variable = CATALOG[name].key_variables[0]
            child[variable] = canaries.secret(f"the environment's key of the provider {name} ({variable})")
        dialect = next((each for each in WRITERS if each in provider.dialects), None)
        if dialect is not None and (name in config.providers or provider.environment_key):
            own.append((name, dialect))
    providers |= _doctors(canaries, addresses)
    providers.setdefault(SIGNED, {"base_url": f"{addresses.provider}/{SIGNED}"})
    tables["api_keys"] = {name: canaries.secret(f"$.api_keys.{name}") for name in (*config.api_keys, "doctor")}
    named = {"candidates": [{"provider": DIALECTS["openai-chat"], "model": "m", "api_key_name": "doctor"}]}
    tables["aliases"] |= {NAMED: named}
    token = canaries.secret("the gateway's token", prefix="gw-")
    tables["auth"] |= {"required": token_required, "token": token}
    tables |= {"host": "127.0.0.1", "port": 0, "dotenv": False, "default_timeout": 10.0}
    tables["timeouts"] = {"connect": 2.0, "idle": 5.0}
    tables["retry"] = {"max_tries": 2, "initial_backoff": 1.0, "jitter": 0.0, "max_backoff": 1000.0}
    tables["circuit"], tables["hedge"] = {"failures": 0}, {}
    tables["store"] |= {"max_age_days": None, "max_bytes": None, "grace_seconds": 60.0}
    tables["limits"]["drain_seconds"] = min(2.0, config.limits.drain_seconds)
    capture = config.capture
    if not content_wanted(child):
        capture = structs.replace(capture, otlp=least_capture(capture.otlp, "metadata"))
    return LoopbackConfig(
        toml="".join(f"{key} = {_inline(value)}\n" for key, value in tables.items() if value is not None),
        environ=child,
        token=token,
        required=token_required,
        providers=tuple(own),
        aliases=tuple(config.aliases)[:_ALIASES_MAX],
        capture=capture,
        exports_spans=wanted(child) and config.capture.otlp != "off",
        exports_logs=wanted(child, "LOGS") and config.capture.otlp != "off",
        exports_metrics=wanted(child, "METRICS"),
        override_url=config.requests.override_url,
        api_keys=config.requests.api_keys,
    )


def basic(password: str) -> str:
    """Return an `Authorization` header's value with a password."""
    return "Basic " + base64.b64encode(f"doctor:{password}".encode()).decode()


def _inline(value: Any) -> str:
    """Return an inline TOML value, which is JSON except for tables. A file for people is written by tomli-w."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_inline(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _environment(environ: Mapping[str, str], canaries: Canaries, addresses: Addresses) -> dict[str, str]:
    """Return the gateway's environment: no key of the user's, and no variable that leads off this machine."""
    passed = {
        name: value
        for name, value in environ.items()
        if name in _SYSTEM_VARIABLES
        or name.startswith(_SYSTEM_PREFIXES)
        or (name.startswith("OTEL_") and not name.startswith("OTEL_EXPORTER_"))
    }
    key = canaries.secret("a key for the collector (OTEL_EXPORTER_OTLP_HEADERS)")
    return passed | {
        "HOME": addresses.home,
        "TMPDIR": addresses.home,
        "NO_PROXY": "*",
        "OTEL_EXPORTER_OTLP_ENDPOINT": addresses.collector,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={key}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "AWS_ACCESS_KEY_ID": "AKIADOCTOR0000000000",
        "AWS_SECRET_ACCESS_KEY": canaries.secret("AWS_SECRET_ACCESS_KEY"),
        "AWS_SESSION_TOKEN": canaries.secret("AWS_SESSION_TOKEN"),
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _moved(provider: Provider, config: Config, canaries: Canaries, addresses: Addresses) -> dict[str, Any]:
    """Return a provider's table with the scripted provider's address and a canary for each secret."""
    name = provider.name
    table: dict[str, Any] = msgspec.to_builtins(config.providers[name]) if name in config.providers else {}
    path = f"$.providers.{name}"
    google = provider.key_sent == "google"  # without a key here, its credentials would be requested from Google
    return table | {
        "base_url": f"{addresses.provider}/{name}" + "/v1/projects/p/locations/l/publishers/google" * google,
        "api_key": canaries.secret(f"{path}.api_key") if table.get("api_key") or google else None,
        "api_keys": [canaries.secret(f"{path}.api_keys[{i}]") for i, _ in enumerate(table.get("api_keys", ()))],
        "headers": {each: canaries.secret(f"{path}.headers.{each}") for each in table.get("headers", ())},
    }


def _doctors(canaries: Canaries, addresses: Addresses) -> dict[str, dict[str, Any]]:
    """Return doctor's own providers."""

    def key() -> str:
        return canaries.secret("a provider's key ($.providers.NAME.api_key)")

    provider = addresses.provider
    return {
        **{name: {"base_url": f"{provider}/{name}", "dialect": dialect} for dialect, name in DIALECTS.items()},
        KEYED: {
            "base_url": f"{provider}/{KEYED}",
            "api_keys": [canaries.secret("a provider's key ($.providers.NAME.api_keys)") for _ in range(2)],
            "headers": {"x-secret": canaries.secret("a provider's header ($.providers.NAME.headers)")},
        },
        REFUSING: {"base_url": addresses.refusing, "api_key": key()},
        TLS: {"base_url": f"{provider}/{TLS}".replace("http:", "https:"), "api_key": key()},
        SLOW: {"base_url": f"{provider}/{SLOW}", "timeout": _SLOW_SECONDS, "api_key": key()},
    }
