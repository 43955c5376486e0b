"""Requests, attempts, responses and usage become span attributes."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.model import Capture, CaptureMode, Config
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Text, Usage
from gateway.dialects.registry import DIALECTS, ENDPOINTS
from gateway.dialects.shared.billing import Billing
from gateway.providers.route import Route
from gateway.providers.table import build
from gateway.redaction import REDACTED
from gateway.tracing import attributes as seen
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.metadata import FIELDS, INTEGERS, Metadata
from gateway.tracing.secrets import ExchangeSecrets

KEY = "sk-planted-0123456789abcdef"
ASKED = ChatRequest(
    operation="chat",
    model="m",
    system_instructions=[Text(content="Be kind.")],
    input_messages=[Message(role="user", parts=[Text(content="x" * 500)])],
    tool_definitions=msgspec.Raw(b'[{"type":"function"}]'),
    parameters={"gen_ai.request.temperature": 0.5},
    conversation_id="conv-1",
)


@pytest.mark.parametrize(
    ("agent", "client"),
    [
        ("OpenAI/Python 3.54.0", "OpenAI/Python"),
        ("AsyncOpenAI/Python 3.54.0", "AsyncOpenAI/Python"),
        ("Anthropic/JS 0.70.0", "Anthropic/JS"),
        ("claude-cli/2.1.0 (external, cli)", "claude-cli"),
        ("curl/8.5.0", "curl"),
        ("python-requests/2.32", "python-requests"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla"),
        ("word", "word"),
    ],
)
def test_a_client_has_a_short_name(agent, client):
    """It is the first product of the User-Agent, without its version."""
    assert seen.client_of(agent) == client


def test_our_session_header_wins_over_an_agents():
    """A session is grouped by the gateway's header if both name one."""
    headers = {"helicone-session-id": "theirs", "x-claude-code-session-id": "theirs too"}
    said = {"session": ("x-gateway-session", "ours")}
    assert seen.of_client("GET", "/", headers, said)["session.id"] == "ours"
    assert seen.of_client("GET", "/", headers)["session.id"] == "theirs too"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/models", "/v1/models"),
        (f"/v1/models?key={KEY}", "/v1/models"),
        (f"http://user:{KEY}@host/v1/models?key={KEY}", "http://host/v1/models"),
        ("http://host/v1/@me", "http://host/v1/@me"),
        ("//v1/user@host", "//v1/user@host"),
        ("/v1/\udcffx", "/v1/?x"),
    ],
)
def test_a_path_is_stored_without_query_and_user(target, path):
    """Both may hold keys; bytes that are no UTF-8 become question marks."""
    assert seen.of_client("GET", target, {})["url.path"] == path


def test_an_attempts_url_has_no_query():
    """url.full has the provider and the path, and none of the client's parameters."""
    route = Route(
        provider=build(Config(), {})["openai"],
        target=f"/v1/chat/completions?api_key={KEY}",
        endpoint=ENDPOINTS["openai-chat"],
        dialect=DIALECTS["openai-chat"],
        model="openai/gpt-5",
        rename="gpt-5",
    )
    said = seen.of_attempt(route, "POST", 0, "first", 0.0)
    assert said["url.full"] == "https://api.openai.com/v1/chat/completions"
    assert said["gen_ai.request.model"] == "gpt-5"
    assert "http.request.resend_count" not in said
    again = seen.of_attempt(route, "POST", 2, "retry after server", 0.4)
    assert (again["http.request.resend_count"], again["gateway.attempt.backoff_ms"]) == (2, 400.0)
    assert seen.of_route(route)["gateway.request.model"] == "openai/gpt-5"


def test_usage_has_a_source():
    """Known counts have attributes of the conventions, unknown ones have none."""
    usage = Usage(input_tokens=3, cache_read_tokens=0, source="estimated")
    assert seen.of_usage(usage) == {
        "gateway.usage.source": "estimated",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 0,
    }


@pytest.mark.parametrize(
    ("mode", "content"), [("full", True), ("truncated", True), ("metadata", False), ("off", False)]
)
def test_content_is_captured_as_configured(mode: CaptureMode, content):
    """Messages, instructions and tools are JSON strings if captured; parameters are recorded in any case."""
    said = seen.of_request(ASKED, CapturePolicy(Capture(store=mode)))
    names = {"gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.tool.definitions"}
    assert said.keys() & names == (names if content else set())
    assert (said["gen_ai.request.temperature"], said["gen_ai.conversation.id"]) == (0.5, "conv-1")
    for name in said.keys() & names:
        assert isinstance(json.loads(said[name]), list)


def test_counts_that_no_column_can_hold_are_unknown():
    """One row with such a number would not be read at all."""
    assert seen.of_usage(Usage(input_tokens=2**63, output_tokens=1)) == {
        "gateway.usage.source": "reported",
        "gen_ai.usage.output_tokens": 1,
    }
    assert list(seen.of_billing(Billing(reported={}, server_tool_requests=2**63))) == ["gateway.usage.reported"]


