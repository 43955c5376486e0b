"""What one configuration comes to, for tests of who is asked: providers, aliases and keys, without a socket."""

import random
from collections.abc import Mapping
from typing import Any

from gateway.config.model import parse
from gateway.dialects.wire.edit import Peek
from gateway.proxy.routing.aliases import Candidate, ordered
from gateway.proxy.routing.context import RequestContext, RuntimeConfig, build_runtime
from gateway.proxy.routing.request_options import NONE, Options
from gateway.proxy.routing.routes import ParsedPath, parse_path
from gateway.proxy.routing.select import select

OURS = "sk-ours-0123456789abcdef"
TOML = f"""
[api_keys]
mine = "{OURS}"
[providers.one]
base_url = "http://one.test/v1"
api_key = "{OURS}-one"
headers = {{x-team = "red"}}
[providers.two]
base_url = "http://two.test/v1"
api_keys = ["{OURS}-a", "{OURS}-b"]
[providers.three]
base_url = "http://three.test"
dialect = "anthropic-messages"
"""


def setup(more: str = "", toml: str = TOML, environ: Mapping[str, str] | None = None) -> RuntimeConfig:
    """Return the runtime configuration of a gateway.toml, and of an environment that is empty unless given."""
    return build_runtime(parse(toml + more, {}, "test.toml"), environ or {})


def placed(path: str, made: RuntimeConfig) -> ParsedPath:
    """Return what the path of a POST says."""
    return parse_path("POST", path, (), made.providers)


def chosen(
    made: RuntimeConfig,
    model: str | None = None,
    options: Options = NONE,
    path: str = "/v1/chat/completions",
    rng: random.Random | None = None,
    latency: Any = lambda _: None,
) -> tuple[Candidate, ...]:
    """Return the candidates of a request, in the order in which they are tried."""
    context = RequestContext(
        method="POST",
        path=placed(path, made),
        peeked=Peek(model=model, stream=False),
        options=options,
        runtime=made,
    )
    selected = select(context)
    return ordered(selected.candidates, selected.order, latency, rng or random.Random(0))


def names(found: tuple[Candidate, ...]) -> list[tuple[str, str | None]]:
    """Return the candidates as (provider, model)."""
    return [(each.provider.name, each.model) for each in found]
