"""Billing facts beside the token counts, in the shapes that providers document."""

import json
from typing import Any

import pytest
from msgspec import structs

from gateway.dialects.registry import DIALECTS
from gateway.dialects.shared.billing import Billing, billing, members_of
from gateway.dialects.wire.eventstream import event

# A response's members, and the facts in them.
BILLED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "openai, audio": (
        {
            "usage": {
                "prompt_tokens_details": {"audio_tokens": 13, "cached_tokens": 0},
                "completion_tokens_details": {"audio_tokens": 0},
            },
            "service_tier": "flex",
        },
        {"audio_input_tokens": 13, "audio_output_tokens": 0, "service_tier": "flex"},
    ),
    "openai responses": (
        {
            "usage": {"input_tokens": 1},
            "service_tier": "default",
            "tool_usage": {"image_gen": {"input_tokens": 0}, "web_search": {"num_requests": 2}},
        },
        {"service_tier": "default", "web_search_requests": 2, "server_tool_requests": 2},
    ),
    "anthropic": (
        {
            "usage": {
                "input_tokens": 3,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 900},
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
                "service_tier": "standard",
                "iterations": [
                    {"type": "compaction", "cache_creation": {"ephemeral_1h_input_tokens": 100}},
                    {"type": "message", "cache_creation": {"ephemeral_1h_input_tokens": 900}},
                ],
            }
        },
        {
            "cache_write_5m_tokens": 0,
            "cache_write_1h_tokens": 1000,
            "web_search_requests": 2,
            "server_tool_requests": 3,
            "service_tier": "standard",
        },
    ),
    "gemini": (
        {
            "usageMetadata": {
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 5},
                    {"modality": "AUDIO", "tokenCount": 32},
                ],
                "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 7}],
                "trafficType": "ON_DEMAND",
            }
        },
        {"audio_input_tokens": 32, "audio_output_tokens": 7, "service_tier": "ON_DEMAND"},
    ),
    "gemini in snake case": (
        {"usage_metadata": {"prompt_tokens_details": [{"modality": "AUDIO", "token_count": 32}]}},
        {"audio_input_tokens": 32},
    ),
    "bedrock": (
        {
            "usage": {
                "inputTokens": 1,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 300}, {"ttl": "5m", "inputTokens": 20}],
                "serverToolUsage": {"webSearchRequests": 1},
            },
            "serviceTier": {"type": "priority"},
        },
        {
            "cache_write_1h_tokens": 300,
            "cache_write_5m_tokens": 20,
            "web_search_requests": 1,
            "server_tool_requests": 1,
            "service_tier": "priority",
        },
    ),
    "groq": (
        {"x_groq": {"usage": {"prompt_tokens": 1}}, "service_tier": "on_demand"},
        {"service_tier": "on_demand"},
    ),
    "moonshot": ({"choices": [{"usage": {"prompt_tokens": 1}}]}, {}),
    "openrouter": ({"usage": {"prompt_tokens": 1, "cost": 0.00371, "is_byok": False}}, {"cost_usd": 0.00371}),
    "openrouter, with the client's own key": (
        {"usage": {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}},
        {"cost_usd": 0.021},
    ),
    "xai": (
        {
            "usage": {
                "cost_in_usd_ticks": 37756000,
                "server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 1, "mcp_calls": 1},
            }
        },
        {"cost_usd": 0.0037756, "web_search_requests": 3, "server_tool_requests": 4},
    ),
    "xai, without details": ({"usage": {"num_server_side_tools_used": 4}}, {"server_tool_requests": 4}),
    "perplexity": (
        {"usage": {"num_search_queries": 3, "cost": {"input_tokens_cost": 0.001, "total_cost": 0.006}}},
        {"cost_usd": 0.006, "web_search_requests": 3, "server_tool_requests": 3},
    ),
    "perplexity's agents": (
        {
            "usage": {
                "tool_calls_details": {"web_search": {"invocation": 2}, "fetch_url": {"invocation": 1}},
                "cost": {"currency": "USD", "total_cost": 0.5},
            }
        },
        {"cost_usd": 0.5, "web_search_requests": 2, "server_tool_requests": 3},
    ),
    "another currency": ({"usage": {"cost": {"currency": "EUR", "total_cost": 0.5}}}, {}),
    "deepinfra": ({"usage": {"estimated_cost": 0.0000126}}, {"cost_usd": 0.0000126}),
    "a cost as text": ({"usage": {"cost": "0.25"}}, {"cost_usd": 0.25}),
    "a cost of nothing": ({"usage": {"cost": 0}}, {"cost_usd": 0.0}),
    "no number": ({"usage": {"cost": "NaN", "total_cost": True, "estimated_cost": [1]}}, {}),
    "cohere": (
        {"meta": {"billed_units": {"input_tokens": 5, "search_units": 1}}},
        {"web_search_requests": 1, "server_tool_requests": 1},
    ),
    "ollama": ({"prompt_eval_count": 5, "eval_count": 0, "total_duration": 9}, {}),
}


