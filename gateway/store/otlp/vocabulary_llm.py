"""Chronicle's names: `llm.*`, as its spans and its log have them. Pure.

Chronicle is the Rust LLM proxy whose API is supported. It has one span for a request and all its retries; here the
request's attributes are on the exchange, those of the model on each attempt. Times are whole milliseconds. Source:
chronicle, proxy/src/lib.rs and response.rs.
"""

from collections.abc import Mapping
from typing import Any

from gateway.store.otlp.content import Attributes, Facts, listed, parts_of, renamed, text_of, texts_of

_NAMES = {
    "gateway.error": "error",
    "gateway.retries": "llm.retries",
    "gateway.rate_limited": "llm.rate_limited",
    "gateway.application": "llm.meta.application",
    "gateway.environment": "llm.meta.environment",
    "gateway.organization.id": "llm.meta.organization_id",
    "gateway.project.id": "llm.meta.project_id",
    "user.id": "llm.meta.user_id",
    "gateway.workflow.id": "llm.meta.workflow_id",
    "gateway.workflow.name": "llm.meta.workflow_name",
    "gateway.run.id": "llm.meta.run_id",
    "gateway.step.id": "llm.meta.step",
    "gateway.step.index": "llm.meta.step_index",
    "gateway.prompt.id": "llm.meta.prompt_id",
    "gateway.prompt.version": "llm.meta.prompt_version",
    "gateway.extra": "llm.meta.extra",
    "gen_ai.provider.name": "llm.vendor",
    "gen_ai.request.model": "llm.request.model",
    "gen_ai.request.max_tokens": "llm.request.max_tokens",
    "gen_ai.request.temperature": "llm.temperature",
    "gen_ai.request.top_p": "llm.top_p",
    "gen_ai.request.frequency_penalty": "llm.frequency_penalty",
    "gen_ai.request.presence_penalty": "llm.presence_penalty",
    "gen_ai.response.model": "llm.response.model",
    "gen_ai.usage.input_tokens": "llm.usage.prompt_tokens",
    "gen_ai.usage.output_tokens": "llm.usage.completion_tokens",
    "gen_ai.usage.total_tokens": "llm.usage.total_tokens",
    "gen_ai.input.messages": "llm.prompts.raw",
    "gen_ai.output.messages": "llm.completions.raw",
}
_STOP, _FINISH = "gen_ai.request.stop_sequences", "gen_ai.response.finish_reasons"
_SYSTEM = "gen_ai.system_instructions"


def attributes_in(attributes: Mapping[str, Any], facts: Facts) -> Attributes:
    """Return a span's attributes under these names."""
    result = renamed(attributes, _NAMES)
    if _STOP in result:
        result.setdefault("llm.chat.stop_sequences", text_of(result.pop(_STOP)))
    reasons = result.get(_FINISH)
    if isinstance(reasons, list | tuple) and reasons:
        result.setdefault("llm.finish_reason", reasons[0])
        if len(reasons) == 1:
            del result[_FINISH]
    prompts = _prompts(listed(attributes.get("gen_ai.input.messages")), listed(attributes.get(_SYSTEM)))
    if prompts:
        result.setdefault("llm.prompts", prompts)
    completions = [
        text for message in listed(attributes.get("gen_ai.output.messages")) or () for text in _texts(message)
    ]
    if completions:
        result.setdefault("llm.completions", "\n\n".join(completions))
    took = {"SERVER": "llm.total_latency", "CLIENT": "llm.latency"}.get(facts.kind)
    if took is not None and facts.duration_ns is not None:
        result.setdefault(took, facts.duration_ns // 1_000_000)
    if facts.kind == "SERVER" and "http.response.status_code" in result:
        result.setdefault("llm.status_code", result["http.response.status_code"])
    return result


def _prompts(messages: list[dict[str, Any]] | None, system: list[dict[str, Any]] | None) -> str:
    """Return the texts of a conversation, each after its name or role; for a single message, its text only."""
    each = [("system", "".join(texts_of(system)))] if system else []
    for message in messages or ():
        texts = "".join(_texts(message))
        if texts:
            each.append((text_of(message.get("name") or message.get("role") or ""), texts))
    if len(each) == 1:
        return each[0][1]
    return "\n\n".join(f"{name}: {text}" for name, text in each)


def _texts(message: Mapping[str, Any]) -> list[str]:
    text = "".join(texts_of(parts_of(message)))
    return [text] if text else []
