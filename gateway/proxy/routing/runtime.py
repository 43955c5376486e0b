"""A configuration resolved for routing: its providers, aliases and keys. Immutable.

An exchange uses the one it began with, so that another can be published at any moment.
"""

from collections.abc import Collection, Mapping

from msgspec import Struct

from gateway.config.model import Config
from gateway.errors import ConfigError
from gateway.providers import table
from gateway.providers.table import Provider
from gateway.proxy.routing.aliases import CandidateList, resolve
from gateway.tracing.capture import CapturePolicy, policy_of


class RuntimeConfig(Struct, frozen=True, kw_only=True):
    """A configuration, and all that is looked up for a request."""

    config: Config
    capture_policy: CapturePolicy = CapturePolicy()
    providers: Mapping[str, Provider]
    aliases: Mapping[str, CandidateList]
    keys: Mapping[str, str]

    def __repr__(self) -> str:
        """Keep the keys out."""
        return f"<RuntimeConfig providers: {len(self.providers)}, aliases: {len(self.aliases)}>"


def build(
    config: Config, environ: Mapping[str, str], ours: Collection[str] = (), demo: str = "http://127.0.0.1:9"
) -> RuntimeConfig:
    """Resolve a configuration. Raises ConfigError, naming the path of what cannot work.

    `ours`: this gateway's own URLs, which no provider may have; `demo`: the demo provider's URL.
    """
    providers = table.build(config, environ, ours)
    providers["demo"] = table.demo(demo)
    keys = {}
    for name, value in config.api_keys.items():
        key = table.key_of(f"$.api_keys.{name}", value)
        if key is None:
            raise ConfigError(f"$.api_keys.{name} is empty; write the key, or ${{env:NAME}}")
        keys[name] = key
    return RuntimeConfig(
        config=config,
        capture_policy=policy_of(config),
        providers=providers,
        aliases=resolve(config.aliases, keys, providers),
        keys=keys,
    )
