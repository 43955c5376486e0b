"""The registry: which endpoint and which operation a request belongs to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.dialects.registry import (
    BUILT_IN,
    DIALECTS,
    ENDPOINTS,
    TABLES,
    WRITERS,
    by_headers,
    by_shape,
    classify,
    in_path,
    register,
    token_count,
    unregister,
)
from gateway.dialects.wire.edit import Peek


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
        ("/v1/audio/translations", "openai-transcription"),
        ("/openai/deployments/mine/images/edits", "openai-images"),
        ("/v1/responses", "openai-responses"),
        ("/v1/responses/compact", "openai-responses-compact"),
        ("/v1/responses/input_tokens", "openai-responses-input-tokens"),
        ("/anthropic/v1/messages?beta=true", "anthropic-messages"),
        ("messages", "anthropic-messages"),
        ("/v1/messages/count_tokens?beta=true", "anthropic-count-tokens"),
        ("/v2/chat", "cohere"),
        ("/cohere/v2/embed", "cohere-embed"),
        ("/api/chat", "ollama"),
        ("/v1/api/generate", "ollama-generate"),
        ("/ollama/api/embed", "ollama-embed"),
        ("/api/embeddings", "ollama-embed"),
    ],
)
def test_a_path_names_its_dialect(path: str, name: str) -> None:
    """Whatever precedes the operation's own words, its dialect is known."""
    assert DIALECTS[name] is classify("POST", path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/batches",
        "/v1/responses/resp_1/cancel",
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
    """An operation without a reader is relayed only."""
    assert classify("POST", path) is None


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "HEAD"])
def test_other_methods_have_none(method: str) -> None:
    """Listing or deleting what a path names is no generation."""
    assert classify(method, "/v1/chat/completions") is None


def test_dialects_are_found_by_their_own_names() -> None:
    """The table's keys are what the dialects call themselves."""
    assert {name: name for name in DIALECTS} == {name: d.name for name, d in DIALECTS.items()}


def test_every_dialect_is_written_by_somebody() -> None:
    """An operation that is part of a dialect has that one's writer, and a translation is possible either way."""
    for name, dialect in DIALECTS.items():
        assert dialect.spoken in WRITERS or dialect.trace_only
        read_only = dialect.trace_only or name in {"openai-embeddings", "ollama-embed"}
        assert (dialect.read_conversation is None) == read_only
    assert {name: name for name in WRITERS} == {name: writer.name for name, writer in WRITERS.items()}


CLAUDE = "/v1/projects/p/locations/l/publishers/anthropic/models"


@pytest.mark.parametrize(
    ("path", "spoken", "dialect", "model", "stream"),
    [
        ("/v1beta/models/g:generateContent", "gemini", "gemini", "g", False),
        ("/v1alpha/models/g:streamGenerateContent", "gemini", "gemini", "g", True),
        ("/v1beta/tunedModels/mine:generateContent", "gemini", "gemini", "tunedModels/mine", False),
        ("/v1beta/models/a/b%2Fc:generateContent", "gemini", "gemini", "a/b/c", False),
        ("/v1/projects/p/locations/l/publishers/google/models/g:generateContent", "gemini", "gemini", "g", False),
        ("/v1/projects/p/locations/l/publishers/meta/models/g:rawPredict", "gemini", None, "meta/g", False),
        ("/v1/projects/p/locations/l/endpoints/7:predict", "gemini", None, "endpoints/7", False),
        ("/v1beta/models/g:countTokens", "gemini", "gemini-count-tokens", "g", False),
        ("/v1beta/models/g:embedContent", "gemini", "gemini-embed", "g", False),
        ("/v1beta/models/g:batchEmbedContents", "gemini", "gemini-embed", "g", False),
        ("/v1beta/models/g:asyncBatchEmbedContent", "gemini", None, "g", False),
        (f"{CLAUDE}/claude-x%40001:rawPredict", "anthropic-vertex", "anthropic-vertex", "claude-x@001", False),
        (f"/vertex{CLAUDE}/claude-x:streamRawPredict", "anthropic-vertex", "anthropic-vertex", "claude-x", True),
        (f"{CLAUDE}/count-tokens:rawPredict", "anthropic-vertex", "anthropic-vertex-count-tokens", "", False),
        ("/model/us.nova%3A0/converse", "bedrock-converse", "bedrock-converse", "us.nova:0", False),
        ("/model/us.nova:0/converse-stream", "bedrock-converse", "bedrock-converse", "us.nova:0", True),
        ("/model/us.nova:0/invoke", "bedrock-converse", "bedrock-invoke", "us.nova:0", False),
        ("/model/a/invoke-with-response-stream", "bedrock-converse", "bedrock-invoke", "a", True),
        ("/model/a/count-tokens", "bedrock-converse", "bedrock-count-tokens", "a", False),
        (
            "/model/cohere.embed-v4:0/invoke",
            "bedrock-converse",
            "bedrock-invoke-embeddings",
            "cohere.embed-v4:0",
            False,
        ),
    ],
)
def test_some_paths_name_their_model(path: str, spoken: str, dialect: str | None, model: str, stream: bool) -> None:
    """Google's and Bedrock's, and whether a stream is asked for; what is only relayed has a model too."""
    path_read = in_path("POST", path)
    assert path_read is not None
    assert (path_read.endpoint, path_read.model, path_read.stream) == (spoken, model, stream)
    assert path_read.dialect is (None if dialect is None else DIALECTS[dialect])
    listed = in_path("GET", path)
    assert listed is not None
    assert listed.dialect is None


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/ft:gpt-5:acme::abc",
        "/v1/models/llama3:latest",
        "/v1/chat/completions",
        "/v1beta/models",
        "/v1beta/files/x:y",
        "/model/x/async-invoke",
        "/v1/conversations/conv:1",
        ":generateContent",
        "",
    ],
)
def test_a_colon_in_anothers_path_names_none(path: str) -> None:
    """It is part of a name there."""
    assert in_path("POST", path) is None
    assert in_path("GET", path) is None


