from typing import get_args

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from gateway.dialects.registry import TABLES
from gateway.providers.catalog import CATALOG
from gateway.providers.entry import CHAT, Entry, KeySent
from gateway.providers.quirks import MODES, ROLES

ENTRIES = pytest.mark.parametrize("entry", CATALOG.values(), ids=list(CATALOG))
CHATS = [entry for entry in CATALOG.values() if CHAT in entry.dialects]

# The values that the OpenTelemetry conventions list; the other providers use their own names.
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
def test_the_provider_name_is_the_conventions(entry: Entry) -> None:
    """`gen_ai.provider.name` is the value of the OpenTelemetry conventions, else the provider's own name."""
    assert entry.genai_name == GENAI_NAMES.get(entry.name, entry.name)


@ENTRIES
def test_an_entry_is_well_formed(entry: Entry) -> None:
    """Its dialects are known, its URL and paths can be joined, and its keys are sent in known ways."""
    assert entry.dialects.keys() <= set(TABLES.dialects)
    assert entry.base_url.startswith(("https://", "http://127.0.0.1:", "{"))
    assert all(not path or path.startswith("/") for path in entry.dialects.values())
    assert not any(text.endswith("/") for text in (entry.base_url, *entry.dialects.values()))
    assert all(path.startswith(part) for path in entry.dialects.values() for _, part in entry.base_url_variables)
    assert {entry.key_sent, *entry.key_sent_to.values()} <= set(get_args(KeySent))
    assert entry.key_sent_to.keys() <= entry.dialects.keys()
    assert entry.key_variables or entry.key_sent == "google"


def test_prefixes_are_unique() -> None:
    """A prefix ends with a slash, every provider has its name's, and no two have the same."""
    every = [prefix for entry in CATALOG.values() for prefix in entry.prefixes]
    assert len(set(every)) == len(every)
    assert all(prefix.endswith("/") and prefix.count("/") == 1 for prefix in every)
    assert all(f"{entry.name}/" in entry.prefixes for entry in CATALOG.values())


@ENTRIES
def test_quirks_name_existing_fields(entry: Entry) -> None:
    """Every field, role and mode in the quirks is one of a chat completion."""
    fields = set(CompletionCreateParamsBase.__annotations__) | {"top_k"}
    quirks = entry.quirks
    assert quirks.refuses <= fields
    assert all(refused <= fields for _, refused in quirks.refuses_by_model)
    assert quirks.names <= ROLES
    assert quirks.tool_choice <= MODES


@pytest.mark.parametrize("entry", CHATS, ids=[entry.name for entry in CHATS])
def test_stream_usage_agrees_with_the_quirks(entry: Entry) -> None:
    """An entry with `stream_usage` does not refuse `stream_options`, and the reverse."""
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
def test_a_bare_name_is_claimed_by_its_maker(model: str, owner: str | None) -> None:
    """A model without a prefix is claimed by its maker, and by none if others host it."""
    assert [entry.name for entry in CATALOG.values() if entry.claims(model)] == ([owner] if owner else [])
