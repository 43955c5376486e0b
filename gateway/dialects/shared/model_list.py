"""Lists of models, as each dialect has them: read from providers, written for clients. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects.wire.json import decode, fields, objects, text

_ANY = msgspec.json.Decoder()

# Below a provider's path, where a dialect lists its models; the others have no such place.
PATHS = {
    "openai-chat": "/models",
    "openai-responses": "/models",
    "anthropic-messages": "/models?limit=1000",
    "gemini": "/models?pageSize=1000",
    "ollama": "/api/tags",
}


class Model(Struct, frozen=True):
    """A model as a provider lists it; `said` is all that it says of it."""

    name: str
    said: dict[str, Any] = {}


class Listed(Struct, frozen=True):
    """A model under a name that it can be asked by, and whose it is."""

    name: str
    provider: str
    said: dict[str, Any] = {}


def read_models(body: bytes) -> list[Model] | None:
    """Return the models in a list of any dialect; None where it is no list."""
    whole = decode(body, _ANY)
    listed = {"data": whole} if isinstance(whole, list) else fields(whole)  # Together's is bare
    if not isinstance(listed.get("data"), list) and not isinstance(listed.get("models"), list):
        return None
    found = [(text(each.get("id")), each) for each in objects(listed.get("data"))]
    for each in objects(listed.get("models")):
        name = text(each.get("model")) or text(each.get("name"))
        found.append((name.removeprefix("models/") if name else None, {}))
    return [Model(name, said) for name, said in found if name]


def write_models(listed: Iterable[Listed], *, anthropic: bool, now: float) -> bytes:
    """Write a list as OpenAI's or Anthropic's clients read it; what a provider said in the same words stays."""
    if not anthropic:
        return msgspec.json.encode({"object": "list", "data": [_openais(each, now) for each in listed]})
    data = [_anthropics(each) for each in listed]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return msgspec.json.encode({"data": data, "has_more": False, **ends})


def _openais(listed: Listed, now: float) -> dict[str, Any]:
    made = {"id": listed.name, "object": "model", "created": int(now), "owned_by": listed.provider}
    return made | (listed.said | {"id": listed.name} if "object" in listed.said else {})


def _anthropics(listed: Listed) -> dict[str, Any]:
    made = {
        "type": "model",
        "id": listed.name,
        "display_name": listed.name,
        "created_at": "1970-01-01T00:00:00Z",  # what others' lists do not say
        "lifecycle": "active",
    }
    return made | (listed.said | {"id": listed.name} if listed.said.get("type") == "model" else {})
