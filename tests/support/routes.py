"""Where a request without options leads: the route to its first candidate."""

import random
from collections.abc import Mapping

from gateway.config.model import Config
from gateway.dialects.wire.edit import Peek
from gateway.providers.route import Route
from gateway.providers.table import Provider
from gateway.proxy.routing.request_options import NONE
from gateway.proxy.routing.routes import ParsedPath, choose
from gateway.proxy.routing.runtime import RuntimeConfig
from gateway.proxy.routing.select import candidates

ANTHROPICS = ((b"Anthropic-Version", b"2023-06-01"),)
"""The header by which a client of Anthropic's is known."""


def first(where: ParsedPath, seen: Peek, providers: Mapping[str, Provider]) -> Route:
    """Return the route; raises ExchangeError where there is none."""
    setup = RuntimeConfig(config=Config(), providers=providers, aliases={}, keys={})
    candidate, *_ = candidates(where, seen, NONE, setup, lambda _: None, random.Random(0))
    return choose(where, seen, candidate.provider, candidate.model)
