"""The names of the gateway this one follows: `llm.*`, as its spans and its log had them. Pure.

There one span stood for a request and all its retries. Here a request's own facts are on the exchange, what the model
was asked and said on each attempt. Source: the seed, proxy/src/lib.rs and response.rs; times are whole milliseconds.
"""

from collections.abc import Mapping
from typing import Any

from gateway.store.otlp.naming import Attributes, Facts, listed, parts_of, renamed, text_of, texts_of

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
    """Return a span's attributes by these names."""
    said = renamed(attributes, _NAMES)
    if _STOP in said:
        said.setdefault("llm.chat.stop_sequences", text_of(said.pop(_STOP)))
    reasons = said.get(_FINISH)
    if isinstance(reasons, list | tuple) and reasons:
        said.setdefault("llm.finish_reason", reasons[0])
        if len(reasons) == 1:
            del said[_FINISH]
    prompts = _prompts(listed(attributes.get("gen_ai.input.messages")), listed(attributes.get(_SYSTEM)))
    if prompts:
        said.setdefault("llm.prompts", prompts)
    completions = [
        text for message in listed(attributes.get("gen_ai.output.messages")) or () for text in _said(message)
    ]
    if completions:
        said.setdefault("llm.completions", "\n\n".join(completions))
    took = {"SERVER": "llm.total_latency", "CLIENT": "llm.latency"}.get(facts.kind)
    if took is not None and facts.duration_ns is not None:
        said.setdefault(took, facts.duration_ns // 1_000_000)
    if facts.kind == "SERVER" and "http.response.status_code" in said:
        said.setdefault("llm.status_code", said["http.response.status_code"])
    return said


def _prompts(messages: list[dict[str, Any]] | None, system: list[dict[str, Any]] | None) -> str:
    """Return the texts of a conversation, each behind its name or role; of a single message, its text alone."""
    each = [("system", "".join(texts_of(system)))] if system else []
    for message in messages or ():
        texts = "".join(_said(message))
        if texts:
            each.append((text_of(message.get("name") or message.get("role") or ""), texts))
    if len(each) == 1:
        return each[0][1]
    return "\n\n".join(f"{name}: {text}" for name, text in each)


def _said(message: Mapping[str, Any]) -> list[str]:
    text = "".join(texts_of(parts_of(message)))
    return [text] if text else []
