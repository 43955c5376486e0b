"""What one provider must see again in the next turn, carried by the client of another dialect. Pure.

Reasoning has a field that only its provider reads (a signature, an encrypted form), and that clients send back as it
is. In a translation there is nothing to put there but what the provider of the other dialect needs.
"""

import base64
import binascii
from typing import Any

import msgspec

from gateway.dialects.conversation import Extra
from gateway.dialects.wire.json import UNREADABLE, fields

_HEAD = b'{"gateway":{'  # whole groups of three bytes, so that its base64 does not depend on what follows
_HEAD_BASE64 = base64.b64encode(_HEAD).decode()


def foreign(extra: Extra, own: str) -> Extra:
    """Return what belongs to other dialects than `own`."""
    return {dialect: fields for dialect, fields in extra.items() if dialect != own and fields}


def carried(extra: Extra) -> str:
    """Return an `extra` as a text that no provider's own can be taken for."""
    return base64.b64encode(_HEAD + msgspec.json.encode(extra)[1:] + b"}").decode()


def uncarried(text: Any) -> Extra | None:
    """Return what `carried` made a text of; None for any other text."""
    if not isinstance(text, str) or not text.startswith(_HEAD_BASE64):
        return None
    try:
        found = fields(msgspec.json.decode(base64.b64decode(text, validate=True))).get("gateway")
    except (binascii.Error, *UNREADABLE):
        return None
    return found if isinstance(found, dict) and all(isinstance(own, dict) for own in found.values()) else None
