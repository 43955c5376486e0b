from typing import get_args
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from ollama._client import _parse_host
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from gateway.dialects.registry import WRITERS
from gateway.providers.catalog import CATALOG
from gateway.providers.entry import CHAT, Entry, KeySent, ollama_url, urls
from gateway.providers.quirks import MODES, ROLES

ENTRIES = pytest.mark.parametrize("entry", CATALOG.values(), ids=list(CATALOG))
CHATS = [entry for entry in CATALOG.values() if CHAT in entry.dialects]

# What the conventions have a word for; the others go by their own names.
GENAI_NAMES = {
    "openai": "openai",
    "anthropic": "anthropic",
    "aws-bedrock": "aws.bedrock",
    "groq": "groq",
    "mistral": "mistral_ai",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "azure-openai": "azure.ai.openai",
    "deepseek": "deepseek",
    "xai": "x_ai",
    "cohere": "cohere",
    "perplexity": "perplexity",
}


def test_the_table_has_every_provider_under_its_name() -> None:
    """All 24 are there, each under the name that it has."""
    assert list(CATALOG) == [
        *("openai", "anthropic", "aws-bedrock", "groq", "ollama", "mistral", "together", "fireworks", "deepinfra"),
        *("anyscale", "gemini", "vertex", "azure-openai", "openrouter", "deepseek", "xai", "cohere", "perplexity"),
        *("cerebras", "nvidia", "huggingface", "vllm", "llama-cpp", "lm-studio"),
    ]
    assert [entry.name for entry in CATALOG.values()] == list(CATALOG)


@ENTRIES
def test_a_provider_goes_by_the_conventions_name(entry: Entry) -> None:
    """`gen_ai.provider.name` is the conventions' word where they have one, else the provider's own name."""
    assert entry.genai_name == GENAI_NAMES.get(entry.name, entry.name)


@ENTRIES
def test_an_entry_says_what_can_be_joined_to_the_rest(entry: Entry) -> None:
    """Dialects are those that can be written, URLs and paths can be joined, and keys are shown in known ways."""
    assert entry.dialects.keys() <= WRITERS.keys()
    assert entry.base_url.startswith(("https://", "http://127.0.0.1:", "{"))
    assert all(not path or path.startswith("/") for path in entry.dialects.values())
    assert not any(text.endswith("/") for text in (entry.base_url, *entry.dialects.values()))
    assert all(path.startswith(part) for path in entry.dialects.values() for _, part in entry.base_url_variables)
    assert {entry.key_sent, *entry.key_sent_to.values()} <= set(get_args(KeySent))
    assert entry.key_sent_to.keys() <= entry.dialects.keys()
    assert entry.key_variables or entry.key_sent == "google"


def test_a_prefix_is_one_providers_alone() -> None:
    """A prefix ends with a slash, every provider has its name's, and no two have the same."""
    every = [prefix for entry in CATALOG.values() for prefix in entry.prefixes]
    assert len(set(every)) == len(every)
    assert all(prefix.endswith("/") and prefix.count("/") == 1 for prefix in every)
    assert all(f"{entry.name}/" in entry.prefixes for entry in CATALOG.values())


@ENTRIES
def test_quirks_name_what_there_is(entry: Entry) -> None:
    """Every field, role and mode that quirks name is one of a chat completion's."""
    fields = set(CompletionCreateParamsBase.__annotations__) | {"top_k"}
    quirks = entry.quirks
    assert quirks.refuses <= fields
    assert all(refused <= fields for _, refused in quirks.refuses_by_model)
    assert quirks.names <= ROLES
    assert quirks.tool_choice <= MODES


@pytest.mark.parametrize("entry", CHATS, ids=[entry.name for entry in CHATS])
def test_a_stream_is_asked_for_its_usage_where_that_is_taken(entry: Entry) -> None:
    """Whether `stream_options` is taken is said once: the provider's word and its quirks agree."""
    assert entry.stream_usage == ("stream_options" not in entry.quirks.refuses)


