"""The `[retry]` table: how often an attempt is repeated, and how long to wait before each."""

from typing import Literal

from msgspec import Struct


class Constant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="constant"):
    """Each wait is the same."""


class Exponential(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="exponential"):
    """Each wait is the one before times `multiplier`."""

    multiplier: float = 2.0


class Additive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="additive"):
    """Each wait is the one before plus `amount` milliseconds."""

    amount: float


class RetryPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[retry]` table, with chronicle's defaults; times in milliseconds.

    Attributes:
        max_tries: The number of tries, the first one included.
        initial_backoff: The wait after the first failure.
        increase: {type = "exponential", multiplier = 2.0}, {type = "additive", amount = n}, or "constant", which may be
            written as a table too.
        jitter: A random part of it is added to each wait.
        max_backoff: No wait is longer.
        fail_if_rate_limit_exceeds_max_backoff: Whether to give up if the provider asks for a longer wait than that.

    """

    max_tries: int = 4
    initial_backoff: float = 200.0
    increase: Literal["constant"] | Constant | Exponential | Additive = Exponential()
    jitter: float = 100.0
    max_backoff: float = 5000.0
    fail_if_rate_limit_exceeds_max_backoff: bool = True


TRIES_MAX = 100
"""The upper bound of `max_tries`."""

# An hour, the upper bound of every wait.
_LONGEST_MS = 3_600_000.0


def policy_problem(policy: RetryPolicy) -> str | None:
    """Return the first value out of bounds as a message that begins with its field; None if all are valid."""
    if not 1 <= policy.max_tries <= TRIES_MAX:
        return f"max_tries must be from 1 to {TRIES_MAX}, not {policy.max_tries}"
    for name in ("initial_backoff", "jitter", "max_backoff"):
        if not 0 <= getattr(policy, name) <= _LONGEST_MS:
            return f"{name} must be from 0 to {_LONGEST_MS:g} ms, not {getattr(policy, name):g}"
    increase = policy.increase
    if isinstance(increase, Exponential) and not 1 <= increase.multiplier <= 1000:
        return f"increase.multiplier must be from 1 to 1000, not {increase.multiplier:g}"
    if isinstance(increase, Additive) and not 0 <= increase.amount <= _LONGEST_MS:
        return f"increase.amount must be from 0 to {_LONGEST_MS:g} ms, not {increase.amount:g}"
    return None
