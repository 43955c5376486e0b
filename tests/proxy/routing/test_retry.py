"""The retry policy: chronicle's rules, checked as properties of pure functions."""

import math
import time
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.config.retry import Additive, Exponential, RetryPolicy
from gateway.errors import Kind
from gateway.proxy.routing.retry import Again, Ended, Stop, backoff, next_step, retry_after
from tests.support.routing_model import RETRYABLE

NOW = 1_700_000_000.0

milliseconds = st.floats(0, 1e6)
policies = st.builds(
    RetryPolicy,
    max_tries=st.integers(1, 10),
    initial_backoff=milliseconds,
    increase=st.one_of(
        st.just("constant"),
        st.builds(Exponential, multiplier=st.floats(1, 10)),
        st.builds(Additive, amount=milliseconds),
    ),
    jitter=milliseconds,
    max_backoff=milliseconds,
    fail_if_rate_limit_exceeds_max_backoff=st.booleans(),
)
endings = st.builds(
    Ended,
    kind=st.sampled_from(Kind),
    retry_after=st.none() | st.floats(0, 1e6),
    relayed=st.booleans(),
    should_retry=st.none() | st.booleans(),
)
jitters = st.floats(0, 1)


@given(st.data(), policies, st.integers(1, 5))
def test_a_run_of_failures_keeps_every_bound(data, policy, candidates):
    """However attempts fail: never more than max_tries, never after a relayed byte, no wait beyond the rules."""
    limit = policy.max_backoff / 1000
    tries, position, rests = 0, 0, [0.0] * candidates
    while True:
        tries += 1
        assert tries <= policy.max_tries
        ended = data.draw(endings)
        if ended.retry_after is not None:
            limited = ended.kind is Kind.RATE_LIMIT
            rests[position % candidates] = ended.retry_after if limited else min(ended.retry_after, limit)
        other_key = data.draw(st.booleans())
        step = next_step(
            ended,
            tries=tries,
            position=position,
            rests=rests,
            policy=policy,
            jitter=data.draw(jitters),
            other_key=other_key,
        )
        if isinstance(step, Stop):
            break
        assert not ended.relayed
        if other_key or position + 1 < candidates:
            assert (step.wait, step.moves) == (0.0, int(not other_key))
        else:
            rest = rests[(position + step.moves) % candidates]
            assert 1 <= step.moves <= candidates
            assert rest <= step.wait <= max(limit, rest)
            to_come = [rests[(position + n) % candidates] for n in range(1, candidates + 1)]
            free = [n for n, each in enumerate(to_come, 1) if each <= limit + 1e-6]
            if free:
                assert step.moves == free[0]
            else:
                assert not policy.fail_if_rate_limit_exceeds_max_backoff
                assert rest == min(to_come)
        position += step.moves


@given(endings, policies, jitters)
def test_any_failure_moves_on_to_a_candidate_not_yet_tried_at_once(ended, policy, jitter):
    """In the first round of several candidates nothing is waited for, whatever the kind."""
    assume(not ended.relayed and policy.max_tries > 1)
    step = next_step(ended, tries=1, position=0, rests=[0.0] * 3, policy=policy, jitter=jitter)
    assert step == Again(moves=1, wait=0.0, reason=f"fallback after {ended.kind.value}")


@pytest.mark.parametrize("kind", list(Kind))
def test_one_candidate_is_tried_again_for_retryable_kinds_only(kind):
    """Server, connection, parsing, rate limit and unclassified are retried; input, auth, credits, timeout never."""
    step = next_step(Ended(kind=kind), tries=1, position=0, rests=[0.0], policy=RetryPolicy(), jitter=0.0)
    assert isinstance(step, Again) == (kind.value in RETRYABLE)


@pytest.mark.parametrize("tries", [1, 3, 4])
def test_a_stale_connection_is_replaced_at_once_within_the_tries(tries):
    """The same candidate is asked again without a wait, also if others are left; after the last try it is a failure."""
    ended = Ended(kind=Kind.CLOSED, stale=True)
    step = next_step(ended, tries=tries, position=0, rests=[9.0, 0.0], policy=RetryPolicy(), jitter=1.0)
    assert isinstance(step, Stop) if tries == 4 else step == Again(moves=0, wait=0.0, reason="stale connection")


def test_the_seeds_waits():
    """200 ms doubling to 5 s, plus up to 100 ms; constant and additive as they say."""
    assert [backoff(RetryPolicy(), n, 0.0) for n in (1, 2, 3, 6, 2000)] == [0.2, 0.4, 0.8, 5.0, 5.0]
    assert backoff(RetryPolicy(), 1, 1.0) == pytest.approx(0.3)
    assert backoff(RetryPolicy(increase="constant"), 9, 0.0) == 0.2
    assert backoff(RetryPolicy(increase=Additive(amount=50)), 3, 0.0) == pytest.approx(0.3)


@given(policies, st.integers(1, 50), jitters)
def test_waits_grow_up_to_the_cap(policy, failures, jitter):
    """Each wait is at least the one before, and none is above max_backoff."""
    assert 0 <= backoff(policy, failures, jitter) <= backoff(policy, failures + 1, jitter) <= policy.max_backoff / 1000


