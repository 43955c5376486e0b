"""Lists of models, as each dialect has them: read from providers, written for clients. Pure."""

from typing import Any

import msgspec

from gateway.dialects.lenient import decode, objects, text

_OBJECT = msgspec.json.Decoder(dict[str, Any])

# Below a provider's path, where a dialect lists its models; the others have no such place.
PATHS = {
    "openai-chat": "/models",
    "openai-responses": "/models",
    "anthropic-messages": "/models?limit=1000",
    "gemini": "/models?pageSize=1000",
    "ollama": "/api/tags",
}


def read_models(body: bytes) -> list[str]:
    """Return the names in a list of any dialect."""
    listed = decode(body, _OBJECT) or {}
    names = [text(each.get("id")) for each in objects(listed.get("data"))]
    for each in objects(listed.get("models")):
        name = text(each.get("model")) or text(each.get("name"))
        names.append(name.removeprefix("models/") if name else None)
    return [name for name in names if name]


def write_models(names: list[tuple[str, str]], *, anthropic: bool, now: float) -> bytes:
    """Write a list of (model, provider) as OpenAI's or Anthropic's clients read it."""
    if not anthropic:
        data: list[dict[str, Any]] = [
            {"id": name, "object": "model", "created": int(now), "owned_by": provider} for name, provider in names
        ]
        return msgspec.json.encode({"object": "list", "data": data})
    created = "1970-01-01T00:00:00Z"  # what a list of names does not say
    data = [{"type": "model", "id": name, "display_name": name, "created_at": created} for name, _ in names]
    ends = {"first_id": names[0][0], "last_id": names[-1][0]} if names else {"first_id": None, "last_id": None}
    return msgspec.json.encode({"data": data, "has_more": False, **ends})
