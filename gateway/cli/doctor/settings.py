"""The user's configuration on loopback: every provider is the scripted one, every key a canary. Pure.

What decides about leaks is kept as it is: `[capture]`, `[redaction]`, `[otlp]`, `[requests]`, `[auth]`, `[usage]`, who
has a key of his own. What would make a run slow, or one request depend on another, is not: retries are quick and there
is one, circuits and hedging are off, nothing is removed from the store.
"""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from gateway.cli.doctor.canaries import Cage
from gateway.cli.litellm import toml
from gateway.config.model import Capture, Config, DialectName
from gateway.dialects.registry import WRITERS
from gateway.providers.catalog import CATALOG
from gateway.providers.table import Provider
from gateway.proxy.routing.runtime import RuntimeConfig
from gateway.store.otlp.exporter import content_wanted, wanted
from gateway.tracing.capture import least_capture

DIALECTS: dict[DialectName, str] = {
    "openai-chat": "doctor-chat",
    "openai-responses": "doctor-responses",
    "anthropic-messages": "doctor-messages",
    "gemini": "doctor-gemini",
    "ollama": "doctor-ollama",
    "bedrock-converse": "doctor-converse",
}
"""Providers without a key of ours, by what they speak."""
KEYED, NAMED, NOBODY, TLS, SLOW = "doctor-keyed", "doctor-named", "doctor-nobody", "doctor-tls", "doctor-slow"
SIGNED = "aws-bedrock"
"""It is shown a signature, by credentials of the environment, where the configuration has no key for it."""

SLOW_SECONDS = 0.4

# What a process needs to run at all.
_OF_THE_SYSTEM = ("LC_", "PYTHON", "DYLD_", "LD_")
_KEPT = frozenset({"PATH", "LANG", "TZ", "VIRTUAL_ENV", "SYSTEMROOT"})


class Places(Struct, frozen=True, kw_only=True):
    """Where everything listens: URLs without a slash at the end. `home`: a folder that is empty."""

    provider: str
    collector: str
    nobody: str
    home: str


class Setting(Struct, frozen=True, kw_only=True):
    """What the gateway is run with, and what the paths need to know of it.

    Attributes:
        environ: Its whole environment.
        token: Its own token.
        required: Whether requests need it.
        driven: The configuration's own providers that are tried, each with a dialect that it speaks.
        capture: How much each sink may have, the conventions' own switch included.
        exports: Whether spans go to the collector; `measures`: whether metrics do.

    """

    toml: str
    environ: Mapping[str, str]
    token: str
    required: bool
    driven: tuple[tuple[str, DialectName], ...]
    aliases: tuple[str, ...]
    capture: Capture
    exports: bool
    measures: bool
    override_url: bool
    api_keys: bool

    def __repr__(self) -> str:
        """Keep the canaries out."""
        return f"<Setting {self.capture}>"


def on_loopback(
    setup: RuntimeConfig, environ: Mapping[str, str], cage: Cage, places: Places, *, token_needed: bool
) -> Setting:
    """Return the configuration as doctor runs it. `environ`: the process's own and what `.env` files say."""
    config = setup.config
    child = _environment(environ, cage, places)
    tables: dict[str, Any] = msgspec.to_builtins(config)
    tables["providers"] = providers = {}
    driven: list[tuple[str, DialectName]] = []
    for name, provider in setup.providers.items():
        if name == "demo":
            continue
        providers[name] = _moved(provider, config, cage, places)
        if provider.environment_key and not providers[name]["api_key"] and not providers[name]["api_keys"]:
            variable = CATALOG[name].key_variables[0]
            child[variable] = cage.secret(f"the environment's key of the provider {name} ({variable})")
        own = [each for each in WRITERS if each in provider.dialects]
        if own and (name in config.providers or provider.environment_key):
            driven.append((name, own[0]))
    providers |= _ours(cage, places)
    providers.setdefault(SIGNED, {"base_url": f"{places.provider}/{SIGNED}"})
    tables["api_keys"] = {name: cage.secret(f"$.api_keys.{name}") for name in (*config.api_keys, "doctor")}
    named = {"candidates": [{"provider": DIALECTS["openai-chat"], "model": "m", "api_key_name": "doctor"}]}
    tables["aliases"] |= {NAMED: named}
    token = cage.secret("the gateway's token", prefix="gw-")
    tables["auth"] |= {"required": token_needed, "token": token}
    tables |= {"host": "127.0.0.1", "port": 0, "dotenv": False, "default_timeout": 10.0}
    tables["timeouts"] = {"connect": 2.0, "idle": 5.0}
    tables["retry"] = {"max_tries": 2, "initial_backoff": 1.0, "jitter": 0.0, "max_backoff": 1000.0}
    tables["circuit"], tables["hedge"] = {"failures": 0}, {}
    tables["store"] |= {"max_age_days": None, "max_bytes": None, "grace_seconds": 60.0}
    tables["limits"]["drain_seconds"] = min(2.0, config.limits.drain_seconds)
    capture = config.capture
    if not content_wanted(child):
        capture = structs.replace(capture, otlp=least_capture(capture.otlp, "metadata"))
    return Setting(
        toml=toml.write(tables),
        environ=child,
        token=token,
        required=token_needed,
        driven=tuple(driven),
        aliases=tuple(config.aliases)[:_ALIASES],
        capture=capture,
        exports=wanted(child) and config.capture.otlp != "off",
        measures=wanted(child, "METRICS"),
        override_url=config.requests.override_url,
        api_keys=config.requests.api_keys,
    )


