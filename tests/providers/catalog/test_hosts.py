import pytest

from gateway.providers.catalog import CATALOG, hosts
from gateway.providers.entry import Entry

REASONS = {"temperature", "top_p", "logprobs"}


def test_every_entry_is_in_the_catalog() -> None:
    """No provider of the module is left out of the catalog."""
    entries = [value for value in vars(hosts).values() if isinstance(value, Entry)]
    assert entries
    assert [entry.name for entry in entries if CATALOG.get(entry.name) is not entry] == []


@pytest.mark.parametrize(
    ("provider", "model", "refused", "accepted"),
    [
        ("azure-openai", "gpt-5", REASONS, set()),
        ("groq", "openai/gpt-oss-20b", {"logprobs", "logit_bias", "top_logprobs", "n"}, {"seed"}),
        ("vllm", "m", set(), {*REASONS, "seed", "stop"}),
        ("ollama", "m", {"n", "parallel_tool_calls", "user", "metadata", "logit_bias", "store", "top_k"}, REASONS),
        ("cerebras", "m", {"frequency_penalty", "presence_penalty", "service_tier", "store", "top_k"}, REASONS),
        ("nvidia", "m", {"stream_options"}, REASONS),
        ("anyscale", "m", {"stream_options"}, REASONS),
    ],
)
def test_refused_fields_depend_on_the_model(
    provider: str, model: str | None, refused: set[str], accepted: set[str]
) -> None:
    """Hosts refuse fields of OpenAI's that they do not support; Azure's models refuse those of OpenAI's."""
    found = CATALOG[provider].quirks.refused(model)
    assert refused <= found
    assert not accepted & found
