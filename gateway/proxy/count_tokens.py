"""Token counts for Anthropic's clients where the provider has no place to ask: estimated, and said to be. Pure."""

import msgspec

from gateway.dialects.anthropic.read_response import MESSAGES
from gateway.dialects.conversation import ChatResponse
from gateway.dialects.shared.token_estimate import estimate
from gateway.errors import ExchangeError, Kind
from gateway.providers.route import Route
from gateway.proxy.routing.routes import ParsedPath

HEADER = {"x-gateway-usage": "estimated"}


def counts(method: str, where: ParsedPath) -> bool:
    """Whether a request asks for a count."""
    return method == "POST" and where.path.rstrip("/").endswith("/messages/count_tokens")


def asked_for(method: str, where: ParsedPath, route: Route) -> bool:
    """Whether a request asks a provider to count that does not speak the dialect."""
    return counts(method, where) and "anthropic-messages" not in route.provider.dialects


def count(body: bytes | None) -> bytes:
    """Return how many tokens a request has, as the API says it. Raises ExchangeError where that cannot be told."""
    usage = estimate(MESSAGES.read_request(body or b""), ChatResponse())
    if usage.input_tokens is None:
        raise ExchangeError(
            Kind.BAD_INPUT,
            "The tokens of this request cannot be estimated: it has no messages, or parts that are no text.",
            status=400,
        )
    return msgspec.json.encode({"input_tokens": usage.input_tokens})
