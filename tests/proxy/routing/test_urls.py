"""Targets: a client's path joined to the provider's, with each part there once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.registry import in_path
from gateway.proxy.routing import urls

BASES = ("/v1", "/openai/v1", "/v1/openai", "/api/v3", "/v1beta/openai", "/anthropic/v1", "/inference/v1")
segments = st.text("ab%2F-._~", min_size=1, max_size=6).filter(lambda text: not text.startswith("v1"))
rests = st.lists(segments, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))


@pytest.mark.parametrize("base", BASES)
@given(rest=rests, versions=st.integers(0, 3))
def test_a_version_stands_there_once(base: str, rest: str, versions: int) -> None:
    """Without, with and with a doubled `/v1`, and with the provider's whole own path, the target is the same."""
    assert urls.join(base, "/v1" * versions + rest) == base + rest
    assert urls.join(base, base + rest) == base + rest


@given(rest=rests)
def test_a_place_without_a_version_is_no_path_of_the_clients(rest: str) -> None:
    """Where the base says none, a segment that is called the same stays: it is the client's."""
    assert urls.join("/models", f"/models{rest}") == f"/models/models{rest}"
    assert urls.join("", f"/v1{rest}") == rest


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("", "/v1/models", "/v1/models"),
        ("", "/v1/v1/models", "/v1/models"),
        ("", "/models", "/models"),
        ("/x", "/v1/models", "/x/v1/models"),
        ("/x/v2", "/v1/models", "/x/v2/models"),
        ("", "//odd//v1/", "//odd//v1/"),
    ],
)
def test_where_the_base_says_no_version_the_client_does(base: str, path: str, expected: str) -> None:
    """Its path has one or has none."""
    assert urls.loose(base, path) == expected


PROJECT = "/v1/projects/p/locations/l/publishers/google"


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("/v1beta", "/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("/v1beta", "/v1alpha/models/m:generateContent", "/v1alpha/models/m:generateContent"),
        ("/v1beta", "/v1/models/m:generateContent", "/v1/models/m:generateContent"),
        ("/v1beta", "/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("/v1beta", "/v1beta/v1beta/models/m:x", "/v1beta/models/m:x"),
        ("/v1beta", "/v1/v1beta/models/m:x", "/v1beta/models/m:x"),
        ("/v1beta", "/v1beta/v1alpha/models/m:x", "/v1alpha/models/m:x"),
        ("/proxy/v1beta", "/v1alpha/models", "/proxy/v1alpha/models"),
        ("/v1beta", "/upload/v1beta/files", "/upload/v1beta/files"),
        ("/proxy/v1beta", "/upload/v1beta/files", "/proxy/upload/v1beta/files"),
        (PROJECT, "/v1beta/models/m:x", f"{PROJECT}/models/m:x"),
        (PROJECT, *("/v1beta1/projects/q/locations/k/endpoints/1:predict",) * 2),
        (PROJECT, *("/v1beta1/publishers/google/models/m:x",) * 2),
        (f"/proxy{PROJECT}", "/v1/projects/q/x", "/proxy/v1/projects/q/x"),
    ],
)
def test_googles_clients_choose_the_version(base: str, path: str, expected: str) -> None:
    """The last version of several is theirs; in a project's place, and in a whole project's path, it stays."""
    assert urls.google(base, path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/openai/deployments/d/chat/completions", ("d", "chat/completions")),
        ("/openai/deployments/local/big/chat/completions", ("local/big", "chat/completions")),
        ("/openai/deployments/demo/chat/chat/completions", ("demo/chat", "chat/completions")),
        ("/openai/deployments/d/completions", ("d", "completions")),
        ("/openai/deployments/a/b/images/generations", ("a/b", "images/generations")),
        ("/openai/deployments/d/extensions/chat/x", ("d", "extensions/chat/x")),
        ("/openai/deployments/d", ("d", "")),
        ("//openai/deployments/d/embeddings/", ("d", "embeddings")),
        ("/openai/deployments/", None),
        ("/openai/v1/chat/completions", None),
        ("/x/openai/deployments/d/embeddings", None),
    ],
)
def test_a_deployment_may_have_slashes(path: str, expected: tuple[str, str] | None) -> None:
    """All up to the operation is its name."""
    assert urls.deployment(path) == expected


NAMES = st.text("abz.:/@-_+ ü%", min_size=1, max_size=12).filter(lambda name: all(name.split("/")) and ".." not in name)


@given(
    NAMES.filter(lambda name: not name.startswith(("models", "tunedModels"))),
    st.sampled_from(["/v1beta", "/v1alpha", "", "/v1"]),
)
def test_another_model_in_googles_path_is_that_model(name: str, version: str) -> None:
    """What is written is read as the same name, with the client's version and action."""
    path = urls.with_model(f"{version}/models/gemini/x:countTokens", "gemini", name)
    assert path.startswith(f"{version}/models/")
    told = in_path("POST", path)
    assert told is not None
    assert (told.model, path.rpartition(":")[2]) == (name, "countTokens")


@given(NAMES, st.booleans())
def test_another_model_in_bedrocks_path_is_that_model(name: str, stream: bool) -> None:
    """However the client had escaped the one before."""
    tail = "converse-stream" if stream else "converse"
    for before in ("bedrock/a.b:0", "bedrock%2Fa.b:0", "bedrock%2fa.b%3A0"):
        told = in_path("POST", urls.with_model(f"/model/{before}/{tail}", "bedrock-converse", name))
        assert told is not None
        assert (told.model, told.stream) == (name, stream)


@pytest.mark.parametrize(
    ("path", "model", "expected"),
    [
        ("/v1beta1/projects/p/locations/l/publishers/vertex/models/g:x", "g", "/models/g:x"),
        ("/v1beta/models/gemini/tunedModels/mine:x", "tunedModels/mine", "/v1beta/tunedModels/mine:x"),
        ("/v1beta/models/gemini/..:x", "../files", "/v1beta/models/..%2Ffiles:x"),
    ],
)
def test_other_places_of_a_model(path: str, model: str, expected: str) -> None:
    """A project is the provider's own, a tuned model has its place, and a name that leads elsewhere is only a name."""
    assert urls.with_model(path, "gemini", model) == expected


@pytest.mark.parametrize(
    ("query", "keys", "rest"),
    [
        ("", [], ""),
        ("?", [], "?"),
        ("?alt=sse", [], "?alt=sse"),
        ("?key=a%2Bb+c", ["a+b c"], ""),
        ("?alt=sse&key=a", ["a"], "?alt=sse"),
        ("?key=a&alt=%73se&&x", ["a"], "?alt=%73se&&x"),
        ("?key=a&access_token=b&key=c", ["a", "b", "c"], ""),
        ("?key=", [], ""),
        ("?monkey=a&key2=b", [], "?monkey=a&key2=b"),
    ],
)
def test_keys_are_taken_out_of_a_query(query: str, keys: list[str], rest: str) -> None:
    """Every other byte of it stays."""
    assert urls.keys_in(query) == keys
    assert urls.without_keys(query) == rest
