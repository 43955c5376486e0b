"""Reasoning effort, which dialects express as a level, as a number of tokens, or as a switch. Pure."""

import re

from gateway.dialects.conversation import ChatRequest
from gateway.dialects.shared.parameters import REASONING_LEVEL
from gateway.dialects.shared.writer import Dropped

LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


_SWITCHES = {"enabled", "adaptive", "disabled"}


# A level for a budget of up to so many tokens, and the budget for a level. Low to high are those of Gemini's OpenAI
# compatibility; the others are ours.
_BUDGETS = {"minimal": 512, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 65536}


def level(request: ChatRequest) -> str | None:
    """Return the requested level, also from a budget or a switch; None if the request has neither.

    A budget below zero is Gemini's: as many tokens as the model sees fit.
    """
    requested = request.parameters.get(REASONING_LEVEL)
    if requested in LEVELS:
        return str(requested)
    if requested == "disabled" or request.reasoning_budget == 0:
        return "none"
    if request.reasoning_budget is not None and request.reasoning_budget > 0:
        return next((name for name, most in _BUDGETS.items() if request.reasoning_budget <= most), "max")
    return "medium" if requested in _SWITCHES or request.reasoning_budget is not None else None


def budget(request: ChatRequest) -> int | None:
    """Return the requested tokens, also from a level; 0 disables reasoning, None leaves it to the model."""
    if request.reasoning_budget is not None and request.reasoning_budget >= 0:
        return request.reasoning_budget
    effort = level(request)
    return None if effort is None else _BUDGETS.get(effort, 0)


def drop_unsupported(request: ChatRequest, dropped: Dropped, *, shows: bool) -> None:
    """Name settings that a dialect of levels cannot express. `shows`: whether it has a field for showing reasoning."""
    requested = request.parameters.get(REASONING_LEVEL)
    if requested is not None and requested not in LEVELS and requested not in _SWITCHES:
        dropped.add("reasoning.level")
    if request.reasoning_budget is not None and request.reasoning_budget > 0:
        dropped.add("reasoning_budget")
    if request.show_reasoning is not None and not shows:
        dropped.add("show_reasoning")


_NUMBERS = re.compile(r"(?<![\d.])(\d{1,2})(?:[-.](\d{1,2}))?(?![\d.])")


def thinks_adaptively(model: str | None) -> bool:
    """Return whether a Claude takes `adaptive` and an effort instead of a budget: 4.6 and later.

    Source: Anthropic's and AWS's pages on adaptive thinking. A name without a version is taken for an older one.

    >>> thinks_adaptively("claude-opus-4-7")
    True
    >>> thinks_adaptively("anthropic.claude-sonnet-4-5-20250929-v1:0")
    False
    >>> thinks_adaptively("claude-fable-5")
    True
    """
    _, claude, name = (model or "").rpartition("claude-")
    found = _NUMBERS.search(name) if claude else None
    return found is not None and (int(found.group(1)), int(found.group(2) or 0)) >= (4, 6)
