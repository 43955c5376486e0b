from urllib.parse import urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from ollama._client import _parse_host

from gateway.providers.catalog import CATALOG
from gateway.providers.entry import Entry, ollama_url, urls

ENTRIES = pytest.mark.parametrize("entry", CATALOG.values(), ids=list(CATALOG))
AZURE = "https://mine.openai.azure.com"
VERTEX = "https://aiplatform.googleapis.com/v1/projects/p/locations/global"


@pytest.mark.parametrize(
    ("provider", "environ", "expected"),
    [
        ("openai", {}, {"openai-chat": "https://api.openai.com/v1", "openai-responses": "https://api.openai.com/v1"}),
        (
            "openai",
            {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1/"},
            {"openai-chat": "http://127.0.0.1:9/v1", "openai-responses": "http://127.0.0.1:9/v1"},
        ),
        (
            "openai",
            {"OPENAI_BASE_URL": "https://proxy.example/api"},
            {"openai-chat": "https://proxy.example/api", "openai-responses": "https://proxy.example/api"},
        ),
        (
            "openai",
            {"OPENAI_BASE_URL": " "},
            {"openai-chat": "https://api.openai.com/v1", "openai-responses": "https://api.openai.com/v1"},
        ),
        ("anthropic", {}, {"anthropic-messages": "https://api.anthropic.com/v1"}),
        (
            "anthropic",
            {"ANTHROPIC_BASE_URL": "http://10.0.0.1:8080"},
            {"anthropic-messages": "http://10.0.0.1:8080/v1"},
        ),
        (
            "deepseek",
            {},
            {
                "openai-chat": "https://api.deepseek.com",
                "openai-responses": "https://api.deepseek.com",
                "anthropic-messages": "https://api.deepseek.com/anthropic/v1",
            },
        ),
        (
            "gemini",
            {},
            {
                "gemini": "https://generativelanguage.googleapis.com/v1beta",
                "openai-chat": "https://generativelanguage.googleapis.com/v1beta/openai",
            },
        ),
        (
            "cohere",
            {},
            {"openai-chat": "https://api.cohere.ai/compatibility/v1", "cohere": "https://api.cohere.ai"},
        ),
        (
            "vllm",
            {"HOSTED_VLLM_API_BASE": "http://gpu:8000/v1"},
            dict.fromkeys(["openai-chat", "openai-responses", "anthropic-messages"], "http://gpu:8000/v1"),
        ),
        (
            "ollama",
            {"OLLAMA_HOST": "0.0.0.0"},
            {
                "ollama": "http://127.0.0.1:11434",
                **dict.fromkeys(["openai-chat", "openai-responses", "anthropic-messages"], "http://127.0.0.1:11434/v1"),
            },
        ),
        *(
            (
                "azure-openai",
                {"AZURE_OPENAI_ENDPOINT": value},
                {"openai-chat": f"{AZURE}/openai/v1", "openai-responses": f"{AZURE}/openai/v1"},
            )
            for value in (AZURE, f"{AZURE}/", f"{AZURE}/openai/v1", f"{AZURE}/openai/v1/")
        ),
        ("azure-openai", {}, {}),
        (
            "aws-bedrock",
            {"AWS_DEFAULT_REGION": "eu-west-1"},
            {"bedrock-converse": "https://bedrock-runtime.eu-west-1.amazonaws.com"},
        ),
        (
            "aws-bedrock",
            {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "eu-west-1"},
            {"bedrock-converse": "https://bedrock-runtime.us-east-1.amazonaws.com"},
        ),
        ("aws-bedrock", {}, {}),
        (
            "aws-bedrock",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"},
            {"bedrock-converse": "http://127.0.0.1:4566"},
        ),
        (
            "aws-bedrock",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://vpce.example"},
            {"bedrock-converse": "https://vpce.example"},
        ),
        (
            "vertex",
            {"GOOGLE_CLOUD_PROJECT": "p"},
            {"gemini": f"{VERTEX}/publishers/google", "openai-chat": f"{VERTEX}/endpoints/openapi"},
        ),
        *(
            (
                "vertex",
                {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": place},
                {
                    "gemini": f"https://{host}/v1/projects/p/locations/{place}/publishers/google",
                    "openai-chat": f"https://{host}/v1/projects/p/locations/{place}/endpoints/openapi",
                },
            )
            for place, host in [
                ("us", "aiplatform.us.rep.googleapis.com"),
                ("eu", "aiplatform.eu.rep.googleapis.com"),
                ("us-central1", "us-central1-aiplatform.googleapis.com"),
            ]
        ),
        ("vertex", {}, {}),
        ("vertex", {"GOOGLE_VERTEX_BASE_URL": "https://proxy.example"}, {}),
    ],
)
def test_urls_come_from_the_environment(provider: str, environ: dict[str, str], expected: dict[str, str]) -> None:
    """Each dialect has its URL, from the variables that the provider's own clients read."""
    assert urls(CATALOG[provider], environ) == expected


@ENTRIES
def test_every_base_url_variable_counts(entry: Entry) -> None:
    """Every variable of an entry replaces its base URL, and the dialects' paths stay the same."""
    needed = {"GOOGLE_CLOUD_PROJECT": "p", "AWS_REGION": "us-east-1"}
    for variable, stands_for in entry.base_url_variables:
        value = f"http://127.0.0.1:99{urlsplit(entry.base_url).path}{stands_for}"
        found = urls(entry, {**needed, variable: value})
        paths = {dialect: urlsplit(url).path for dialect, url in urls(entry, needed).items()}
        assert found == {dialect: f"http://127.0.0.1:99{path}" for dialect, path in paths.items()}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("http://127.0.0.1:8080", "https://api.openai.com/v1"),
        ("http://127.0.0.1:8080/v1", "https://api.openai.com/v1"),
        ("http://127.0.0.1:8080/", "https://api.openai.com/v1"),
        ("http://127.0.0.1:80801/v1", "http://127.0.0.1:80801/v1"),
    ],
)
def test_a_variable_that_names_the_gateway_is_ignored(value: str, expected: str) -> None:
    """The variable that brings clients to the gateway does not make it its own provider."""
    found = urls(CATALOG["openai"], {"OPENAI_BASE_URL": value}, ours=["http://127.0.0.1:8080/"])
    assert found["openai-chat"] == expected


PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format))


@given(
    st.sampled_from(["", "http://", "https://"]),
    st.sampled_from(["", "1.2.3.4", "localhost", "example.com", "[::1]", "[0001:002:003:0004::1]"]),
    PORTS,
    st.sampled_from(["", "/", "/path", "/path/", "/a/b"]),
)
def test_ollamas_host_is_read_as_its_own_client_reads_it(scheme: str, host: str, port: str, path: str) -> None:
    """A host with or without a scheme, a port and a path gives the URL that Ollama's client makes of it."""
    assume(host or not scheme)
    value = f"{scheme}{host}{port}{path}"
    assert ollama_url(value) == _parse_host(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
    ],
)
def test_a_listening_address_of_ollama_is_called_at_this_machine(value: str, expected: str) -> None:
    """`OLLAMA_HOST` may tell the server to listen on all interfaces, which is no address to call."""
    assert ollama_url(value) == expected


@pytest.mark.parametrize("value", ["host:port", "http://[::1", "1.2.3.4:99999"])
def test_an_invalid_host_is_an_error(value: str) -> None:
    """A value that names no host raises ValueError."""
    with pytest.raises(ValueError, match=r"."):
        urls(CATALOG["ollama"], {"OLLAMA_HOST": value})


@pytest.mark.parametrize(
    ("model", "claimed"), [("big-1", True), ("big", True), ("big-others-1", False), ("small-big", False), ("", False)]
)
def test_an_entry_claims_its_own_models(model: str, claimed: bool) -> None:
    """A name that begins with one of `names` is claimed, unless it begins with one of `others`."""
    entry = Entry(
        name="x",
        genai_name="x",
        base_url="http://x",
        dialects={},
        prefixes=("x/",),
        names=("big",),
        others=("big-others",),
    )
    assert entry.claims(model) is claimed


@pytest.mark.parametrize(
    ("environ", "base"),
    [
        ({"A": "a", "B": "b"}, "http://a/c"),
        ({"B": "b"}, "http://b/c"),
        ({"A": "", "B": "b", "C": "d"}, "http://b/d"),
        ({}, None),
    ],
)
def test_templates_are_filled(environ: dict[str, str], base: str | None) -> None:
    """`{A|B}` is the first variable that is set, `{C:-c}` has a default; without a value there is no URL."""
    entry = Entry(name="x", genai_name="x", base_url="http://{A|B}/{C:-c}", dialects={"d": "/v1"}, prefixes=("x/",))
    assert urls(entry, environ) == ({"d": f"{base}/v1"} if base else {})
