"""Lists of models: read from a provider of any dialect, written in the form of OpenAI's. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects.wire.json import decode, fields, objects, text

_ANY = msgspec.json.Decoder()


class Model(Struct, frozen=True):
    """A model in a provider's list; `said` has all its fields."""

    name: str
    said: dict[str, Any] = {}


class Listed(Struct, frozen=True):
    """A model under a name that leads to it, and its provider."""

    name: str
    provider: str
    said: dict[str, Any] = {}


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
    return [Model(name, said) for name, said in found if name]


def write_models(listed: Iterable[Listed], now: float) -> bytes:
    """Write a list as OpenAI's clients read it; a provider's own fields stay if its list has the same form."""
    return msgspec.json.encode({"object": "list", "data": [_model(each, now) for each in listed]})


def _model(listed: Listed, now: float) -> dict[str, Any]:
    made = {"id": listed.name, "object": "model", "created": int(now), "owned_by": listed.provider}
    return made | (listed.said | {"id": listed.name} if "object" in listed.said else {})
