"""Content and secrets in applications' spans are known by the names of their attributes."""

import json

import pytest

from gateway.redaction import REDACTED
from gateway.tracing.ingest.otlp.content import capture_attributes, is_content


@pytest.mark.parametrize(
    "name",
    [
        "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions",
        "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.prompt.0.content", "gen_ai.completion.1.role",
        "gen_ai.prompt", "input.value", "output.value", "llm.input_messages.0.message.content",
        "llm.output_messages.3.message.tool_calls.0.tool_call.function.arguments", "llm.prompts",
        "traceloop.entity.input", "langfuse.observation.output", "retrieval.documents.0.document.content",
        "tool.parameters",
    ],
)  # fmt: skip
def test_content_is_known_by_its_name(name):
    """The conventions' names of today and before, OpenInference's, Traceloop's and Langfuse's are known."""
    said = {name: "what was said", "gen_ai.usage.input_tokens": 3, "gen_ai.request.model": "m"}
    assert is_content(name)
    for mode in ("metadata", "off"):
        assert capture_attributes(said, mode, 100) == {"gen_ai.usage.input_tokens": 3, "gen_ai.request.model": "m"}
    assert capture_attributes(said, "full", 100) == said


@pytest.mark.parametrize(
    "name", ["gen_ai.usage.input_tokens", "input.mime_type", "llm.model_name", "db.query.text", "http.route"]
)
def test_other_attributes_are_captured(name):
    """Attributes that hold no content are stored in any mode."""
    assert not is_content(name)
    assert capture_attributes({name: "x" * 500}, "off", 10) == {name: "x" * 500}


def test_long_content_is_truncated():
    """JSON stays valid; another text has a note on how much is missing."""
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "x" * 5000}]}])
    made = capture_attributes({"gen_ai.input.messages": messages, "input.value": "é" * 5000}, "truncated", 300)
    assert len(made["gen_ai.input.messages"]) <= 300
    (message,) = json.loads(made["gen_ai.input.messages"])
    assert message["parts"][0]["content"].endswith("more characters]")
    assert made["input.value"] == "é" * 150 + "… [9700 more bytes]"
    assert capture_attributes({"input.value": "[" + "x" * 500}, "truncated", 100)["input.value"].startswith("[xxx")


def test_secrets_by_name_are_redacted():
    """An instrumentation of HTTP may record headers with keys."""
    names = (
        "http.request.header.authorization",
        "http.request.header.x-api-key",
        "http.response.header.set-cookie",
        "api_key",
    )
    made = capture_attributes(
        {name: ["Bearer sk-1"] for name in names} | {"http.request.header.accept": ["x"]}, "full", 100
    )
    assert made == dict.fromkeys(names, REDACTED) | {"http.request.header.accept": ["x"]}


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://x.example/v1?key=AIzaX&alt=sse#a", "https://x.example/v1?key=[redacted]&alt=sse#a"),
        ("/v1/a?q=keys&x-api-key=k1&access_token=t2", "/v1/a?q=keys&x-api-key=[redacted]&access_token=[redacted]"),
        ("key=1&X-Amz-Signature=ab", "key=[redacted]&X-Amz-Signature=[redacted]"),
        ("https://x.example/key=1/monkey=2?donkey=3", "https://x.example/key=1/monkey=2?donkey=3"),
    ],
)
def test_secrets_in_urls_are_redacted(url, kept):
    """Secret parameters are known by their names, and the rest of a URL stays."""
    assert capture_attributes({"url.full": url, "http.target": url, "note": url}, "full", 100) == {
        "url.full": kept, "http.target": kept, "note": url,
    }  # fmt: skip
