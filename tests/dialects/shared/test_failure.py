"""Used up quotas and waits in providers' error bodies."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.registry import failure_in
from gateway.dialects.shared.failure import NOTHING, Failure, wait_in

SPENT = Failure(exhausted=True)


def openai(word: str, message: str = "No.") -> dict[str, Any]:
    """Return an error in OpenAI's form, whose type and code are one word."""
    return {"error": {"message": message, "type": word, "param": None, "code": word}}


def anthropic(kind: str, message: str = "No.") -> dict[str, Any]:
    """Return an error in Anthropic's form."""
    return {"type": "error", "error": {"type": kind, "message": message}}


def google(*details: dict[str, Any]) -> dict[str, Any]:
    """Return an error in Google's form."""
    return {"error": {"code": 429, "message": "No.", "status": "RESOURCE_EXHAUSTED", "details": [*details]}}


def quota(name: str) -> dict[str, Any]:
    """Return the detail about a quota."""
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


def info(reason: str, **metadata: str) -> dict[str, Any]:
    """Return the detail with the reason of an error."""
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}


def delay(text: Any) -> dict[str, Any]:
    """Return the detail about a wait."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": text}


WORDS = (
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "exceeded_current_quota_error",
    "insufficient_balance",
    "insufficient_credits",
    "1113",
    "Arrearage",
    "usage_limit_reached",
    "usage_not_included",
    "budget_exceeded",
)
EXHAUSTED: dict[str, Any] = {
    **{word: openai(word) for word in WORDS},
    "a code alone": {"error": {"message": "No.", "code": 1113}},
    "at the top": {"code": "insufficient_quota", "message": "No."},
    "Anthropic's type": anthropic("billing_error"),
    "Anthropic's credits": anthropic("invalid_request_error", "Your credit balance is too low to access the API."),
    "Anthropic's limit": anthropic("invalid_request_error", "You have reached your specified API usage limits. Wait."),
    "DeepSeek's": openai("unknown_error", "Insufficient Balance"),
    "xAI's": {
        "code": "exhausted",
        "error": "Your team 1-2 has either used all available credits or reached its limit.",
    },
    "OpenRouter's": {"error": {"message": "Rate limit exceeded: free-models-per-day. Add credits", "code": 429}},
    "Cohere's": {"message": "You are using a Trial key, which is limited to 1000 API calls / month."},
    "Bedrock's": {"message": "Too many tokens per day, please wait before trying again."},
    "Ollama's week": {"error": "you (a) have reached your weekly usage limit, upgrade for higher limits: https://x"},
    "Ollama's hour": {"error": "you've reached your hourly usage limit, please wait or upgrade to continue"},
    "Google's day": google(quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")),
    "Google's day and minute": google(quota("GenerateRequestsPerMinutePerModel"), quota("RequestsPerDay")),
    "Google's account": google(info("QUOTA_EXHAUSTED", uiMessage="true")),
    "Google's day of Vertex": google(info("RATE_LIMIT_EXCEEDED", quota_limit="RequestsPerDayPerProjectPerModel")),
    "Google's credits": {"error": {"code": 429, "message": "Your prepayment credits are depleted. Go to ..."}},
    "Google's, below OpenAI's paths": [google(quota("GenerateRequestsPerDayPerProjectPerModel"))],
}
MAY_PASS: dict[str, Any] = {
    "a rate limit": openai("rate_limit_exceeded", "Rate limit reached for requests per day (RPD): Limit 200."),
    "an echo": openai("invalid_request_error", "Unknown role: 'insufficient_quota, your credit balance is too low'"),
    "Anthropic's rate limit": anthropic("rate_limit_error", "This would exceed your rate limit of 5 per minute."),
    "an overload": anthropic("overloaded_error", "Overloaded"),
    "Bedrock's minute": {"message": "Too many tokens, please wait before trying again."},
    "Google's minute": google(quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")),
    "Google's capacity": google(info("MODEL_CAPACITY_EXHAUSTED", model="g")),
    "Google's minute of Vertex": google(info("RATE_LIMIT_EXCEEDED", quota_limit="RequestsPerMinutePerProject")),
    "no detail": google(),
    "details of no type": google({"violations": [{"quotaId": "PerDay"}]}, delay(1.5), delay("-1s"), delay("soon")),
}


@pytest.mark.parametrize("name", EXHAUSTED)
def test_a_quota_that_is_used_up(name: str):
    """Each maker's word, message or detail for it is known, wherever the body has its error."""
    assert failure_in(json.dumps(EXHAUSTED[name]).encode()) == SPENT


@pytest.mark.parametrize("name", MAY_PASS)
def test_a_limit_that_may_pass(name: str):
    """Limits by the minute, overloads, and words that are only quoted are no used up quotas."""
    assert failure_in(json.dumps(MAY_PASS[name]).encode()) == NOTHING


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1.2s", 1.2), ("1.200s", 1.2), ("36s", 36.0), ("0s", 0.0), ("0.000000001s", 1e-9), ("1.2", None), ("", None)],
)
def test_the_delay_of_google(text: str, seconds: float | None):
    """RetryInfo has a duration as protobuf writes it in JSON, in an object or in an array of one."""
    assert failure_in(json.dumps(google(delay(text))).encode()) == Failure(wait=seconds)
    assert failure_in(json.dumps([google(delay(text))]).encode()) == Failure(wait=seconds)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please try again in 1.2s. Visit https://x to learn more.", 1.2),
        ("Please try again in 6m0s.", 360.0),
        ("Please try again in 1h2m3.5s", 3723.5),
        ("Please try again in 250ms.", 0.25),
        ("Please retry after 26 seconds.", 26.0),
        ("Retry in 1 minute", 60.0),
        ("Please retry in 34.07s.", 34.07),
        ("Please try again in 2 hours", 7200.0),
        ("Please try again later.", None),
        ("Try again in 3 days", None),
        ("retry in 5 sandwiches", None),
        ("The retry after 400 failed", None),
        ("", None),
    ],
)
def test_the_wait_in_a_message(message: str, seconds: float | None):
    """OpenAI's, Groq's and Azure's messages name a wait; of other texts none is made up."""
    assert wait_in(message) == (None if seconds is None else pytest.approx(seconds))
    assert failure_in(json.dumps(openai("rate_limit_exceeded", message)).encode()).wait == wait_in(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "details", "@type", "violations", "code"]), inner)
    ),
    max_leaves=12,
)


@given(JSON.map(json.dumps).map(str.encode) | st.binary(max_size=20))
def test_any_body_is_read(body: bytes):
    """Whatever an error's body is, reading it does not fail."""
    failure_in(body)
