"""The `[retry]` table: how often an attempt is repeated, and how long to wait before each."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Struct

from gateway.config.bounds import Bound, out_of_bounds

TRIES_MAX = 100
"""The upper bound of `max_tries`."""

Milliseconds: TypeAlias = Annotated[float, Bound(least=0, most=3_600_000)]
"""A wait of at most an hour."""


class Constant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="constant"):
    """Each wait is the same."""


class Exponential(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="exponential"):
    """Each wait is the one before times `multiplier`."""

    multiplier: Annotated[float, Bound(least=1, most=1000)] = 2.0


class Additive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="additive"):
    """Each wait is the one before plus `amount` milliseconds."""

    amount: Milliseconds


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

    max_tries: Annotated[int, Bound(least=1, most=TRIES_MAX)] = 4
    initial_backoff: Milliseconds = 200.0
    increase: Literal["constant"] | Constant | Exponential | Additive = Exponential()
    jitter: Milliseconds = 100.0
    max_backoff: Milliseconds = 5000.0
    fail_if_rate_limit_exceeds_max_backoff: bool = True


def policy_problem(policy: RetryPolicy) -> str | None:
    """Return the first value out of bounds as a message that begins with its field; None if all are valid.

    >>> policy_problem(RetryPolicy(increase=Additive(amount=-1.0)))
    'increase.amount must be from 0 to 3600000, not -1.0'
    """
    wrong = out_of_bounds(policy, "")
    return wrong.removeprefix(".") if wrong else None
