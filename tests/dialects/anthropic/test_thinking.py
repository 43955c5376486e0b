"""Reasoning as Claude models take it."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.dialects.conversation import (
    Reasoning,
    ToolCall,
    ToolChoice,
)
from tests.dialects.anthropic.requests import ASK, LOOK, chat, model, sent, tool_says

SIGNED = Reasoning(content="Hm.", extra={"anthropic-messages": {"signature": "EqQB"}})


CALLED = [ASK, model(ToolCall(id="c", name="look")), tool_says(id="c")]


def level(value: str) -> dict[str, Any]:
    """Ask for a level of reasoning."""
    return {"parameters": {"gen_ai.request.reasoning.level": value}}


@pytest.mark.parametrize(
    ("called", "more", "written", "dropped"),
    [
        (
            "claude-sonnet-5",
            level("minimal"),
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            [],
        ),
        ("claude-sonnet-5", level("adaptive"), {"thinking": {"type": "adaptive"}}, []),
        ("claude-sonnet-5", level("none"), {"thinking": {"type": "disabled"}}, []),
        ("claude-sonnet-5", level("novel"), {}, ["reasoning.level"]),
        (
            "claude-opus-4-7",
            {"reasoning_budget": 4096, "show_reasoning": True},
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "medium"}},
            ["reasoning_budget"],
        ),
        ("claude-opus-4-7", {"reasoning_budget": -1}, {"thinking": {"type": "adaptive"}}, []),
        ("claude-opus-4-7", {"show_reasoning": True}, {}, ["show_reasoning"]),
        (
            "claude-sonnet-4-5",
            level("low"),
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 5120},
            [],
        ),
        (
            "claude-sonnet-4-5",
            {"reasoning_budget": 512},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 5120},
            [],
        ),
        (
            "claude-sonnet-4-5",
            {"parameters": {"gen_ai.request.reasoning.level": "high", "gen_ai.request.max_tokens": 9000}},
            {"thinking": {"type": "enabled", "budget_tokens": 4500}, "max_tokens": 9000},
            [],
        ),
        (
            "claude-sonnet-4-5",
            {"parameters": {"gen_ai.request.reasoning.level": "high", "gen_ai.request.max_tokens": 1000}},
            {"max_tokens": 1000},
            ["reasoning.level"],
        ),
        (
            "claude-sonnet-5",
            level("high") | {"tools": [LOOK], "tool_choice": ToolChoice(mode="required")},
            {"tool_choice": {"type": "any"}},
            ["reasoning.level"],
        ),
        (
            "claude-sonnet-5",
            {
                "parameters": {
                    "gen_ai.request.reasoning.level": "high",
                    "gen_ai.request.temperature": 0.2,
                    "gen_ai.request.top_p": 0.5,
                    "gen_ai.request.top_k": 3,
                }
            },
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            ["temperature: beside reasoning", "top_k: beside reasoning", "top_p: beside reasoning"],
        ),
        (
            "claude-sonnet-5",
            {
                "parameters": {
                    "gen_ai.request.reasoning.level": "high",
                    "gen_ai.request.temperature": 1.0,
                    "gen_ai.request.top_p": 0.95,
                }
            },
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}, "temperature": 1.0, "top_p": 0.95},
            [],
        ),
        ("claude-sonnet-4-5", level("low") | {"input_messages": CALLED}, {}, ["reasoning.level"]),
        (
            "claude-sonnet-5",
            level("low") | {"input_messages": CALLED},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            [],
        ),
        (
            "claude-sonnet-4-5",
            level("low") | {"input_messages": [ASK, replace(CALLED[1], parts=[SIGNED, *CALLED[1].parts]), CALLED[2]]},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 5120},
            [],
        ),
    ],
)
def test_thinking_is_asked_for_as_the_model_takes_it(
    called: str, more: dict[str, Any], written: dict[str, Any], dropped: list[str]
) -> None:
    """By an effort or by a budget; what the API refuses beside it is left out and named, or else the thinking is."""
    body, named = sent(replace(chat(ASK, model=called), **more))
    rest = {key: body[key] for key in body if key not in {"model", "messages", "tools"}}
    assert rest == {"max_tokens": 4096} | written
    assert named == dropped
