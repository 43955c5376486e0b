"""The taxonomy of errors: the kind of each status, and what each kind means for clients and retries."""

import pytest

from gateway.errors import FACTS, ConfigError, ExchangeError, GatewayError, Kind, kind_of_status

KINDS = {
    **dict.fromkeys((200, 204, 302, 399), None),
    **dict.fromkeys((400, 404, 405, 406, 413, 415, 422, 431), Kind.BAD_INPUT),
    **dict.fromkeys((401, 403), Kind.AUTH),
    402: Kind.CREDITS,
    429: Kind.RATE_LIMIT,
    **dict.fromkeys((407, 408, 409, 410, 418, 425, 499), Kind.PERMANENT),
    501: Kind.UNSUPPORTED,
    **dict.fromkeys((500, 502, 503, 504, 529), Kind.SERVER),
}
RETRYABLE = {
    Kind.SERVER: 503,
    Kind.SENDING: 502,
    Kind.PARSING: 502,
    Kind.CLOSED: 502,
    Kind.RATE_LIMIT: 429,
    Kind.GENERIC: 500,
}
FINAL = {
    Kind.TIMEOUT: 504,
    Kind.PERMANENT: 500,
    Kind.BAD_INPUT: 422,
    Kind.AUTH: 401,
    Kind.CREDITS: 402,
    Kind.NOT_FOUND: 404,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED: 501,
}
MAY_PASS = {*RETRYABLE, Kind.TIMEOUT, Kind.PERMANENT}


@pytest.mark.parametrize(("status", "kind"), KINDS.items())
def test_the_kind_of_a_status(status: int, kind: Kind | None):
    """Each status of a provider has its kind; a success has none."""
    assert kind_of_status(status) is kind


@pytest.mark.parametrize("kind", Kind)
def test_the_facts_of_a_kind(kind: Kind):
    """Each kind has a status, is retryable or not, and has a name in both families."""
    fact = kind.fact
    assert (fact.retryable, fact.status) == ((True, RETRYABLE[kind]) if kind in RETRYABLE else (False, FINAL[kind]))
    assert fact.final is (kind not in MAY_PASS)
    assert fact.openai
    assert fact.anthropic


def test_every_kind_has_facts():
    """The table is complete."""
    assert set(FACTS) == set(Kind) == {*RETRYABLE, *FINAL}


def test_an_exchange_error_has_the_defaults_of_its_kind():
    """Status and code are the kind's unless they are given."""
    error = ExchangeError(Kind.TIMEOUT, "late")
    assert (error.status, error.code, error.message, str(error)) == (504, "timeout", "late", "late")
    error = ExchangeError(Kind.TIMEOUT, "late", status=408, code="request_timeout")
    assert (error.status, error.code) == (408, "request_timeout")


@pytest.mark.parametrize("kind", [ConfigError, ExchangeError])
def test_all_errors_have_one_root(kind: type[Exception]):
    """Every error that the package raises on purpose is a GatewayError."""
    assert issubclass(kind, GatewayError)
