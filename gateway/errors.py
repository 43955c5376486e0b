"""The taxonomy of errors between a client and a provider.

    GatewayError
    |-- ConfigError            the configuration cannot work; names the setting and the remedy
    `-- ExchangeError          an exchange failed; has a Kind, and is sent to the client in its own dialect

A `Kind` has the HTTP status for the client if the provider sent none, whether a retry policy may try again, and the
error types of OpenAI's and Anthropic's APIs.
"""

from enum import Enum
from typing import NamedTuple


class Fact(NamedTuple):
    """Facts of an error kind.

    Attributes:
        status: The HTTP status for the client.
        retryable: Whether the policy tries again by itself.
        openai: Its type in OpenAI's family of APIs.
        anthropic: Its type in Anthropic's.
        final: Whether the same request fails again, however long a client waits; False if that is unknown.

    """

    status: int
    retryable: bool
    openai: str
    anthropic: str
    final: bool = False


class Kind(Enum):
    """An error kind; its value is the `outcome` of the attempt."""

    SERVER = "server"
    SENDING = "sending"
    PARSING = "parsing"
    CLOSED = "upstream_abort"
    RATE_LIMIT = "rate_limit"
    TIMEOUT = "timeout"
    PERMANENT = "permanent"
    BAD_INPUT = "bad_input"
    AUTH = "auth"
    CREDITS = "out_of_credits"
    GENERIC = "generic"
    NOT_FOUND = "not_found"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"

    @property
    def fact(self) -> Fact:
        """The facts of this kind."""
        return FACTS[self]


FACTS = {
    Kind.SERVER: Fact(503, True, "server_error", "api_error"),
    Kind.SENDING: Fact(502, True, "server_error", "api_error"),
    Kind.PARSING: Fact(502, True, "server_error", "api_error"),
    Kind.CLOSED: Fact(502, True, "server_error", "api_error"),
    Kind.RATE_LIMIT: Fact(429, True, "rate_limit_error", "rate_limit_error"),
    Kind.TIMEOUT: Fact(504, False, "timeout_error", "timeout_error"),
    Kind.PERMANENT: Fact(500, False, "server_error", "api_error"),
    Kind.BAD_INPUT: Fact(422, False, "invalid_request_error", "invalid_request_error", final=True),
    Kind.AUTH: Fact(401, False, "authentication_error", "authentication_error", final=True),
    Kind.CREDITS: Fact(402, False, "insufficient_quota", "billing_error", final=True),
    Kind.GENERIC: Fact(500, True, "server_error", "api_error"),
    Kind.NOT_FOUND: Fact(404, False, "invalid_request_error", "not_found_error", final=True),
    Kind.TOO_LARGE: Fact(413, False, "invalid_request_error", "request_too_large", final=True),
    Kind.UNSUPPORTED: Fact(501, False, "invalid_request_error", "invalid_request_error", final=True),
}

_BAD_INPUT = frozenset({400, 404, 405, 406, 413, 415, 422, 431})


def kind_of_status(status: int) -> Kind | None:
    """Return the error kind of a provider's HTTP status, None below 400. Source: chronicle's table, but for 501."""
    if status < 400:
        return None
    if status == 429:
        return Kind.RATE_LIMIT
    if status == 402:
        return Kind.CREDITS
    if status in {401, 403}:
        return Kind.AUTH
    if status == 501:
        return Kind.UNSUPPORTED
    if status in _BAD_INPUT:
        return Kind.BAD_INPUT
    return Kind.SERVER if status >= 500 else Kind.PERMANENT


class GatewayError(Exception):
    """Root of the exceptions that this package raises on purpose."""


class ConfigError(GatewayError):
    """The configuration cannot work; the message names the file, the path in it, and the remedy."""


class ExchangeError(GatewayError):
    """An exchange failed in the gateway; the message names the upstream and the setting, never a secret."""

    def __init__(self, kind: Kind, message: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status or kind.fact.status
        self.code = code or kind.value