@pytest.mark.parametrize(
    ("dialect", "fields", "shape"),
    [
        ("openai-chat", {"messages"}, "openai-chat"),
        ("openai-chat", {"messages", "input"}, "openai-chat"),
        ("openai-chat", set(), "openai-chat"),
        ("openai-chat", {"input"}, "openai-responses"),
        ("openai-chat", {"contents"}, "gemini"),
        ("openai-responses", {"messages"}, "openai-chat"),
        ("openai-responses", {"messages", "system"}, "anthropic-messages"),
        ("openai-responses", {"messages", "input"}, "openai-responses"),
        ("openai-responses", {"contents"}, "gemini"),
        ("anthropic-messages", {"messages", "system"}, "anthropic-messages"),
        ("anthropic-messages", {"messages", "max_completion_tokens"}, "openai-chat"),
        ("anthropic-messages", {"messages", "response_format"}, "openai-chat"),
        ("anthropic-messages", {"input"}, "openai-responses"),
        ("anthropic-messages", {"contents"}, "gemini"),
        ("openai-embeddings", {"input"}, "openai-embeddings"),
        ("openai-completions", {"input"}, "openai-completions"),
        ("gemini", {"messages"}, "gemini"),
        ("ollama", {"input"}, "ollama"),
    ],
)
def test_a_body_is_known_by_its_fields(dialect: str, fields: set[str], shape: str) -> None:
    """One that could be the path's own is; another's is recognized by a part that only it has."""
    assert by_shape(DIALECTS[dialect], Peek(fields=frozenset(fields))) is DIALECTS[shape]


NAMES = st.text("abz.:/@-_+ ü%", min_size=1, max_size=12).filter(lambda name: all(name.split("/")) and ".." not in name)


@given(NAMES, st.booleans())
def test_another_model_in_bedrocks_path_is_that_model(name: str, stream: bool) -> None:
    """However the client had escaped the one before."""
    write_path = ENDPOINTS["bedrock-converse"].write_path
    assert write_path is not None
    tail = "converse-stream" if stream else "converse"
    for before in ("bedrock/a.b:0", "bedrock%2Fa.b:0", "bedrock%2fa.b%3A0"):
        path_read = in_path("POST", write_path(f"/model/{before}/{tail}", name))
        assert path_read is not None
        assert (path_read.model, path_read.stream) == (name, stream)


@pytest.mark.parametrize(
    ("headers", "endpoint"),
    [
        ([], "openai-chat"),
        ([(b"X-Api-Key", b"k")], "openai-chat"),
        ([(b"Anthropic-Version", b"2023-06-01")], "anthropic-messages"),
        ([(b"Accept", b"*/*"), (b"anthropic-version", b"")], "anthropic-messages"),
        ([(b"anthropic-beta", b"x")], "openai-chat"),
    ],
)
def test_a_client_is_known_by_the_header_that_its_api_requires(headers, endpoint: str) -> None:
    """In any case; all others are the default endpoint's."""
    assert by_headers(headers) is ENDPOINTS[endpoint]


@pytest.mark.parametrize(
    ("method", "path", "counts"),
    [
        ("POST", "/v1/messages/count_tokens", True),
        ("POST", "/anthropic/v1/messages/count_tokens/", True),
        ("GET", "/v1/messages/count_tokens", False),
        ("POST", "/v1/messages", False),
        ("POST", "/v1/count_tokens", False),
    ],
)
def test_a_path_may_count_tokens(method: str, path: str, counts: bool) -> None:
    """Anthropic's API has an operation for it, with a field of its own for the number."""
    found = token_count(method, path)
    assert (found is not None) is counts
    if found is not None:
        assert (found.dialect, found.write(7)) == ("anthropic-messages", b'{"input_tokens":7}')


def test_every_endpoint_is_whole() -> None:
    """Its dialect has a writer, its name is one, and what it counts or reads belongs to it."""
    assert [each.name for each in BUILT_IN] == list(ENDPOINTS)
    for each in BUILT_IN:
        assert each.writer is WRITERS.get(each.dialect)
        assert all(dialect.spoken == each.dialect for dialect in (*each.operations.values(), *each.path_operations))
        assert (each.read_path is None) == (each.write_path is None)
        assert each.ask_for_usage is None or each.usage_filter is not None
        assert repr(each) == f"<Endpoint {each.name}>"


def test_an_endpoint_is_registered_once_and_removed() -> None:
    """All lookups know it then, and none of them does afterwards."""
    reader = structs.replace(DIALECTS["openai-chat"], name="other")
    other = structs.replace(
        ENDPOINTS["openai-chat"],
        name="other",
        dialect="other",
        writer=structs.replace(WRITERS["openai-chat"], name="other"),
        operations={("other",): reader},
        headers=((b"x-other", b"1"),),
    )
    with pytest.raises(ValueError, match="'openai-chat'"):
        register(ENDPOINTS["openai-chat"])
    register(other)
    try:
        assert classify("POST", "/v1/other") is reader
        assert by_headers([(b"X-Other", b"1")]) is other
        assert "other" in WRITERS
    finally:
        unregister("other")
    assert (classify("POST", "/v1/other"), by_headers([(b"X-Other", b"1")])) == (None, TABLES.default)
    assert {"other"}.isdisjoint([*DIALECTS, *WRITERS, *ENDPOINTS])
