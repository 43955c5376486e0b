"""Lists of models: read from a provider of any dialect, written in the form of OpenAI's or Anthropic's. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects.wire.json import decode, fields, objects, text

_ANY = msgspec.json.Decoder()


class Model(Struct, frozen=True):
    """A model in a provider's list; `entry` is its whole object."""

    name: str
    entry: dict[str, Any] = {}


class Listed(Struct, frozen=True):
    """A model under a name that leads to it, and its provider."""

    name: str
    provider: str
    entry: dict[str, Any] = {}


def read_models(body: bytes) -> list[Model] | None:
    """Return the models in a list of any dialect; None if it is no list."""
    whole = decode(body, _ANY)
    listed = {"data": whole} if isinstance(whole, list) else fields(whole)  # Together's is bare
    if not isinstance(listed.get("data"), list) and not isinstance(listed.get("models"), list):
        return None
    found = [(text(each.get("id")), each) for each in objects(listed.get("data"))]
    for each in objects(listed.get("models")):
        name = text(each.get("model")) or text(each.get("name"))
        found.append((name.removeprefix("models/") if name else None, {}))
    return [Model(name, entry) for name, entry in found if name]


def write_models(listed: Iterable[Listed], now: float) -> bytes:
    """Write a list as OpenAI's clients read it; a provider's own fields stay if its list has the same form."""
    return msgspec.json.encode({"object": "list", "data": [_model(each, now) for each in listed]})


def _model(listed: Listed, now: float) -> dict[str, Any]:
    entry = {"id": listed.name, "object": "model", "created": int(now), "owned_by": listed.provider}
    return entry | (listed.entry | {"id": listed.name} if "object" in listed.entry else {})


def write_model_page(listed: Iterable[Listed], now: float) -> bytes:  # noqa: ARG001  the list has no time of its own
    """Write a list in the form of Anthropic's, as the only page."""
    data = [_page_entry(each) for each in listed]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return msgspec.json.encode({"data": data, "has_more": False, **ends})


def _page_entry(listed: Listed) -> dict[str, Any]:
    entry = {
        "type": "model",
        "id": listed.name,
        "display_name": listed.name,
        "created_at": "1970-01-01T00:00:00Z",  # other APIs' lists have no such field
        "lifecycle": "active",
    }
    return entry | (listed.entry | {"id": listed.name} if listed.entry.get("type") == "model" else {})
