"""What differs between Claude models and stands nowhere in their dialect. Pure."""

import re

_NUMBERS = re.compile(r"(?<![\d.])(\d{1,2})(?:[-.](\d{1,2}))?(?![\d.])")


def thinks_adaptively(model: str | None) -> bool:
    """Whether a model is told to think by `adaptive` and an effort, and not by a budget: Claude 4.6 and later.

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
