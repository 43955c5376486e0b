"""Billing facts of a response beside its token counts: audio, cache writes by time, server tools, tier, cost. Pure.

The names are those of all providers, since most copy from each other: OpenAI's API and those compatible with it,
Anthropic, Gemini, Bedrock, Cohere, Ollama. 0 is reported, None is not.
"""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.dialects.shared.usage import (
    chat_usage,
    count_of,
    first_count,
    in_snake_case,
    input_details,
    output_details_of,
)
from gateway.dialects.wire.json import count, decode, fields, objects, text

_COSTS = ("cost", "total_cost", "estimated_cost", "cost_usd")  # OpenRouter and others; DeepInfra estimates
_LASTING = (("5m", "ephemeral_5m_input_tokens"), ("1h", "ephemeral_1h_input_tokens"))  # Anthropic
_TICKS = 1e10
"""Parts of a dollar in which xAI reports costs (docs.x.ai, cost tracking)."""


class Billing(Struct, frozen=True, kw_only=True):
    """The provider's usage object as it was reported, and what it has beside the counts of `Usage`.

    Attributes:
        reported: The usage object; of a stream, the last value of each member.
        cache_write_5m_tokens: The part of the tokens written to the cache that stays for five minutes.
        cache_write_1h_tokens: The part that stays for an hour.
        server_tool_requests: Calls of all tools that the provider ran; web searches are among them.
        cost_usd: The provider's own figure, in US dollars.

    """

    reported: dict[str, Any]
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    web_search_requests: int | None = None
    server_tool_requests: int | None = None
    service_tier: str | None = None
    cost_usd: float | None = None


class _Members(Struct, gc=False):
    """The members of a response that have usage in any dialect. `choices` are as large as the content: not decoded."""

    usage: Any = None
    usage_metadata: Any = None
    gemini_usage: Any = msgspec.field(name="usageMetadata", default=None)
    x_groq: Any = None
    choices: Raw = Raw()
    meta: Any = None
    tool_usage: Any = None
    service_tier: Any = None
    bedrock_tier: Any = msgspec.field(name="serviceTier", default=None)
    prompt_eval_count: Any = None
    eval_count: Any = None
    total_duration: Any = None
    load_duration: Any = None
    prompt_eval_duration: Any = None
    eval_duration: Any = None
    prompt_token_count: Any = None
    generation_token_count: Any = None


class _Choice(Struct, gc=False):
    usage: Any = None


_MEMBERS = msgspec.json.Decoder(_Members)
_CHOICES = msgspec.json.Decoder(list[_Choice])
# Counts at the top of a response: Ollama's, with its times in nanoseconds, and Llama's on Bedrock.
_AT_TOP = (
    "prompt_eval_count",
    "eval_count",
    "total_duration",
    "load_duration",
    "prompt_eval_duration",
    "eval_duration",
    "prompt_token_count",
    "generation_token_count",
)


def members_of(body: bytes) -> dict[str, Any]:
    """Return the members of a whole response that `billing` reads; none if it is no JSON object."""
    found = decode(body, _MEMBERS)
    if found is None:
        return {}
    members = msgspec.structs.asdict(found)
    choices = bytes(found.choices) if not found.usage else b""
    members["choices"] = decode(choices, _CHOICES) if b'"usage"' in choices else None
    return members


def billing(members: Mapping[str, Any]) -> Billing | None:
    """Return the billing facts in a response's members (`members_of`); None if it reports no usage."""
    reported = _usage_object(members)
    if not reported:
        return None
    usage = in_snake_case(reported)
    details = input_details(usage)
    five_minutes, hour = _cache_writes(usage)
    tools = _server_tools(usage, fields(members.get("tool_usage")))
    searches = [calls for name, calls in tools.items() if "search" in name]
    return Billing(
        reported=reported,
        audio_input_tokens=first_count(count(details.get("audio_tokens")), _modal(usage, "prompt_tokens_details")),
        audio_output_tokens=first_count(
            count(output_details_of(usage).get("audio_tokens")), _modal(usage, "candidates_tokens_details")
        ),
        cache_write_5m_tokens=five_minutes,
        cache_write_1h_tokens=hour,
        web_search_requests=sum(searches) if searches else None,
        server_tool_requests=first_count(
            sum(tools.values()) if tools else None, count(usage.get("num_server_side_tools_used"))
        ),
        service_tier=_service_tier(members, usage),
        cost_usd=_cost(usage),
    )


