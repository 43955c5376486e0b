"""Whether a JSON schema is one that OpenAI can hold a model to. Pure.

Source: OpenAI's guide to structured outputs: of strict schemas, every object is closed and needs all of its properties.
"""

from typing import Any

_DEEP = 64


def is_strict(schema: Any, depth: int = 0) -> bool:
    """Whether a schema may be strict; one that is not is refused, together with the request."""
    if not isinstance(schema, dict):
        return not isinstance(schema, list) or (depth < _DEEP and all(is_strict(each, depth + 1) for each in schema))
    if "properties" in schema or schema.get("type") == "object":
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if schema.get("additionalProperties") is not False or not isinstance(required, list):
            return False
        if not isinstance(properties, dict) or any(name not in required for name in properties):
            return False
    return depth < _DEEP and all(is_strict(each, depth + 1) for each in schema.values())
