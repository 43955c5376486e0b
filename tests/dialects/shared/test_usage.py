"""Token counts brought to the conventions' meaning."""

from typing import Any

import pytest

from gateway.dialects.conversation import Usage
from gateway.dialects.shared.usage import (
    CountNames,
    chat_usage,
    in_snake_case,
    merged_usage,
    usage_beside_cache,
    usage_of,
)

NAMES = CountNames(input_tokens="in", output_tokens="out", cache_read="read", cache_write="write", total_tokens="total")


# The usage objects of providers with OpenAI's API or one like it, in the shapes of their documentation.
CHAT_USAGE: dict[str, tuple[Any, Usage | None]] = {
    "openai": (
        {
            "prompt_tokens": 19,
            "completion_tokens": 10,
            "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 4, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 6, "audio_tokens": 0},
        },
        Usage(
            input_tokens=19, output_tokens=10, total_tokens=29,
            cache_read_tokens=8, cache_write_tokens=4, reasoning_tokens=6,
        ),
    ),
    "openai responses": (
        {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 3, "total_tokens": 12,
         "output_tokens_details": {"reasoning_tokens": 0}},
        Usage(input_tokens=9, output_tokens=3, total_tokens=12, cache_read_tokens=0, reasoning_tokens=0),
    ),
    "mistral": (
        {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "num_cached_tokens": 12},
        Usage(input_tokens=20, output_tokens=9, total_tokens=29, cache_read_tokens=12),
    ),
    "mistral, in the singular": (
        {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "prompt_token_details": {"cached_tokens": 5}},
        Usage(input_tokens=20, output_tokens=9, total_tokens=29, cache_read_tokens=5),
    ),
    "moonshot": (
        {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "cached_tokens": 20},
        Usage(input_tokens=20, output_tokens=9, total_tokens=29, cache_read_tokens=20),
    ),
    "deepseek": (
        {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "prompt_cache_hit_tokens": 16,
         "prompt_cache_miss_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 7}},
        Usage(input_tokens=20, output_tokens=9, total_tokens=29, cache_read_tokens=16, reasoning_tokens=7),
    ),
    "xai, with reasoning beside the output": (
        {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 9,
         "completion_tokens_details": {"reasoning_tokens": 3}},
        Usage(input_tokens=1, output_tokens=8, total_tokens=9, reasoning_tokens=3),
    ),
    "perplexity, with more reasoning than output": (
        {"prompt_tokens": 33, "completion_tokens": 7163, "total_tokens": 7196, "reasoning_tokens": 73997},
        Usage(input_tokens=33, output_tokens=81160, total_tokens=81193, reasoning_tokens=73997),
    ),
    "camel case": (
        {"promptTokens": 20, "completionTokens": 9, "totalTokens": 29, "promptTokensDetails": {"cachedTokens": 3}},
        Usage(input_tokens=20, output_tokens=9, total_tokens=29, cache_read_tokens=3),
    ),
    "camel case of the other names": (
        {"inputTokens": 20, "outputTokens": 9},
        Usage(input_tokens=20, output_tokens=9, total_tokens=29),
    ),
    "all names, of which one is filled": (
        {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "input_tokens": 0, "output_tokens": 0,
         "prompt_cache_hit_tokens": 7, "prompt_tokens_details": {"cached_tokens": 0}, "input_tokens_details": None},
        Usage(input_tokens=20, output_tokens=9, total_tokens=29, cache_read_tokens=7),
    ),
    "claude behind an API like OpenAI's": (
        {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12, "cache_read_input_tokens": 100,
         "cache_creation_input_tokens": 10},
        Usage(input_tokens=113, output_tokens=9, total_tokens=122, cache_read_tokens=100, cache_write_tokens=10),
    ),
    "cohere": (
        {"billed_units": {"input_tokens": 5, "output_tokens": 9}, "tokens": {"input_tokens": 71, "output_tokens": 9}},
        Usage(input_tokens=71, output_tokens=9, total_tokens=80),
    ),
    "cohere, without the tokens": (
        {"billed_units": {"input_tokens": 5, "output_tokens": 9, "search_units": 1}},
        Usage(input_tokens=5, output_tokens=9, total_tokens=14),
    ),
    "zeros": (
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "num_cached_tokens": 0},
        Usage(input_tokens=0, output_tokens=0, total_tokens=0, cache_read_tokens=0),
    ),
    "input alone": ({"prompt_tokens": 1}, Usage(input_tokens=1, total_tokens=1)),
    "output alone": ({"completion_tokens": 2}, Usage(output_tokens=2)),
    "a total alone": ({"total_tokens": 63}, Usage(total_tokens=63)),
    "other types": (
        {"prompt_tokens": "1", "completion_tokens": None, "prompt_tokens_details": 7, "completion_tokens_details": []},
        Usage(),
    ),
    "empty": ({}, None),
    "null": (None, None),
}  # fmt: skip


