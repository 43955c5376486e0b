"""OpenInference, which Phoenix and Arize read: messages and tools flattened, an attribute for each value. Pure.

Content that the flat form cannot hold in full also stays under its own name. Source: openinference's semantic
conventions 0.1.42 (spec/ and its Python package), and the way Phoenix 20 reads `gen_ai.*`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.store.otlp.content import Attributes, Facts, listed, nested, parts_of, renamed, texts_of
from gateway.store.otlp.openinference_messages import Flattened

_NAMES = {
    "gen_ai.request.model": "llm.request.model_name",
    "gen_ai.response.model": "llm.response.model_name",
    "gen_ai.usage.input_tokens": "llm.token_count.prompt",
    "gen_ai.usage.output_tokens": "llm.token_count.completion",
    "gen_ai.usage.total_tokens": "llm.token_count.total",
    "gen_ai.usage.cache_read.input_tokens": "llm.token_count.prompt_details.cache_read",
    "gen_ai.usage.cache_write.input_tokens": "llm.token_count.prompt_details.cache_write",
    "gen_ai.usage.reasoning.output_tokens": "llm.token_count.completion_details.reasoning",
    "gen_ai.usage.audio.input_tokens": "llm.token_count.prompt_details.audio",
    "gen_ai.usage.audio.output_tokens": "llm.token_count.completion_details.audio",
    "gen_ai.usage.cost": "llm.cost.total",
    # A session has its own attribute; without one, the conversation is the session.
    "gen_ai.conversation.id": "session.id",
}
_KINDS = {
    "chat": "LLM",
    "generate_content": "LLM",
    "text_completion": "LLM",
    "embeddings": "EMBEDDING",
    "execute_tool": "TOOL",
    "invoke_agent": "AGENT",
    "create_agent": "AGENT",
}
_STEPS = {"tool": "TOOL", "agent": "AGENT", "retriever": "RETRIEVER", "llm": "LLM", "embedding": "EMBEDDING"}
# gen_ai.provider.name -> llm.provider, the operator, and llm.system, the maker of the interface.
_PROVIDERS = {
    "openai": ("openai", "openai"),
    "anthropic": ("anthropic", "anthropic"),
    "cohere": ("cohere", "cohere"),
    "mistral_ai": ("mistralai", "mistralai"),
    "azure.ai.openai": ("azure", "openai"),
    "azure.ai.inference": ("azure", None),
    "gcp.gemini": ("google", None),
    "gcp.gen_ai": ("google", None),
    "gcp.vertex_ai": ("google", "vertexai"),
    "aws.bedrock": ("aws", None),
    "x_ai": ("xai", None),
    "moonshot_ai": ("moonshot", None),
}
_OWN = ("openinference.", "llm.", "embedding.")
_REQUEST = "gen_ai.request."
_INPUT, _OUTPUT = "gen_ai.input.messages", "gen_ai.output.messages"
_SYSTEM, _TOOLS = "gen_ai.system_instructions", "gen_ai.tool.definitions"
_FINISH, _PROVIDER = "gen_ai.response.finish_reasons", "gen_ai.provider.name"


def attributes_in(attributes: Mapping[str, Any], facts: Facts) -> Attributes:
    """Return a span's attributes under these names."""
    if any(name.startswith(_OWN) for name in attributes):  # an application's span that has these names already
        return dict(attributes)
    kind = _kind(attributes, facts)
    result = renamed(attributes, _NAMES)
    more: Attributes = {} if kind is None else {"openinference.span.kind": kind}
    of = "embedding" if kind == "EMBEDDING" else "llm"
    model = attributes.get("gen_ai.response.model") or attributes.get("gen_ai.request.model")
    if model is not None:
        more[f"{of}.model_name"] = model
    if isinstance(provider := attributes.get(_PROVIDER), str):
        name, system = _PROVIDERS.get(provider, (provider, None))
        more |= {"llm.provider": name} if system is None else {"llm.provider": name, "llm.system": system}
    reasons = result.get(_FINISH)
    if isinstance(reasons, list | tuple) and reasons:
        more["llm.finish_reason"] = result.pop(_FINISH) if len(reasons) > 1 else result.pop(_FINISH)[0]
    parameters = {name.removeprefix(_REQUEST): result.pop(name) for name in list(result) if name.startswith(_REQUEST)}
    if parameters:
        more[f"{of}.invocation_parameters"] = msgspec.json.encode(parameters).decode()
    more |= _embeddings(result) if kind == "EMBEDDING" else _conversation(result)
    return more | result


def _kind(attributes: Mapping[str, Any], facts: Facts) -> str | None:
    """Return the kind of a span; None for a request whose body was not read."""
    if facts.kind == "SERVER":
        return "CHAIN"
    if facts.kind != "CLIENT" and "gateway.run.id" in attributes:
        return _STEPS.get(str(attributes.get("gateway.step.type")).lower(), "CHAIN")
    return _KINDS.get(str(attributes.get("gen_ai.operation.name")))


def _embeddings(result: Attributes) -> Attributes:
    """Return embedded texts, flat; remove them from `result` if that is all of the content."""
    inputs = listed(result.get(_INPUT)) or []
    texts = [text for message in inputs for text in texts_of(parts_of(message))]
    flat: Attributes = {f"embedding.embeddings.{index}.embedding.text": text for index, text in enumerate(texts)}
    if texts:
        flat |= {"input.value": "\n\n".join(texts), "input.mime_type": "text/plain"}
    plain = [{"role": "user", "parts": [{"type": "text", "content": text}]} for text in texts]
    together = [{"role": "user", "parts": [part for message in plain for part in message["parts"]]}]
    if inputs and inputs in (plain, together):
        del result[_INPUT]
    return flat


def _conversation(result: Attributes) -> Attributes:
    """Return a conversation and its tools, flat; remove from `result` the content that is there in full."""
    flat: Attributes = {}
    inputs, outputs = Flattened("llm.input_messages"), Flattened("llm.output_messages")
    for name, into in ((_SYSTEM, inputs), (_INPUT, inputs), (_OUTPUT, outputs)):
        items = listed(result.get(name))
        if items is None:
            continue
        messages: Sequence[Mapping[str, Any]] = [{"role": "system", "parts": items}] if name == _SYSTEM else items
        places = [into.add(message) for message in messages]
        if all(places):
            del result[name]
        if name != _SYSTEM:
            flat |= _summary("input", items[-1:]) if name == _INPUT else _summary("output", items)
    tools = listed(result.get(_TOOLS))
    if tools is not None:
        del result[_TOOLS]
    schemas = {
        f"llm.tools.{index}.tool.json_schema": msgspec.json.encode(tool).decode()
        for index, tool in enumerate(nested(tools or []))
    }
    return inputs.attributes | outputs.attributes | schemas | flat


def _summary(what: str, messages: Sequence[Mapping[str, Any]]) -> Attributes:
    """Return input or output as a list of spans shows it: the texts of messages, or JSON if there are none."""
    if not messages:
        return {}
    texts = [text for message in messages for text in texts_of(parts_of(message))]
    if texts:
        return {f"{what}.value": "\n\n".join(texts), f"{what}.mime_type": "text/plain"}
    encoded = msgspec.json.encode(messages if len(messages) > 1 else messages[0]).decode()
    return {f"{what}.value": encoded, f"{what}.mime_type": "application/json"}
