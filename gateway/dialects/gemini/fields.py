"""How Gemini's JSON is read: its two spellings, its two alphabets of base64, and what its signatures carry for others.

The API takes each field in camelCase and in snake_case. Source: the types of google-genai, and the API reference.
"""

import base64
import binascii
from functools import cache
from typing import Any

import msgspec

from gateway.dialects.conversation import Extra
from gateway.dialects.wire.json import UNREADABLE, fields

NAME = "gemini"

# Stands where there is no signature, for calls that another model made. Source: the guide to thought signatures.
NO_SIGNATURE = "skip_thought_signature_validator"

_CARRIED = b'{"gateway":{'  # whole groups of three bytes, so that its base64 does not depend on what follows
_CARRIED_BASE64 = base64.b64encode(_CARRIED).decode()


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


def carried(extra: Extra) -> str:
    """Return what other dialects must see again in the next turn, as a signature, which clients send back as it is."""
    return base64.b64encode(_CARRIED + msgspec.json.encode(extra)[1:] + b"}").decode()


def uncarried(signature: str) -> Extra | None:
    """Return what `carried` wrote; None for a signature of Gemini's."""
    if not signature.startswith(_CARRIED_BASE64):
        return None
    try:
        data = base64.b64decode(standard_base64(signature), validate=True)
        found = fields(msgspec.json.decode(data)).get("gateway")
    except (binascii.Error, *UNREADABLE):
        return None
    whole = isinstance(found, dict) and all(isinstance(own, dict) for own in found.values())
    return found if whole else None


def standard_base64(data: str) -> str:
    """Return base64 in the usual alphabet and padded: the API takes the one for URLs too, which the SDKs write."""
    if "-" in data or "_" in data:
        data = data.replace("-", "+").replace("_", "/")
    return data + "=" * (-len(data) % 4)
