"""Where a request without options leads: the route to its first candidate."""

import random
from collections.abc import Mapping

from gateway.choosing import candidates
from gateway.config import Config
from gateway.dialects.edit import Peek
from gateway.options import NONE
from gateway.providers.table import Provider
from gateway.routing import Place, Route, choose
from gateway.setup import Setup


def first(where: Place, seen: Peek, providers: Mapping[str, Provider]) -> Route:
    """Return the route; raises ExchangeError where there is none."""
    setup = Setup(config=Config(), providers=providers, aliases={}, keys={})
    candidate, *_ = candidates(where, seen, NONE, setup, lambda _: None, random.Random(0))
    return choose(where, seen, candidate.provider, candidate.model)
