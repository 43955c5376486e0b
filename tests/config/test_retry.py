"""The retry policy: its defaults, the forms of its increase, and the bounds of each value."""

import pytest

from gateway.config.model import parse
from gateway.config.retry import TRIES_MAX, Additive, Constant, Exponential, RetryPolicy, policy_problem

HOUR = 3_600_000.0


def test_the_defaults():
    """Four tries, from 200 ms on doubled up to 5 s, with 100 ms of jitter."""
    policy = RetryPolicy()
    assert (policy.max_tries, policy.initial_backoff, policy.jitter, policy.max_backoff) == (4, 200.0, 100.0, 5000.0)
    assert policy.increase == Exponential(multiplier=2.0)
    assert policy.fail_if_rate_limit_exceeds_max_backoff
    assert policy_problem(policy) is None


@pytest.mark.parametrize(
    ("toml", "increase"),
    [
        ('"constant"', "constant"),
        ('{type = "constant"}', Constant()),
        ('{type = "exponential"}', Exponential()),
        ('{type = "exponential", multiplier = 3.0}', Exponential(multiplier=3.0)),
        ('{type = "additive", amount = 5.0}', Additive(amount=5.0)),
    ],
)
def test_the_forms_of_an_increase(toml, increase):
    """An increase is one of three tables, or the word `constant`."""
    assert parse(f"[retry]\nincrease = {toml}", {}, "a.toml").retry.increase == increase


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [("max_tries", 1, TRIES_MAX), ("initial_backoff", 0, HOUR), ("jitter", 0, HOUR), ("max_backoff", 0, HOUR)],
)
def test_the_bounds_of_a_value(field, low, high):
    """Each value may be from its lowest to its highest, and a problem names the field."""
    for value in (low, high):
        assert policy_problem(RetryPolicy(**{field: value})) is None
    for value in (low - 1, high + 1):
        assert (policy_problem(RetryPolicy(**{field: value})) or "").startswith(f"{field} must be from {low} to ")


@pytest.mark.parametrize(
    ("kind", "field", "low", "high"), [(Exponential, "multiplier", 1, 1000), (Additive, "amount", 0, HOUR)]
)
def test_the_bounds_of_an_increase(kind, field, low, high):
    """The value of an increase has bounds, too."""
    for value in (low, high):
        assert policy_problem(RetryPolicy(increase=kind(**{field: value}))) is None
    for value in (low - 0.5, high + 1):
        problem = policy_problem(RetryPolicy(increase=kind(**{field: value})))
        assert (problem or "").startswith(f"increase.{field} must be from {low} to ")