def test_billing_facts_are_attributes_with_the_usage_object():
    """Known facts by their own names, and the object as JSON text; a long one is cut and stays JSON."""
    facts = Billing(reported={"cost": 0.00371, "x": {"y": 1}}, cost_usd=0.00371, audio_input_tokens=0, service_tier="f")
    assert seen.of_billing(facts) == {
        "gateway.usage.reported": '{"cost":0.00371,"x":{"y":1}}',
        "gen_ai.usage.cost": 0.00371,
        "gen_ai.usage.audio.input_tokens": 0,
        "gateway.usage.service_tier": "f",
    }
    for long in ({"a": "x" * 20_000}, {str(n): n for n in range(5_000)}):
        (text,) = seen.of_billing(Billing(reported=long)).values()
        assert len(text) <= seen.USAGE_MAX
        assert json.loads(text)


def test_unknown_values_have_no_attributes():
    """An empty request or response gives no attributes."""
    assert seen.of_response(ChatResponse(), CapturePolicy()) == {}
    assert seen.of_request(ChatRequest(operation="chat"), CapturePolicy()) == {}


texts = st.text(st.characters(codec="utf-8"), max_size=400)
messages = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["user", "assistant"]),
        parts=st.lists(st.builds(Text, content=texts), max_size=4),
    ),
    max_size=8,
)


@given(messages, st.integers(2, 3000))
def test_content_always_fits_and_is_always_json(said, limit):
    """Each content attribute is a JSON list within its limit, and marked if it was truncated."""
    made = seen.of_response(ChatResponse(output_messages=said), CapturePolicy(Capture(store_bytes=limit)))
    if not said:
        assert made == {}
        return
    text = made["gen_ai.output.messages"]
    assert len(text.encode()) <= limit
    assert isinstance(json.loads(text), list)
    whole = msgspec.json.encode(said).decode()
    assert (text == whole) != made.get("gateway.content.truncated", False)


@pytest.mark.parametrize(
    ("mode", "limit", "attributes"),
    [
        ("full", 200, {"gateway.error.body": f"bad key {REDACTED} of {REDACTED}"}),
        ("full", 12, {"gateway.error.body": "bad key [red", "gateway.content.truncated": True}),
        ("metadata", 200, {}),
        ("off", 200, {}),
    ],
)
def test_an_error_body_is_recorded_without_secrets(mode: CaptureMode, limit, attributes):
    """It may repeat content, so that it is recorded only if content is; the body is redacted before it is cut."""
    policy = CapturePolicy(Capture(store=mode, store_bytes=limit))
    secrets = ExchangeSecrets({"x-api-key": KEY}, "/")
    assert seen.of_error_body(f"bad key {KEY} of {KEY}".encode(), secrets, policy) == attributes
    assert seen.of_error_body(b"", secrets, policy) == {}


def test_an_error_body_is_cut_to_a_limit_of_its_own():
    """Neither a large limit for content nor an invalid character makes it longer."""
    recorded = seen.of_error_body(b"\xff" * 10_000, ExchangeSecrets({}, "/"), CapturePolicy())
    assert recorded == {"gateway.error.body": "\ufffd" * seen.ERROR_BODY_MAX, "gateway.content.truncated": True}


@pytest.mark.parametrize(
    ("reason", "resent"),
    [
        ("first", False),
        ("listing", False),
        ("probe", False),
        ("hedge after 2 s", False),
        ("retry after server", True),
        ("fallback after rate_limit", True),
    ],
)
def test_a_resend_is_an_attempt_after_a_failure(reason, resent):
    """Hedges, probes and listings are sent whatever became of other attempts."""
    assert seen.is_retry(reason) is resent


def test_an_interrupted_response_has_the_finish_reason_error():
    """A message that has a reason keeps it, and the response gets one of its own."""
    done, cut = Message(role="assistant", parts=[], finish_reason="stop"), Message(role="assistant", parts=[])
    response = seen.interrupted(ChatResponse(output_messages=[done, cut]))
    assert [message.finish_reason for message in response.output_messages] == ["stop", "error"]
    assert response.finish_reasons == ["error"]
    assert seen.interrupted(ChatResponse(finish_reasons=["length"])).finish_reasons == ["length"]


@pytest.mark.parametrize(("option", "field"), FIELDS.items())
def test_every_option_of_a_request_has_its_attribute(option, field):
    """An option in a header and the same field in a body are one attribute."""
    value = 7 if field in INTEGERS else {"a": 1} if field == "extra" else "some-id"
    text = json.dumps(value, separators=(",", ":")) if field == "extra" else str(value)
    in_header = seen.of_client("GET", "/", {}, {option: (f"x-gateway-{option}", text)})
    in_body = seen.of_metadata(Metadata(**{field: value}))
    assert len(in_body) == 1
    assert in_body.items() <= in_header.items()


@pytest.mark.parametrize("option", ["step-index", "prompt-version"])
def test_an_invalid_number_has_no_attribute(option):
    """A column of whole numbers could not hold it."""
    assert seen.of_client("GET", "/", {}, {option: ("h", "1.5")}) == seen.of_client("GET", "/", {})