@pytest.mark.parametrize(("whole", "facts"), BILLED.values(), ids=BILLED)
def test_facts_are_read_from_a_whole_response(whole: dict[str, Any], facts: dict[str, Any]) -> None:
    """All that a provider reports beside its counts, and no more; 0 is a value."""
    found = billing(members_of(json.dumps({"id": "r", **whole}).encode()))
    assert found is not None
    assert structs.replace(found, reported={}) == Billing(reported={}, **facts)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"usage":null}', b'{"usage":{}}', b'{"usage":[],"choices":7,"meta":1}', b'{"meta":{"a":1}}'],
)
def test_without_usage_there_are_no_facts(body: bytes) -> None:
    """None, so that nothing looks reported."""
    assert billing(members_of(body)) is None


def _sse(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)


# A stream by the dialect of its reader, and the usage object and tier that come in it.
STREAMED: dict[str, tuple[bytes, dict[str, Any], str | None]] = {
    "openai-chat": (
        _sse(
            {"choices": [{"delta": {"content": "a"}}], "service_tier": "default"},
            {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": None}},
            {"choices": [{"delta": {}, "usage": {"completion_tokens": 3}}]},
            {"choices": [], "x_groq": {"usage": {"total_time": 0.5}}},
        ),
        {"prompt_tokens": 2, "completion_tokens": 3, "total_time": 0.5},
        "default",
    ),
    "openai-responses": (
        _sse({"type": "response.completed", "response": {"usage": {"input_tokens": 2}, "service_tier": "flex"}}),
        {"input_tokens": 2},
        "flex",
    ),
    "anthropic-messages": (
        _sse(
            {"type": "message_start", "message": {"usage": {"input_tokens": 2, "service_tier": "priority"}}},
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}},
        ),
        {"input_tokens": 2, "service_tier": "priority", "output_tokens": 3},
        "priority",
    ),
    "gemini": (_sse({"usageMetadata": {"promptTokenCount": 2}}), {"promptTokenCount": 2}, None),
    "bedrock-converse": (
        event("metadata", b'{"usage":{"inputTokens":2},"serviceTier":{"type":"flex"}}'),
        {"inputTokens": 2},
        "flex",
    ),
    "ollama": (
        b'{"message":{"content":"a"}}\n{"done":true,"eval_count":3,"total_duration":5}\n',
        {"eval_count": 3, "total_duration": 5},
        None,
    ),
}


@pytest.mark.parametrize("name", STREAMED)
def test_facts_are_read_from_a_stream(name: str) -> None:
    """Every reader keeps the usage object, whose members may come one after the other."""
    data, reported, tier = STREAMED[name]
    reader = DIALECTS[name].stream_reader()
    assert billing(reader.reported()) is None
    reader.feed(data)
    found = billing(reader.reported())
    assert found is not None
    assert (found.reported, found.service_tier) == (reported, tier)
