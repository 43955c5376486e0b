"""Fields that only one dialect has: read into `extra`, and carried through the clients of other dialects. Pure.

Reasoning and calls have a field that only their provider reads (a signature, an encrypted form), and that clients send
back as it is. In a translation that field is free, so it carries the fields that the provider of the other dialect
needs in the next turn.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.dialects.conversation import Extra
from gateway.dialects.wire.json import UNREADABLE, fields

_HEAD = b'{"gateway":{'  # whole groups of three bytes, so that its base64 does not depend on the bytes after it
_HEAD_BASE64 = base64.b64encode(_HEAD).decode()


def own(dialect: str, members: Mapping[str, Any], *names: str) -> Extra:
    """Return the members that are not null as an `extra`; of `names`, if any, those that are not empty either."""
    if names:
        members = {name: members[name] for name in names if members.get(name) not in (None, "")}
    found = {name: value for name, value in members.items() if value is not None}
    return {dialect: found} if found else {}


def foreign(extra: Extra, dialect: str) -> Extra:
    """Return the fields of other dialects than this."""
    return {each: members for each, members in extra.items() if each != dialect and members}


def encode_state(extra: Extra) -> str:
    """Return an `extra` as text that cannot be taken for a provider's own."""
    return base64.b64encode(_HEAD + msgspec.json.encode(extra)[1:] + b"}").decode()


def decode_state(text: Any) -> Extra | None:
    """Return the `extra` in a text of `encode_state`; None for any other value. Both alphabets of base64 are read."""
    if not isinstance(text, str) or not text.startswith(_HEAD_BASE64):
        return None
    try:
        found = fields(msgspec.json.decode(base64.b64decode(standard_base64(text), validate=True))).get("gateway")
    except (binascii.Error, *UNREADABLE):
        return None
    return found if isinstance(found, dict) and all(isinstance(each, dict) for each in found.values()) else None


def standard_base64(data: str) -> str:
    """Return base64 in the usual alphabet, padded: Google's API takes the one for URLs too, which its SDKs write."""
    if "-" in data or "_" in data:
        data = data.replace("-", "+").replace("_", "/")
    return data + "=" * (-len(data) % 4)


def sibling_format(own: dict[str, Any], extra: Extra, dialect: str) -> tuple[dict[str, Any], Extra]:
    """Return a custom tool's fields in one of OpenAI's two dialects, and the extra that is still foreign.

    Both can constrain the tool's text by a grammar, whose fields are in an object of their own in one of them.
    """
    other = "openai-responses" if dialect == "openai-chat" else "openai-chat"
    form = extra.get(other, {}).get("format")
    if own or not isinstance(form, dict):
        return own, extra
    if form.get("type") == "grammar":
        within = form.get("grammar") if other == "openai-chat" else form
        grammar = {k: v for k, v in within.items() if k != "type"} if isinstance(within, dict) else {}
        form = {"type": "grammar", **(grammar if other == "openai-chat" else {"grammar": grammar})}
    rest = {key: value for key, value in extra[other].items() if key != "format"}
    return {"format": form}, {**extra, other: rest}
