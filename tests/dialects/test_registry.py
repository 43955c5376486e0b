import pytest

from gateway.dialects.registry import DIALECTS, classify


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "openai-chat"),
        ("/chat/completions", "openai-chat"),
        ("/v1/v1/chat/completions", "openai-chat"),
        ("/openai/v1/chat/completions/", "openai-chat"),
        ("/openai/deployments/mine/chat/completions?api-version=2026-01-01", "openai-chat"),
        ("/v1/completions", "openai-completions"),
        ("/v1/embeddings", "openai-embeddings"),
        ("/v1/responses", "openai-responses"),
        ("/anthropic/v1/messages?beta=true", "anthropic-messages"),
        ("messages", "anthropic-messages"),
    ],
)
def test_a_path_names_its_dialect(path: str, name: str) -> None:
    """Whatever stands before the operation's own words, its dialect is known."""
    assert DIALECTS[name] is classify("POST", path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/count_tokens",
        "/v1/messages/batches",
        "/v1/responses/resp_1/cancel",
        "/v1/responses/input_tokens",
        "/v1/threads/thread_1/messages",
        "/v1/chat/completions/chatcmpl-1",
        "/v1/models",
        "/v1/audio/speech",
        "/v1/batch-completions",
        "/",
        "",
    ],
)
def test_other_paths_have_none(path: str) -> None:
    """What is no operation that is read is relayed only."""
    assert classify("POST", path) is None


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "HEAD"])
def test_other_methods_have_none(method: str) -> None:
    """Listing or deleting what a path names is no generation."""
    assert classify(method, "/v1/chat/completions") is None


def test_dialects_are_found_by_their_own_names() -> None:
    """The table's keys are what the dialects call themselves."""
    assert {name: name for name in DIALECTS} == {name: d.name for name, d in DIALECTS.items()}