_ALIASES = 20
"""So many of the configuration's are tried."""


def _environment(environ: Mapping[str, str], cage: Cage, places: Places) -> dict[str, str]:
    """Return the child's: nothing of the user's that is a key, leads to one, or leads off this machine."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEPT
        or name.startswith(_OF_THE_SYSTEM)
        or (name.startswith("OTEL_") and not name.startswith("OTEL_EXPORTER_"))
    }
    return kept | {
        "HOME": places.home,
        "TMPDIR": places.home,
        "NO_PROXY": "*",
        "OTEL_EXPORTER_OTLP_ENDPOINT": places.collector,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={cage.secret('a key for the collector (OTEL_EXPORTER_OTLP_HEADERS)')}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        # Bedrock's credentials come from here, and from no file or service.
        "AWS_ACCESS_KEY_ID": "AKIADOCTOR0000000000",
        "AWS_SECRET_ACCESS_KEY": cage.secret("AWS_SECRET_ACCESS_KEY"),
        "AWS_SESSION_TOKEN": cage.secret("AWS_SESSION_TOKEN"),
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _moved(provider: Provider, config: Config, cage: Cage, places: Places) -> dict[str, Any]:
    """Return a provider's table with the scripted provider's address, and a canary in the place of each secret."""
    name = provider.name
    said: dict[str, Any] = msgspec.to_builtins(config.providers[name]) if name in config.providers else {}
    where = f"$.providers.{name}"
    keys = [cage.secret(f"{where}.api_keys[{index}]") for index, _ in enumerate(said.get("api_keys", ()))]
    # Google's own credentials would be asked for from Google.
    one = cage.secret(f"{where}.api_key") if said.get("api_key") or provider.key_sent == "google" else None
    headers = {each: cage.secret(f"{where}.headers.{each}") for each in said.get("headers", ())}
    below = "/v1/projects/p/locations/l/publishers/google" if provider.key_sent == "google" else ""
    return said | {"base_url": f"{places.provider}/{name}{below}", "api_key": one, "api_keys": keys, "headers": headers}


def _ours(cage: Cage, places: Places) -> dict[str, dict[str, Any]]:
    """Return doctor's own providers."""
    made: dict[str, dict[str, Any]] = {
        name: {"base_url": f"{places.provider}/{name}", "dialect": dialect} for dialect, name in DIALECTS.items()
    }
    made[KEYED] = {
        "base_url": f"{places.provider}/{KEYED}",
        "api_keys": [cage.secret("a provider's key ($.providers.NAME.api_keys)") for _ in range(2)],
        "headers": {"x-secret": cage.secret("a provider's header ($.providers.NAME.headers)")},
    }
    made[NOBODY] = {"base_url": places.nobody, "api_key": cage.secret("a provider's key ($.providers.NAME.api_key)")}
    made[TLS] = {
        "base_url": f"{places.provider}/{TLS}".replace("http:", "https:"),
        "api_key": cage.secret("a provider's key ($.providers.NAME.api_key)"),
    }
    made[SLOW] = {
        "base_url": f"{places.provider}/{SLOW}",
        "timeout": SLOW_SECONDS,
        "api_key": cage.secret("a provider's key ($.providers.NAME.api_key)"),
    }
    return made


def basic(password: str) -> str:
    """Return the value of an `Authorization` header that shows a password."""
    return "Basic " + base64.b64encode(f"doctor:{password}".encode()).decode()
