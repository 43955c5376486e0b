"""The `thinking` of a request to Anthropic's messages, and the parameters that it excludes. Pure.

Source: Anthropic's pages on extended and on adaptive thinking, and the API's refusals: other temperatures than 1,
tools that must be called, a budget that leaves no room, and the result of a call without thinking before it.
"""

from typing import Any

from gateway.dialects.conversation import ChatRequest
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.reasoning import LEVELS, budget, level, thinks_adaptively
from gateway.dialects.shared.writer import Dropped

Json = dict[str, Any]

_LEAST_BUDGET = 1024
_ROOM = 4096
"""Tokens for the response, if the client names no limit."""

_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_LEAST_TOP_P = 0.95


def add_thinking(body: Json, request: ChatRequest, dropped: Dropped, *, limited: bool) -> None:
    """Write `thinking` in the way that the model takes; `limited`: the client named a limit of tokens."""
    effort, word = level(request), request.parameters.get(name.REASONING_LEVEL)
    if word is not None and word not in LEVELS and word not in {"enabled", "adaptive", "disabled"}:
        dropped.add("reasoning.level")
    if request.show_reasoning is not None and effort in {None, "none"}:
        dropped.add("show_reasoning")
    if effort is None:
        return
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    adaptive = thinks_adaptively(request.model)
    thinking: Json | None = None
    if _may_think(body, adaptive=adaptive):
        thinking = {"type": "adaptive"} if adaptive else _budgeted(body, request, limited=limited)
    if thinking is None:
        dropped.add("reasoning.level" if request.reasoning_budget is None else "reasoning_budget")
        return
    body["thinking"] = thinking
    if adaptive and request.reasoning_budget is not None and request.reasoning_budget > 0:
        dropped.add("reasoning_budget")
    if _has_amount(request) if adaptive else word in _EFFORTS and request.reasoning_budget is not None:
        body["output_config"] = {"effort": _EFFORTS[effort]}
    if request.show_reasoning is not None:
        thinking["display"] = "summarized" if request.show_reasoning else "omitted"
    _forgo(body, dropped)


def _has_amount(request: ChatRequest) -> bool:
    """Return whether the request has an amount of reasoning, and not only a switch."""
    requested = request.parameters.get(name.REASONING_LEVEL)
    return requested in LEVELS or (request.reasoning_budget is not None and request.reasoning_budget > 0)


def _budgeted(body: Json, request: ChatRequest, *, limited: bool) -> Json | None:
    """Return thinking by a number of tokens, with room for a response; None if the client's limit leaves none."""
    tokens = max(_LEAST_BUDGET, budget(request) or 0)
    if not limited:
        body["max_tokens"] = tokens + _ROOM
    elif body["max_tokens"] <= _LEAST_BUDGET:
        return None
    elif body["max_tokens"] <= tokens:
        tokens = max(_LEAST_BUDGET, body["max_tokens"] // 2)
    return {"type": "enabled", "budget_tokens": tokens}


def _may_think(body: Json, *, adaptive: bool) -> bool:
    if body.get("tool_choice", {}).get("type") in {"any", "tool"}:
        return False
    return adaptive or not _goes_on_unthought(body["messages"])


def _goes_on_unthought(messages: list[Json]) -> bool:
    """Whether the last turn has tools' results, and the one that called them begins with no thinking."""
    last, before = (messages[-1], messages[-2]) if len(messages) > 1 else ({}, {})
    if not _has(last, "tool_result") or not _has(before, "tool_use"):
        return False
    return before["content"][0]["type"] not in {"thinking", "redacted_thinking"}


def _has(message: Json, kind: str) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(block.get("type") == kind for block in content)


def _forgo(body: Json, dropped: Dropped) -> None:
    """Leave out the parameters that are refused beside thinking."""
    refused = {
        "temperature": body.get("temperature", 1) != 1,
        "top_k": "top_k" in body,
        "top_p": body.get("top_p", 1) < _LEAST_TOP_P,
    }
    for key in (key for key, is_refused in refused.items() if is_refused):
        del body[key]
        dropped.add(f"{key}: beside reasoning")
