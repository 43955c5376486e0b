"""Vocabularies of attributes: the names of `semconv` translated to the names that a consumer reads. Pure.

An attribute without a name in a vocabulary keeps its own, so that nothing is lost; a name that is taken is never
overwritten.
"""

import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.config.model import VocabularyName
from gateway.store.otlp import vocabulary_llm, vocabulary_openinference
from gateway.store.otlp.content import Attributes, Facts

# Attribute -> its older name, sent beside it: Phoenix, Jaeger and SigNoz read the first, many LLM views the second.
ALIASES = {
    "gen_ai.usage.cache_write.input_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.provider.name": "gen_ai.system",
}
_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
_LANGFUSE_FIRST_CHUNK = "langfuse.observation.completion_start_time"

# Names of version 1.37 of the conventions below `gen_ai.`. Chat history is in attributes there as it is today.
# Source: open-telemetry/semantic-conventions v1.37.0, docs/registry.
_IN_1_37 = frozenset(
    f"gen_ai.{name}"
    for name in """
    agent.description agent.id agent.name conversation.id data_source.id input.messages operation.name output.messages
    output.type provider.name request.choice.count request.encoding_formats request.frequency_penalty
    request.max_tokens request.model request.presence_penalty request.seed request.stop_sequences request.temperature
    request.top_k request.top_p response.finish_reasons response.id response.model system_instructions token.type
    tool.call.id tool.description tool.name tool.type usage.input_tokens usage.output_tokens
    """.split()
)
_DOUBLES_IN_1_37 = frozenset({"gen_ai.request.top_k"})


def attributes_in(vocabulary: VocabularyName, attributes: Mapping[str, Any], facts: Facts) -> Attributes:
    """Return a span's attributes under the names of a vocabulary."""
    return _VOCABULARIES[vocabulary](attributes, facts)


def _gen_ai(attributes: Mapping[str, Any], facts: Facts) -> Attributes:
    """Return today's names, with aliases beside them that some consumers read instead."""
    result = dict(attributes)
    for attribute, alias in ALIASES.items():
        if attribute in result:
            result.setdefault(alias, result[attribute])
    first_chunk = result.get(_FIRST_CHUNK)
    if isinstance(first_chunk, int | float):
        with contextlib.suppress(ValueError, OverflowError, OSError):  # out of the range of datetime
            moment = datetime.fromtimestamp(facts.start_ns / 1e9 + first_chunk, UTC)
            result.setdefault(_LANGFUSE_FIRST_CHUNK, moment.isoformat())
    return result


def _gen_ai_1_37(attributes: Mapping[str, Any], _: Facts) -> Attributes:
    """Return the names of version 1.37, with `gen_ai.system`, which it has deprecated and many still read.

    Later names are moved below `gateway.`: readers of that version add up everything below `gen_ai.usage.`.
    """
    result: Attributes = {}
    for name, value in attributes.items():
        later = name.startswith("gen_ai.") and name not in _IN_1_37 and name != "gen_ai.system"
        double = name in _DOUBLES_IN_1_37 and isinstance(value, int) and not isinstance(value, bool)
        result[f"gateway.{name}" if later else name] = float(value) if double else value
    if "gen_ai.provider.name" in result:
        result.setdefault("gen_ai.system", result["gen_ai.provider.name"])
    return result


_VOCABULARIES: dict[VocabularyName, Callable[[Mapping[str, Any], Facts], Attributes]] = {
    "gen-ai": _gen_ai,
    "gen-ai-1.37": _gen_ai_1_37,
    "openinference": vocabulary_openinference.attributes_in,
    "llm": vocabulary_llm.attributes_in,
}
