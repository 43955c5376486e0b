"""Gemini's JSON in its two spellings.

The API takes each field in camelCase and in snake_case. Source: the types of google-genai, and the API reference.
"""

from functools import cache
from typing import Any

NAME = "gemini"

# Stands where there is no signature, for calls that another model made. Source: the guide to thought signatures.
NO_SIGNATURE = "skip_thought_signature_validator"


def camel(name: str) -> str:
    """Return a field's name as the API documents it.

    >>> camel("function_declarations")
    'functionDeclarations'
    """
    if "_" not in name:
        return name
    head, *tail = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail)


@cache
def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def pick(value: dict[str, Any], name: str) -> Any:
    """Return a field by its documented name, or by that in snake_case."""
    found = value.get(name)
    return value.get(_snake(name)) if found is None else found


def rest(value: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return the fields that have other names than those known, as they stand."""
    if value.keys() <= known:
        return {}
    return {k: v for k, v in value.items() if v is not None and camel(k) not in known}