@pytest.mark.parametrize(("reported", "usage"), CHAT_USAGE.values(), ids=CHAT_USAGE)
def test_usage_in_openais_form_is_read_under_all_names(reported: Any, usage: Usage | None) -> None:
    """Cached input is part of the input, reasoning of the output; 0 stays 0, and unknown counts stay unknown."""
    assert usage_of(reported) == usage


@pytest.mark.parametrize(
    ("usage", "x_groq", "choices", "found"),
    [
        ({"a": 1}, {"usage": {"b": 1}}, [{"c": 1}], {"a": 1}),
        (None, {"id": "r", "usage": {"b": 1}}, [None], {"b": 1}),
        ({}, {"id": "r"}, [None, {"c": 1}], {"c": 1}),
        (None, None, [], {}),
        (7, "x", [[]], {}),
    ],
)
def test_the_usage_of_a_chat_is_found(usage: Any, x_groq: Any, choices: list[Any], found: dict[str, Any]) -> None:
    """In its own member, in Groq's or in a choice."""
    assert chat_usage(usage, x_groq, choices) == found


def test_nested_names_are_changed_to_a_depth() -> None:
    """Usage as deep as a decoder reads it is no error."""
    deep: Any = {}
    for _ in range(10_000):
        deep = {"aB": deep}
    assert list(in_snake_case(deep)) == ["a_b"]


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"in": 1, "out": 2}, Usage(input_tokens=1, output_tokens=2, total_tokens=3)),
        (
            {"in": 1, "out": 2, "read": 10, "write": 100, "total": 7},
            Usage(input_tokens=111, output_tokens=2, total_tokens=113, cache_read_tokens=10, cache_write_tokens=100),
        ),
        ({"read": 10}, Usage(cache_read_tokens=10)),
        ({"out": 2, "total": 7}, Usage(output_tokens=2, total_tokens=7)),
        ({}, None),
    ],
)
def test_input_beside_the_cache_includes_it(reported: dict[str, Any], usage: Usage | None) -> None:
    """Anthropic and Bedrock report the tokens of the cache beside the input; the conventions count them in."""
    assert usage_beside_cache(reported, NAMES) == usage


def test_reasoning_is_passed_on() -> None:
    """Anthropic has it in details of its own."""
    usage = usage_beside_cache({"in": 1, "out": 2}, NAMES, 1)
    assert usage is not None
    assert usage.reasoning_tokens == 1


def test_later_counts_replace_earlier_ones() -> None:
    """Field by field: what a later event leaves out stays."""
    earlier, later = Usage(input_tokens=1, output_tokens=2), Usage(output_tokens=3, total_tokens=4)
    assert merged_usage(earlier, later) == Usage(input_tokens=1, output_tokens=3, total_tokens=4)
    assert merged_usage(earlier, None) is earlier
    assert merged_usage(None, later) is later
    assert merged_usage(None, None) is None
