from typing import Any

import pytest

from gateway.dialects.bedrock.models import family, own_fields
from gateway.dialects.conversation import ChatRequest, ToolChoice
from gateway.dialects.shared.parameters import MAX_TOKENS, REASONING_LEVEL, TEMPERATURE, TOP_K
from gateway.dialects.shared.writer import Dropped

OLD = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NEW = "global.anthropic.claude-opus-5-20260701-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"
GPT = "openai.gpt-oss-120b-1:0"
OPAQUE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"


@pytest.mark.parametrize(
    ("model", "whose"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic"),
        (OLD, "anthropic"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.amazon.nova-pro-v1:0", "amazon"),
        ("arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-1-70b-instruct-v1:0", "meta"),
        ("us-gov.anthropic.claude-x", "anthropic"),
        ("claude-opus-5", "anthropic"),
        ("mistral.mistral-large-2407-v1:0", "mistral"),
        (OPAQUE, ""),
        ("arn:aws:sagemaker:us-east-1:123456789012:endpoint/e", ""),
        (None, ""),
    ],
)
def test_a_models_name_says_whose_it_is(model: str | None, whose: str) -> None:
    """The region before it does not matter; an ARN of one's own does not say."""
    assert family(model) == whose


def own(model: str, level: str | None = None, **more: Any) -> tuple[dict[str, Any], str | None, list[str]]:
    """Return the family's fields, the effort and what is lost."""
    parameters = {REASONING_LEVEL: level} if level else {}
    dropped = Dropped()
    asked = ChatRequest(operation="chat", model=model, parameters=parameters | more.pop("parameters", {}), **more)
    return *own_fields(asked, dropped), dropped.names


ADAPTIVE = {"thinking": {"type": "adaptive"}}


def enabled(tokens: int) -> dict[str, Any]:
    """Make a thinking of so many tokens."""
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


@pytest.mark.parametrize(
    ("model", "level", "more", "expected"),
    [
        # a Claude that takes an effort
        (NEW, None, {}, ({}, None, [])),
        (NEW, "high", {}, (ADAPTIVE, "high", [])),
        (NEW, "minimal", {}, (ADAPTIVE, "low", [])),
        (NEW, "none", {}, ({}, None, [])),
        (NEW, "disabled", {}, ({"thinking": {"type": "disabled"}}, None, [])),
        (
            NEW,
            "adaptive",
            {"show_reasoning": True},
            ({"thinking": {"type": "adaptive", "display": "summarized"}}, None, []),
        ),
        (
            NEW,
            "adaptive",
            {"show_reasoning": False},
            ({"thinking": {"type": "adaptive", "display": "omitted"}}, None, []),
        ),
        (NEW, "disabled", {"show_reasoning": True}, ({"thinking": {"type": "disabled"}}, None, [])),
        (NEW, "high", {"tool_choice": ToolChoice(mode="required")}, ({}, "high", [])),
        (NEW, "high", {"parameters": {TEMPERATURE: 0.2}}, ({}, "high", [])),
        (NEW, "high", {"parameters": {TEMPERATURE: 1.0}}, (ADAPTIVE, "high", [])),
        (NEW, None, {"reasoning_budget": 5000}, (ADAPTIVE, "medium", [])),
        # one that takes a budget
        (OLD, "low", {}, (enabled(1024), None, [])),
        (OLD, "high", {}, (enabled(24576), None, [])),
        (OLD, "high", {"parameters": {MAX_TOKENS: 4096}}, (enabled(2048), None, [])),
        (OLD, "high", {"parameters": {MAX_TOKENS: 1500}}, ({}, None, ["reasoning.level"])),
        (OLD, "high", {"tool_choice": ToolChoice(mode="tool", name="t")}, ({}, None, ["reasoning.level"])),
        (OLD, None, {"reasoning_budget": 3000}, (enabled(3000), None, [])),
        (OLD, None, {"reasoning_budget": 0}, ({}, None, [])),
        (OLD, None, {"reasoning_budget": 100}, ({}, None, ["reasoning_budget"])),
        (OLD, "enabled", {"reasoning_budget": 9000, "parameters": {MAX_TOKENS: 10}}, (enabled(9000), None, [])),
        ("anthropic.claude-3-haiku-20240307-v1:0", "high", {}, ({}, None, ["reasoning.level"])),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "high", {}, ({}, None, ["reasoning.level"])),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "low", {}, (enabled(1024), None, [])),
        # others
        (NOVA, "minimal", {}, ({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, None, [])),
        (NOVA, "none", {}, ({}, None, [])),
        ("amazon.nova-pro-v1:0", "high", {}, ({}, None, ["reasoning.level"])),
        (GPT, "max", {}, ({"reasoning_effort": "high"}, None, [])),
        ("moonshotai.kimi-k2-thinking", "low", {}, ({"reasoning_effort": "low"}, None, [])),
        (OPAQUE, "high", {}, ({}, "high", [])),
        (OPAQUE, None, {"reasoning_budget": 2000}, ({}, None, ["reasoning_budget"])),
        (OPAQUE, "minimal", {}, ({}, None, ["reasoning.level"])),
        ("meta.llama3-1-70b-instruct-v1:0", "high", {}, ({}, None, ["reasoning.level"])),
        ("meta.llama3-1-70b-instruct-v1:0", "none", {}, ({}, None, [])),
    ],
)
def test_each_family_is_told_to_think_in_its_way(
    model: str, level: str | None, more: dict[str, Any], expected: tuple[dict[str, Any], str | None, list[str]]
) -> None:
    """By an effort, by tokens, or by a field of its own; if it cannot be expressed, that is named."""
    assert own(model, level, **more) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (OLD, ({"top_k": 5}, None, [])),
        (NOVA, ({"inferenceConfig": {"topK": 5}}, None, [])),
        ("cohere.command-r-v1:0", ({"k": 5}, None, [])),
        ("mistral.mistral-large-2407-v1:0", ({"top_k": 5}, None, [])),
        ("meta.llama3-1-70b-instruct-v1:0", ({}, None, ["top_k"])),
        (OPAQUE, ({}, None, ["top_k"])),
    ],
)
def test_top_k_has_each_familys_name(model: str, expected: tuple[dict[str, Any], str | None, list[str]]) -> None:
    """Converse has no word for it; some families do."""
    assert own(model, parameters={TOP_K: 5}) == expected


def test_a_claudes_thinking_comes_over_from_its_own_dialect() -> None:
    """An Anthropic client's thinking settings beside an effort are passed on as they are, but not to other families."""
    thinking = {"type": "adaptive", "display": "omitted"}
    extra = {"anthropic-messages": {"thinking": thinking}}
    assert own(NEW, "max", extra=extra) == ({"thinking": thinking}, "max", [])
    assert own(GPT, "low", extra=extra) == ({"reasoning_effort": "low"}, None, [])