@pytest.mark.parametrize(
    ("model", "owner"),
    [
        ("gpt-5.1", "openai"),
        ("gpt-4o-mini", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("o1", "openai"),
        ("o3-mini", "openai"),
        ("o4-mini-2025-04-16", "openai"),
        ("gpt-oss-120b", None),
        ("gpt-oss:20b", None),
        ("claude-opus-4-5", "anthropic"),
        ("claude", "anthropic"),
        ("gemini-2.5-flash", "gemini"),
        ("gemma3:4b", None),
        ("llama-3.3-70b-versatile", None),
        ("olmo-2", None),
        ("", None),
    ],
)
def test_a_bare_name_is_its_makers(model: str, owner: str | None) -> None:
    """A model without a prefix is claimed by the one that makes it, by nobody where others host it."""
    assert [entry.name for entry in CATALOG.values() if entry.claims(model)] == ([owner] if owner else [])


REASONS = {"temperature", "top_p", "logprobs"}


@pytest.mark.parametrize(
    ("provider", "model", "refused", "taken"),
    [
        ("openai", "gpt-4o", {"top_k"}, {*REASONS, "stop", "parallel_tool_calls"}),
        ("openai", "o1-mini", {*REASONS, "parallel_tool_calls"}, {"stop"}),
        ("openai", "o3", {*REASONS, "stop", "parallel_tool_calls"}, {"seed"}),
        ("openai", "gpt-5", REASONS, {"stop", "parallel_tool_calls"}),
        ("openai", "gpt-5-mini-2025-08-07", REASONS, {"stop"}),
        ("openai", "gpt-5-chat-latest", set(), REASONS),
        ("openai", "gpt-5.2", set(), REASONS),
        ("openai", "gpt-5.2-chat-latest", REASONS, set()),
        ("openai", "gpt-5.2-pro", REASONS, set()),
        ("openai", "gpt-5.5", REASONS, set()),
        ("azure-openai", "gpt-5", REASONS, set()),
        ("xai", "grok-4", {"stop", "frequency_penalty", "presence_penalty"}, {"temperature"}),
        ("xai", "grok-4.20-beta-non-reasoning", {"frequency_penalty"}, {"stop"}),
        ("xai", "grok-3", {"presence_penalty"}, {"stop", "frequency_penalty"}),
        ("deepseek", "deepseek-chat", set(), {"tool_choice"}),
        ("deepseek", "deepseek-reasoner", {"tool_choice"}, {"temperature"}),
        ("deepseek", "deepseek-v4-pro", {"tool_choice"}, set()),
        ("groq", "openai/gpt-oss-20b", {"logprobs", "logit_bias", "top_logprobs", "n"}, {"seed"}),
        ("openai", None, {"top_k"}, REASONS),
    ],
)
def test_what_is_refused_depends_on_the_model(
    provider: str, model: str | None, refused: set[str], taken: set[str]
) -> None:
    """Models that reason refuse what others of the same provider take."""
    found = CATALOG[provider].quirks.refused(model)
    assert refused <= found
    assert not taken & found


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
        ("cohere", {}, {"openai-chat": "https://api.cohere.ai/compatibility/v1"}),
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
                {"AZURE_OPENAI_ENDPOINT": told},
                {"openai-chat": f"{AZURE}/openai/v1", "openai-responses": f"{AZURE}/openai/v1"},
            )
            for told in (AZURE, f"{AZURE}/", f"{AZURE}/openai/v1", f"{AZURE}/openai/v1/")
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
def test_the_environment_says_where_a_provider_is(
    provider: str, environ: dict[str, str], expected: dict[str, str]
) -> None:
    """Each dialect has the URL below which it is spoken, from the variables that the provider's users know."""
    assert urls(CATALOG[provider], environ) == expected


@ENTRIES
def test_a_provider_is_where_its_variable_says(entry: Entry) -> None:
    """Every variable that may name another place is heard, and the paths there are the same."""
    needed = {"GOOGLE_CLOUD_PROJECT": "p", "AWS_REGION": "us-east-1"}
    for variable, stands_for in entry.base_url_variables:
        told = f"http://127.0.0.1:99{urlsplit(entry.base_url).path}{stands_for}"
        found = urls(entry, {**needed, variable: told})
        paths = {dialect: urlsplit(url).path for dialect, url in urls(entry, needed).items()}
        assert found == {dialect: f"http://127.0.0.1:99{path}" for dialect, path in paths.items()}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("http://127.0.0.1:8080", "https://api.openai.com/v1"),
        ("http://127.0.0.1:8080/v1", "https://api.openai.com/v1"),
        ("http://127.0.0.1:8080/", "https://api.openai.com/v1"),
        ("http://127.0.0.1:80801/v1", "http://127.0.0.1:80801/v1"),
    ],
)
def test_a_variable_that_names_the_gateway_is_passed_over(told: str, expected: str) -> None:
    """The variable that brings clients to the gateway does not make it its own provider."""
    found = urls(CATALOG["openai"], {"OPENAI_BASE_URL": told}, ours=["http://127.0.0.1:8080/"])
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
    told = f"{scheme}{host}{port}{path}"
    assert ollama_url(told) == _parse_host(told)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
    ],
)
def test_where_ollamas_server_listens_is_called_at_this_machine(told: str, expected: str) -> None:
    """`OLLAMA_HOST` says to the server to listen everywhere, which is no address to call."""
    assert ollama_url(told) == expected


@pytest.mark.parametrize("told", ["host:port", "http://[::1", "1.2.3.4:99999"])
def test_what_is_no_host_is_told(told: str) -> None:
    """A value that names no host raises what whoever starts can tell of."""
    with pytest.raises(ValueError, match=r"."):
        urls(CATALOG["ollama"], {"OLLAMA_HOST": told})
