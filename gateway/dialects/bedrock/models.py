"""Differences between the model families behind Converse: reasoning parameters and other fields. Pure.

Converse hands `additionalModelRequestFields` to the model as they are; their names are the family's own. Source: the
Bedrock user guide's pages on extended and adaptive thinking, and Amazon Nova's on reasoning and inference parameters.
"""

import re
from typing import Any

from gateway.dialects.bedrock.read_parts import CLAUDE_DIALECT
from gateway.dialects.conversation import ChatRequest
from gateway.dialects.shared import reasoning
from gateway.dialects.shared.parameters import MAX_TOKENS, REASONING_LEVEL, TEMPERATURE, TOP_K
from gateway.dialects.shared.reasoning import thinks_adaptively
from gateway.dialects.shared.writer import Dropped

Json = dict[str, Any]

ANTHROPIC = "anthropic"
_REGIONS = frozenset("us us-gov eu apac au ca jp global".split())
_RICH = frozenset({ANTHROPIC, "amazon", ""})
_TOP_K = {ANTHROPIC: "top_k", "mistral": "top_k", "cohere": "k"}
_THOUGHTLESS = re.compile(r"claude-(v?2|instant|3-(5-)?(haiku|sonnet|opus))")
_SMALLEST_BUDGET = 1024


def family(model: str | None) -> str:
    """Return the maker of a model, "" if an ARN does not show it.

    >>> family("us.anthropic.claude-sonnet-4-5-20250929-v1:0")
    'anthropic'
    >>> family("arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-1-70b-instruct-v1:0")
    'meta'
    >>> family("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc")
    ''
    """
    name = (model or "").rpartition("/")[2]
    words = name.split(".")
    if len(words) > 1:
        return words[1] if words[0] in _REGIONS else words[0]
    return ANTHROPIC if "claude" in name else ""


def is_rich(model: str | None) -> bool:
    """Whether a model takes cache points, citations and a tool's failure: Claude and Nova do; an ARN may be theirs."""
    return family(model) in _RICH


def own_fields(request: ChatRequest, dropped: Dropped) -> tuple[Json, str | None]:
    """Return the fields that only the model's family has a word for, and the effort, which Converse has one for."""
    whose = family(request.model)
    fields, level = _thinking(request, whose, dropped)
    top_k = request.parameters.get(TOP_K)
    if top_k is not None:
        if whose == "amazon":
            fields["inferenceConfig"] = {"topK": top_k}
        elif whose in _TOP_K:
            fields[_TOP_K[whose]] = top_k
        else:
            dropped.add("top_k")
    return fields, level


def _thinking(request: ChatRequest, whose: str, dropped: Dropped) -> tuple[Json, str | None]:
    if whose == ANTHROPIC:
        return _claude(request, dropped)
    level = reasoning.level(request)
    if level is None or level == "none":  # reasoning is off by default
        return {}, None
    coarse = {"minimal": "low", "xhigh": "high", "max": "high"}.get(level, level)
    if whose in {"openai", "moonshot", "moonshotai"}:
        return {"reasoning_effort": coarse}, None
    if whose == "amazon" and "nova-2" in (request.model or ""):
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": coarse}}, None
    if whose == "" and request.parameters.get(REASONING_LEVEL) == level != "minimal":
        return {}, level
    dropped.add("reasoning.level" if request.reasoning_budget is None else "reasoning_budget")
    return {}, None


def _claude(request: ChatRequest, dropped: Dropped) -> tuple[Json, str | None]:
    requested = request.parameters.get(REASONING_LEVEL)
    level = str(requested) if requested in reasoning.LEVELS and requested != "none" else None
    thinking: Json | None
    match requested:
        case _ if thinking := request.extra.get(CLAUDE_DIALECT, {}).get("thinking"):
            pass
        case "adaptive" | "disabled":
            thinking = {"type": requested}
        case "enabled":
            thinking = {"type": requested, "budget_tokens": reasoning.budget(request)}
        case _ if thinks_adaptively(request.model):
            level = reasoning.level(request)
            level = None if level == "none" else level
            thinking = {"type": "adaptive"} if level and _may_think(request) else None
        case _:
            thinking, level = _budgeted(request, dropped), None
    if thinking and thinking.get("type") in {"adaptive", "enabled"} and request.show_reasoning is not None:
        thinking = {**thinking, "display": "summarized" if request.show_reasoning else "omitted"}
    return {"thinking": thinking} if thinking else {}, "low" if level == "minimal" else level


def _budgeted(request: ChatRequest, dropped: Dropped) -> Json | None:
    """Return the thinking of a model that takes tokens; a level takes half of the limit at most."""
    tokens = reasoning.budget(request)
    if not tokens:
        return None
    most = request.parameters.get(MAX_TOKENS)
    if request.reasoning_budget is None:
        tokens = max(tokens, _SMALLEST_BUDGET)
        if isinstance(most, int):
            tokens = min(tokens, most // 2)
    if tokens < _SMALLEST_BUDGET or _THOUGHTLESS.search(request.model or "") or not _may_think(request):
        dropped.add("reasoning.level" if request.reasoning_budget is None else "reasoning_budget")
        return None
    return {"type": "enabled", "budget_tokens": tokens}


def _may_think(request: ChatRequest) -> bool:
    """Whether a Claude takes thinking beside the rest: not with a forced tool, a temperature or top_k."""
    forced = request.tool_choice is not None and request.tool_choice.mode in {"required", "tool"}
    warm = request.parameters.get(TEMPERATURE, 1.0) != 1.0
    return not forced and not warm and TOP_K not in request.parameters
