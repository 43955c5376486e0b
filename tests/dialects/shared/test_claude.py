import pytest

from gateway.dialects.shared.reasoning import thinks_adaptively


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
