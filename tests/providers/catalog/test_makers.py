import pytest

from gateway.providers.catalog import CATALOG, makers
from gateway.providers.entry import Entry

REASONS = {"temperature", "top_p", "logprobs"}


def test_every_entry_is_in_the_catalog() -> None:
    """No provider of the module is left out of the catalog."""
    entries = [value for value in vars(makers).values() if isinstance(value, Entry)]
    assert entries
    assert [entry.name for entry in entries if CATALOG.get(entry.name) is not entry] == []


@pytest.mark.parametrize(
    ("provider", "model", "refused", "accepted"),
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
        ("xai", "grok-4", {"stop", "frequency_penalty", "presence_penalty"}, {"temperature"}),
        ("xai", "grok-4.20-beta-non-reasoning", {"frequency_penalty"}, {"stop"}),
        ("xai", "grok-3", {"presence_penalty"}, {"stop", "frequency_penalty"}),
        ("deepseek", "deepseek-chat", set(), {"tool_choice"}),
        ("deepseek", "deepseek-reasoner", {"tool_choice"}, {"temperature"}),
        ("deepseek", "deepseek-v4-pro", {"tool_choice"}, set()),
        ("openai", None, {"top_k"}, REASONS),
        ("mistral", "m", {"stream_options", "user"}, REASONS),
        ("perplexity", "m", {"seed", "logit_bias", "user", "metadata", "store", "stream_options"}, {"temperature"}),
        ("cohere", "m", {"store", "n", "service_tier", "parallel_tool_calls", "top_k"}, {"temperature"}),
    ],
)
def test_refused_fields_depend_on_the_model(
    provider: str, model: str | None, refused: set[str], accepted: set[str]
) -> None:
    """Models that reason refuse fields that others of the same provider accept."""
    found = CATALOG[provider].quirks.refused(model)
    assert refused <= found
    assert not accepted & found
