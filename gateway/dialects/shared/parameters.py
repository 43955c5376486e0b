"""A request's parameters under the span attributes' names."""

from collections.abc import Container
from typing import Any, TypeAlias

from gateway.dialects.conversation import ChatRequest
from gateway.dialects.shared.writer import Dropped
from gateway.dialects.wire.json import count, text

Parameters: TypeAlias = dict[str, str | int | float | bool | list[str]]

MAX_TOKENS = "gen_ai.request.max_tokens"
TEMPERATURE = "gen_ai.request.temperature"
TOP_P = "gen_ai.request.top_p"
TOP_K = "gen_ai.request.top_k"
STOP_SEQUENCES = "gen_ai.request.stop_sequences"
FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty"
PRESENCE_PENALTY = "gen_ai.request.presence_penalty"
SEED = "gen_ai.request.seed"
CHOICE_COUNT = "gen_ai.request.choice.count"
STREAM = "gen_ai.request.stream"
REASONING_LEVEL = "gen_ai.request.reasoning.level"
PREVIOUS_RESPONSE_ID = "gen_ai.request.previous_response.id"
ENCODING_FORMATS = "gen_ai.request.encoding_formats"
DIMENSION_COUNT = "gen_ai.embeddings.dimension.count"
OUTPUT_TYPE = "gen_ai.output.type"

_WHOLE = {MAX_TOKENS, TOP_K, SEED, CHOICE_COUNT, DIMENSION_COUNT}
_FRACTIONAL = {TEMPERATURE, TOP_P, FREQUENCY_PENALTY, PRESENCE_PENALTY}
_LISTS = {STOP_SEQUENCES, ENCODING_FORMATS}


def parameters(request: dict[str, Any]) -> Parameters:
    """Return the values that are there and have their attribute's type; the provider refuses others."""
    known: Parameters = {}
    for name, value in request.items():
        if value is not None and (typed := _typed(name, value)) is not None:
            known[name] = typed
    return known


def _typed(name: str, value: Any) -> str | int | float | bool | list[str] | None:
    if name in _WHOLE:
        whole = count(value)
        return None if name == CHOICE_COUNT and whole == 1 else whole
    if name in _FRACTIONAL:
        return value if isinstance(value, float) else None if (whole := count(value)) is None else float(whole)
    if name in _LISTS:
        values = [value] if isinstance(value, str) else value
        return [v for v in values if isinstance(v, str)] or None if isinstance(values, list) else None
    if name == STREAM:
        return True if value is True else None  # the conventions want it only if true
    return text(value)


def output_type(form: Any) -> str | None:
    """Return the conventions' word for a `response_format`'s type."""
    return {"text": "text", "json_object": "json", "json_schema": "json"}.get(form) if isinstance(form, str) else None


def write_parameters(
    request: ChatRequest, names: dict[str, str], elsewhere: Container[str], dropped: Dropped
) -> dict[str, Any]:
    """Return the parameters under a dialect's `names`; those that are neither in them nor `elsewhere` are dropped."""
    written: dict[str, Any] = {}
    for attribute, value in request.parameters.items():
        if attribute in names:
            written[names[attribute]] = value
        elif attribute not in elsewhere:
            dropped.add(attribute.removeprefix("gen_ai.request."))
    return written
