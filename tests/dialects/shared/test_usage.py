"""Token counts brought to the conventions' meaning."""

from typing import Any

import pytest

from gateway.dialects.conversation import Usage
from gateway.dialects.shared.usage import CountNames, merged_usage, usage_beside_cache, usage_of

NAMES = CountNames(input_tokens="in", output_tokens="out", cache_read="read", cache_write="write", total_tokens="total")


def read(reported: Any) -> Usage | None:
    """Read usage in OpenAI's form."""
    return usage_of(reported, input_name="in", output_name="out", input_details="ins", output_details="outs")


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"in": 1, "out": 2, "total_tokens": 3}, Usage(input_tokens=1, output_tokens=2, total_tokens=3)),
        ({"in": 1}, Usage(input_tokens=1, total_tokens=1)),
        ({"out": 2}, Usage(output_tokens=2)),
        (
            {"in": 9, "out": 2, "ins": {"cached_tokens": 4, "cache_write_tokens": 5}},
            Usage(input_tokens=9, output_tokens=2, total_tokens=11, cache_read_tokens=4, cache_write_tokens=5),
        ),
        (  # reasoning is part of the output
            {"in": 1, "out": 5, "total_tokens": 6, "outs": {"reasoning_tokens": 3}},
            Usage(input_tokens=1, output_tokens=5, total_tokens=6, reasoning_tokens=3),
        ),
        (  # reasoning beside the output, as xAI counts it
            {"in": 1, "out": 5, "total_tokens": 9, "outs": {"reasoning_tokens": 3}},
            Usage(input_tokens=1, output_tokens=8, total_tokens=9, reasoning_tokens=3),
        ),
        ({"in": "1", "out": None, "ins": 7, "outs": []}, Usage()),
        ({}, None),
        (None, None),
    ],
)
def test_openais_usage_is_read(reported: Any, usage: Usage | None) -> None:
    """Cached input is part of the input there; unknown counts stay unknown."""
    assert read(reported) == usage


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
