"""What a request and a response say becomes attributes: pure, and without secrets."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.model import Capture, CaptureMode, Config
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Text, Usage
from gateway.dialects.registry import DIALECTS
from gateway.providers.route import Route
from gateway.providers.table import build
from gateway.tracing import attributes as seen
from gateway.tracing.capture import CapturePolicy

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
    """The first product of a User-Agent, without its version."""
    assert seen.client_of(agent) == client


def test_of_several_grouping_headers_ours_counts():
    """Where an agent's own header and ours name a session, ours does."""
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
    """Both may carry keys; all else is kept, as far as it is text."""
    assert seen.of_client("GET", target, {})["url.path"] == path


def test_an_attempts_url_has_no_query():
    """url.full names the provider and the path, and none of the client's parameters."""
    route = Route(
        provider=build(Config(), {})["openai"],
        target=f"/v1/chat/completions?api_key={KEY}",
        family="openai",
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


def test_usage_says_where_it_is_from():
    """Counts that are known, under the conventions' names, and no others."""
    usage = Usage(input_tokens=3, cache_read_tokens=0, source="estimated")
    assert seen.of_usage(usage) == {
        "gateway.usage.source": "estimated",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 0,
    }


@pytest.mark.parametrize(
    ("mode", "content"), [("full", True), ("truncated", True), ("metadata", False), ("off", False)]
)
def test_content_is_as_the_setting_says(mode: CaptureMode, content):
    """Messages, instructions and tools are JSON strings where they are kept; parameters are there in any case."""
    said = seen.of_asked(ASKED, CapturePolicy(Capture(store=mode)))
    names = {"gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.tool.definitions"}
    assert said.keys() & names == (names if content else set())
    assert (said["gen_ai.request.temperature"], said["gen_ai.conversation.id"]) == (0.5, "conv-1")
    for name in said.keys() & names:
        assert isinstance(json.loads(said[name]), list)


def test_nothing_is_invented():
    """A response that tells nothing gives no attributes, and no conversation id or finish reasons."""
    assert seen.of_answered(ChatResponse(), CapturePolicy()) == {}
    assert seen.of_asked(ChatRequest(operation="chat"), CapturePolicy()) == {}


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
    """Whatever was said, each attribute is a JSON list within its bound, marked where something is missing."""
    made = seen.of_answered(ChatResponse(output_messages=said), CapturePolicy(Capture(store_bytes=limit)))
    if not said:
        assert made == {}
        return
    text = made["gen_ai.output.messages"]
    assert len(text.encode()) <= limit
    assert isinstance(json.loads(text), list)
    whole = msgspec.json.encode(said).decode()
    assert (text == whole) != made.get("gateway.content.truncated", False)