def _usage_object(members: Mapping[str, Any]) -> dict[str, Any]:
    choices = (each.usage for each in members.get("choices") or ())
    if found := chat_usage(members.get("usage"), members.get("x_groq"), choices):
        return found
    for name in ("gemini_usage", "usage_metadata"):
        if found := fields(members.get(name)):
            return found
    meta = fields(members.get("meta"))  # Cohere's first version
    cohere = {name: meta[name] for name in ("billed_units", "tokens", "cached_tokens") if meta.get(name) is not None}
    return cohere or {name: members[name] for name in _AT_TOP if members.get(name) is not None}


def _modal(usage: dict[str, Any], name: str) -> int | None:
    """Return Gemini's tokens of audio: its details are a list with an entry for each modality."""
    of_audio = [each for each in objects(usage.get(name)) if each.get("modality") == "AUDIO"]
    return sum(count(each.get("token_count")) or 0 for each in of_audio) if of_audio else None


def _cache_writes(usage: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return the tokens written to the cache for five minutes and for an hour, those of compactions included."""
    compactions = [each for each in objects(usage.get("iterations")) if each.get("type") == "compaction"]
    lasting: dict[str, int] = {}
    for each in (usage, *compactions):
        created = fields(each.get("cache_creation"))
        for time, name in _LASTING if created else ():
            if (written := count(created.get(name))) is not None:
                lasting[time] = lasting.get(time, 0) + written
    for each in objects(usage.get("cache_details")):  # Bedrock's
        ttl, written = text(each.get("ttl")), count(each.get("input_tokens"))
        if ttl is not None and written is not None:
            lasting[ttl] = lasting.get(ttl, 0) + written
    return lasting.get("5m"), lasting.get("1h")


def _server_tools(usage: dict[str, Any], tool_usage: dict[str, Any]) -> dict[str, int]:
    """Return the calls of the provider's own tools by the tool's name.

    Shapes: `{"web_search_requests": 1}` (Anthropic, OpenRouter, Bedrock), `{"web_search_calls": 1}` (xAI),
    `{"web_search": {"num_requests": 1}}` (OpenAI), `{"web_search": {"invocation": 1}}` and `num_search_queries`
    (Perplexity), `search_units` (Cohere).
    """
    tools: dict[str, int] = {}
    for name in ("server_tool_use", "server_tool_usage", "server_side_tool_usage_details", "tool_calls_details"):
        for tool, calls in fields(usage.get(name)).items():
            _add(tools, tool, calls)
    for tool, used in tool_usage.items():
        _add(tools, tool, used)
    _add(tools, "web_search", usage.get("num_search_queries"))
    _add(tools, "search_units", fields(usage.get("billed_units")).get("search_units"))
    return tools


def _add(tools: dict[str, int], tool: str, calls: Any) -> None:
    number = count_of(calls, "num_requests", "invocation") if isinstance(calls, dict) else count(calls)
    if number is not None:
        tools[tool.removesuffix("_requests").removesuffix("_calls")] = number


def _service_tier(members: Mapping[str, Any], usage: dict[str, Any]) -> str | None:
    tiers = (
        members.get("service_tier"),
        members.get("bedrock_tier"),
        usage.get("service_tier"),
        usage.get("traffic_type"),  # Vertex
    )
    return next((tier for each in tiers if (tier := text(each) or text(fields(each).get("type")))), None)


def _cost(usage: dict[str, Any]) -> float | None:
    """Return the cost in dollars: a number, a text of one, or an object with a total; None in another currency."""
    if (ticks := count(usage.get("cost_in_usd_ticks"))) is not None:
        return ticks / _TICKS
    cost = usage.get("cost")
    if isinstance(cost, dict):  # Perplexity
        return _number(cost.get("total_cost")) if cost.get("currency", "USD") == "USD" else None
    amounts = (_number(usage.get(name)) for name in _COSTS)
    dollars = next((each for each in amounts if each is not None), None)
    if dollars is not None and usage.get("is_byok") is True:
        # With the client's own key OpenRouter's cost is its fee, and the price of the model is beside it.
        dollars += _number(fields(usage.get("cost_details")).get("upstream_inference_cost")) or 0.0
    return dollars


def _number(value: Any) -> float | None:
    """Return a finite number, also if it is written as a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
