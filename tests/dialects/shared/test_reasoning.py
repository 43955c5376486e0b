import pytest

from gateway.dialects.conversation import ChatRequest
from gateway.dialects.shared.reasoning import budget, drop_unsupported, level, thinks_adaptively
from gateway.dialects.shared.writer import Dropped


def asked(requested: str | None, tokens: int | None, *, shown: bool | None = None) -> ChatRequest:
    """Ask for some thinking."""
    parameters = {"gen_ai.request.reasoning.level": requested} if requested else {}
    return ChatRequest(operation="chat", parameters=dict(parameters), reasoning_budget=tokens, show_reasoning=shown)


@pytest.mark.parametrize(
    ("requested", "tokens", "as_level", "as_budget"),
    [
        (None, None, None, None),
        ("none", None, "none", 0),
        ("disabled", None, "none", 0),
        ("disabled", 4096, "none", 4096),
        (None, 0, "none", 0),
        ("minimal", None, "minimal", 512),
        ("low", None, "low", 1024),
        ("medium", None, "medium", 8192),
        ("high", None, "high", 24576),
        ("xhigh", None, "xhigh", 32768),
        ("max", None, "max", 65536),
        ("enabled", 512, "minimal", 512),
        ("enabled", 513, "low", 513),
        ("enabled", 8192, "medium", 8192),
        ("enabled", 8193, "high", 8193),
        ("enabled", 100_000, "max", 100_000),
        ("low", 30_000, "low", 30_000),
        ("enabled", None, "medium", 8192),
        ("adaptive", None, "medium", 8192),
        (None, -1, "medium", 8192),
        ("novel", None, None, None),
    ],
)
def test_levels_and_budgets_are_told_as_each_other(
    requested: str | None, tokens: int | None, as_level: str | None, as_budget: int | None
) -> None:
    """A level, a number of tokens or a switch; below zero is as many as the model sees fit."""
    assert level(asked(requested, tokens)) == as_level
    assert budget(asked(requested, tokens)) == as_budget


@pytest.mark.parametrize("tokens", [512, 1024, 8192, 24576, 32768, 65536])
def test_a_budget_comes_back_as_it_was(tokens: int) -> None:
    """The tokens that represent a level are that level's budget."""
    found = level(asked(None, tokens))
    assert budget(asked(found, None)) == tokens


@pytest.mark.parametrize(
    ("requested", "tokens", "shown", "shows", "names"),
    [
        ("low", None, None, False, []),
        ("enabled", 2048, None, False, ["reasoning_budget"]),
        (None, 0, None, False, []),
        (None, -1, None, False, []),
        ("novel", None, None, False, ["reasoning.level"]),
        (None, None, True, False, ["show_reasoning"]),
        (None, None, False, False, ["show_reasoning"]),
        (None, None, False, True, []),
    ],
)
def test_what_a_level_cannot_say_is_named(
    requested: str | None, tokens: int | None, shown: bool | None, shows: bool, names: list[str]
) -> None:
    """An exact budget, a word that is none of ours, and whether thinking is shown."""
    dropped = Dropped()
    drop_unsupported(asked(requested, tokens, shown=shown), dropped, shows=shows)
    assert dropped.names == names


@pytest.mark.parametrize(
    ("model", "adaptive"),
    [
        ("claude-opus-4-6", True),
        ("claude-opus-4-7-20260416", True),
        ("claude-sonnet-5", True),
        ("anthropic/claude-sonnet-4.6", True),
        ("us.anthropic.claude-opus-4-7-v1:0", True),
        ("claude-fable-5@latest", True),
        ("claude-sonnet-4-5-20250929", False),
        ("claude-sonnet-4-20250514", False),
        ("claude-3-7-sonnet-20250219", False),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", False),
        ("claude-haiku-4-5@20251001", False),
        ("claude-instant", False),
        ("gpt-5.4", False),
        ("", False),
        (None, False),
    ],
)
def test_later_models_think_adaptively(model: str | None, adaptive: bool) -> None:
    """By the version in the name, wherever a provider puts it; a date is none."""
    assert thinks_adaptively(model) == adaptive
