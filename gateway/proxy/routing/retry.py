"""The retry policy as pure functions: whether to try again, on which candidate, and when. Times are seconds.

The rules and defaults are those of the Rust LLM proxy whose API the gateway supports (`dialects/`).

With several candidates any failure moves on to the next at once; when the list has come round to where it started, and
with one candidate, only retryable kinds are tried again, after a backoff.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

from msgspec import Struct

from gateway.config.retry import Additive, Exponential, RetryPolicy
from gateway.dialects.registry import TABLES
from gateway.dialects.shared import rate_limits
from gateway.errors import Kind

STALE = "stale connection"
"""The reason of an attempt that follows one on a kept connection which was closed."""


class Ended(Struct, frozen=True, kw_only=True):
    """The failure of an attempt.

    Attributes:
        retry_after: Seconds the provider asked to wait.
        relayed: Whether the client has had a byte: then nothing can be tried again.
        should_retry: What the provider's `x-should-retry` is, None if it has none.
        stale: Whether a kept connection was closed as the request was written to it: no failure of the provider's.

    """

    kind: Kind
    retry_after: float | None = None
    relayed: bool = False
    should_retry: bool | None = None
    stale: bool = False


class Stop(Struct, frozen=True):
    """Give the client this failure. `reason` is for people."""

    reason: str


class Again(Struct, frozen=True, kw_only=True):
    """Try again after `wait` seconds. `reason`: of the attempt, as its span has it.

    `moves`: how many candidates further in the list that is; 0: the same one, with another key or connection.
    """

    moves: int
    wait: float
    reason: str


def next_step(
    ended: Ended,
    *,
    tries: int,
    position: int,
    rests: Sequence[float],
    policy: RetryPolicy,
    jitter: float,
    other_key: bool = False,
) -> Stop | Again:
    """Return the next step after a failed attempt.

    `tries`: attempts made so far, at least 1. `position`: of the failed one, if the list of candidates were repeated
    without end. `rests`: for each candidate the seconds for which it asked not to be tried, 0 for none; a server
    error's are bounded by `max_backoff` already, since it may pass sooner. `jitter`: a random number from
    0 to 1. `other_key`: the candidate has another key that may do.
    """
    if ended.relayed:
        return Stop("the client has had a part of the response")
    if tries >= policy.max_tries:
        return Stop(f"{tries} tries were made")
    if ended.stale:
        return Again(moves=0, wait=0.0, reason=STALE)
    why, count = ended.kind.value, len(rests)
    if other_key:
        return Again(moves=0, wait=0.0, reason=f"another key after {why}")
    if position + 1 < count:
        return Again(moves=1, wait=0.0, reason=f"fallback after {why}")
    if ended.should_retry is False:
        return Stop("the provider asked not to retry")
    if not ended.kind.fact.retryable and ended.should_retry is not True:
        return Stop(f"{why} does not get better by trying again")
    wait, longest = backoff(policy, position - count + 2, jitter), policy.max_backoff / 1000
    to_come = [(moves, rests[(position + moves) % count]) for moves in range(1, count + 1)]
    soonest = min(to_come, key=lambda each: each[1])
    # Times are differences of a clock's, and not quite exact.
    moves, rest = next((each for each in to_come if each[1] <= longest + 1e-6), soonest)
    if rest > longest + 1e-6 and policy.fail_if_rate_limit_exceeds_max_backoff:
        return Stop(f"the provider asked to wait {rest:g} s, longer than max_backoff")
    again = "retry" if count == 1 else "another round"
    return Again(moves=moves, wait=max(wait, rest), reason=f"{again} after {why}")


def backoff(policy: RetryPolicy, failures: int, jitter: float) -> float:
    """Return the seconds to wait after the n-th failure (from 1) that is waited for."""
    increase = policy.increase
    steps = max(failures - 1, 0)
    if isinstance(increase, Exponential):
        # A float overflows at some 1000 doublings; the cap is reached long before.
        wait = policy.initial_backoff * increase.multiplier ** min(steps, 64)
    elif isinstance(increase, Additive):
        wait = policy.initial_backoff + increase.amount * steps
    else:
        wait = policy.initial_backoff
    return max(0.0, min(wait + policy.jitter * jitter, policy.max_backoff)) / 1000


_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
# What is longer than this is no rate limit's wait but nonsense, or a clock that is wrong.
_ABSURD = 366 * 86400.0


def retry_after(
    headers: Mapping[str, str], now: float, *, resets: bool = True, in_body: float | None = None
) -> float | None:
    """Return the seconds a provider asks to wait, from headers by lower-case name; None if they have nothing usable.

    In order: `retry-after-ms`, `retry-after` (seconds or a date), the wait in the body (`in_body`), then, with
    `resets`, the reset times of those rate limits that have nothing left, as the endpoints name their headers. The
    latest of these counts, since all must have something again. A date that has passed is 0.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return _sane(float(milliseconds) / 1000)
    text = headers.get("retry-after", "").strip()
    if _NUMBER.fullmatch(text):
        return _sane(float(text))
    if text and (date := _http_date(text)) is not None:
        return _sane(max(0.0, date - now))
    if in_body is not None:
        return _sane(in_body)
    if not resets:
        return None
    known = [time for time in rate_limits.resets(headers, TABLES.rate_limits, now) if _sane(time) is not None]
    return max(known, default=None)


def _sane(seconds: float) -> float | None:
    return seconds if 0.0 <= seconds <= _ABSURD else None


def _http_date(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        # The older forms of an HTTP date have no zone; all are in GMT.
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