@pytest.mark.parametrize(("said", "waited"), [(0.1, 0.2), (1.0, 1.0), (9.0, 5.0)])
def test_a_server_error_waits_as_long_as_it_is_told_up_to_the_cap(said, waited):
    """The longer of backoff and Retry-After, and never more than max_backoff."""
    ended = Ended(kind=Kind.SERVER, retry_after=said)
    step = next_step(ended, tries=1, position=0, rests=[min(said, 5.0)], policy=RetryPolicy(), jitter=0.0)
    assert isinstance(step, Again)
    assert step.wait == waited


@pytest.mark.parametrize(
    ("retry_after", "strict", "expected"), [(1.0, True, 1.0), (0.1, True, 0.2), (9.0, True, None), (9.0, False, 9.0)]
)
def test_a_rate_limit_waits_as_long_as_it_is_told(retry_after, strict, expected):
    """The longer of backoff and Retry-After; above max_backoff it gives up, or waits where that is the setting."""
    policy = RetryPolicy(fail_if_rate_limit_exceeds_max_backoff=strict)
    ended = Ended(kind=Kind.RATE_LIMIT, retry_after=retry_after)
    step = next_step(ended, tries=1, position=0, rests=[retry_after], policy=policy, jitter=0.0)
    assert (step.wait if isinstance(step, Again) else None) == expected


def test_a_provider_that_says_not_to_retry_is_believed():
    """x-should-retry: false stops a retryable kind; true permits one that is not."""
    options = {"tries": 1, "position": 0, "rests": [0.0], "policy": RetryPolicy(), "jitter": 0.0}
    assert isinstance(next_step(Ended(kind=Kind.SERVER, should_retry=False), **options), Stop)
    assert isinstance(next_step(Ended(kind=Kind.BAD_INPUT, should_retry=True), **options), Again)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "2", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10.0),
        ({"retry-after": "Tue, 14 Nov 2000 22:13:30 GMT"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "99999999999"}, None),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-tokens": "120ms", "x-ratelimit-remaining-tokens": "0"}, 0.12),
        ({"x-ratelimit-reset-tokens": "120ms", "x-ratelimit-remaining-tokens": "7"}, None),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "2s"}, 2.0),
        ({"anthropic-ratelimit-tokens-reset": "2023-11-14T22:13:25Z"}, 5.0),
        (
            {
                "anthropic-ratelimit-requests-reset": "2023-11-14T22:14:20Z",
                "anthropic-ratelimit-requests-remaining": "3",
                "anthropic-ratelimit-input-tokens-reset": "2023-11-14T22:13:27+00:00",
                "anthropic-ratelimit-input-tokens-remaining": "0",
            },
            7.0,
        ),
    ],
)
def test_how_long_a_provider_says_to_wait(headers, seconds):
    """Each form of the headers, buckets that have something left not counted, nonsense ignored."""
    assert retry_after(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


def test_the_reset_times_count_only_where_a_limit_was_hit():
    """Other failures are waited for by an explicit word alone."""
    headers = {"x-ratelimit-reset-requests": "6m0s"}
    assert retry_after(headers, NOW, resets=False) is None
    assert retry_after(headers | {"retry-after": "3"}, NOW, resets=False) == 3.0


@pytest.mark.parametrize("date", ["Tue Nov 14 22:13:30 2023", "Tue, 14 Nov 2023 22:13:30 -0000"])
def test_a_date_without_a_zone_is_in_gmt(monkeypatch, date):
    """Wherever the gateway runs, the older forms of an HTTP date are read as every server means them."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert retry_after({"retry-after": date}, NOW) == 10.0
    finally:
        monkeypatch.undo()
        time.tzset()


NAMES = (
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-remaining-tokens",
    "anthropic-ratelimit-tokens-reset",
)


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=30) | st.from_regex(r"[0-9a-z.:TZ+-]{0,30}")))
def test_no_header_makes_it_raise(headers):
    """Whatever stands there, the result is None or a finite wait that is not negative."""
    seconds = retry_after(headers, NOW)
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


def rfc3339(seconds: float) -> str:
    """Return a time so long after NOW as Anthropic writes it."""
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat()


@pytest.mark.parametrize("bucket", ["requests", "tokens", "input-tokens", "output-tokens"])
def test_each_bucket_of_anthropic_names_its_reset(bucket):
    """An empty rate limit bucket delays the next attempt until its reset, a bucket with something left does not."""
    reset = {f"anthropic-ratelimit-{bucket}-reset": rfc3339(30)}
    remaining = f"anthropic-ratelimit-{bucket}-remaining"
    assert retry_after(reset | {remaining: "0"}, NOW) == 30
    assert retry_after(reset | {remaining: "7"}, NOW) is None


@pytest.mark.parametrize("bucket", ["requests", "tokens"])
def test_each_bucket_of_openai_names_its_reset(bucket):
    """An empty rate limit bucket delays the next attempt until its reset, a bucket with something left does not."""
    reset = {f"x-ratelimit-reset-{bucket}": "1m30s"}
    remaining = f"x-ratelimit-remaining-{bucket}"
    assert retry_after(reset | {remaining: "0"}, NOW) == 90
    assert retry_after(reset | {remaining: "7"}, NOW) is None
