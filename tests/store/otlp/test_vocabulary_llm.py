"""Chronicle's names: each attribute's, prompts and completions as text, and times in milliseconds."""

import json
from typing import Any

import pytest

from gateway.store.otlp.content import Facts
from gateway.store.otlp.vocabulary_llm import attributes_in

ATTEMPT = Facts("CLIENT", 0, 2_345_999_999)
EXCHANGE = Facts("SERVER", 0, 2_345_999_999)
UNTIMED = Facts("INTERNAL", 0)

# gen_ai attribute -> chronicle's, with a value of the type that it has.
NAMES: dict[str, tuple[str, Any]] = {
    "gateway.error": ("error", "late"),
    "gateway.retries": ("llm.retries", 2),
    "gateway.rate_limited": ("llm.rate_limited", True),
    "gateway.application": ("llm.meta.application", "shop"),
    "gateway.environment": ("llm.meta.environment", "test"),
    "gateway.organization.id": ("llm.meta.organization_id", "o"),
    "gateway.project.id": ("llm.meta.project_id", "p"),
    "user.id": ("llm.meta.user_id", "u"),
    "gateway.workflow.id": ("llm.meta.workflow_id", "w"),
    "gateway.workflow.name": ("llm.meta.workflow_name", "n"),
    "gateway.run.id": ("llm.meta.run_id", "r"),
    "gateway.step.id": ("llm.meta.step", "s"),
    "gateway.step.index": ("llm.meta.step_index", 3),
    "gateway.prompt.id": ("llm.meta.prompt_id", "p"),
    "gateway.prompt.version": ("llm.meta.prompt_version", 4),
    "gateway.extra": ("llm.meta.extra", "{}"),
    "gen_ai.provider.name": ("llm.vendor", "openai"),
    "gen_ai.request.model": ("llm.request.model", "m"),
    "gen_ai.request.max_tokens": ("llm.request.max_tokens", 5),
    "gen_ai.request.temperature": ("llm.temperature", 0.5),
    "gen_ai.request.top_p": ("llm.top_p", 0.9),
    "gen_ai.request.frequency_penalty": ("llm.frequency_penalty", 0.1),
    "gen_ai.request.presence_penalty": ("llm.presence_penalty", 0.2),
    "gen_ai.response.model": ("llm.response.model", "m-1"),
    "gen_ai.usage.input_tokens": ("llm.usage.prompt_tokens", 6),
    "gen_ai.usage.output_tokens": ("llm.usage.completion_tokens", 7),
    "gen_ai.usage.total_tokens": ("llm.usage.total_tokens", 13),
    "gen_ai.input.messages": ("llm.prompts.raw", "[]"),
    "gen_ai.output.messages": ("llm.completions.raw", "[]"),
}


@pytest.mark.parametrize(("name", "other"), NAMES.items(), ids=NAMES)
def test_an_attribute_has_chronicles_name(name, other):
    """The value is unchanged, and the name of the conventions is gone."""
    renamed, value = other
    assert attributes_in({name: value}, UNTIMED) == {renamed: value}


def test_other_attributes_keep_their_names():
    """Nothing is lost."""
    assert attributes_in({"server.port": 443}, UNTIMED) == {"server.port": 443}


def text(role: str, content: str, **more: Any) -> dict[str, Any]:
    """Return a message of one text."""
    return {"role": role, "parts": [{"type": "text", "content": content}], **more}


PROMPTS: dict[str, tuple[list[Any], list[Any], str | None]] = {
    "one message is its text": ([], [text("user", "hi")], "hi"),
    "roles come before texts": ([], [text("user", "hi"), text("assistant", "yes")], "user: hi\n\nassistant: yes"),
    "a name comes before a role": ([], [text("user", "hi", name="ann"), text("user", "a")], "ann: hi\n\nuser: a"),
    "instructions are the system's": (
        [{"type": "text", "content": "be"}],
        [text("user", "hi")],
        "system: be\n\nuser: hi",
    ),
    "instructions alone are a text": ([{"type": "text", "content": "be"}], [], "be"),
    "a message without text is passed over": ([], [{"role": "tool", "parts": []}, text("user", "hi")], "hi"),
    "no text, no prompts": ([], [{"role": "tool", "parts": []}], None),
}


@pytest.mark.parametrize(("system", "messages", "prompts"), PROMPTS.values(), ids=PROMPTS)
def test_prompts_are_the_texts_of_a_conversation(system, messages, prompts):
    """`llm.prompts` has them in order."""
    attributes = {"gen_ai.input.messages": json.dumps(messages)}
    if system:
        attributes["gen_ai.system_instructions"] = json.dumps(system)
    assert attributes_in(attributes, UNTIMED).get("llm.prompts") == prompts


def test_completions_are_joined():
    """One paragraph for each choice with text."""
    answered = [text("assistant", "a"), {"role": "assistant", "parts": []}, text("assistant", "b")]
    found = attributes_in({"gen_ai.output.messages": json.dumps(answered)}, UNTIMED)
    assert found["llm.completions"] == "a\n\nb"


def test_stop_sequences_are_json():
    """The list becomes one text."""
    found = attributes_in({"gen_ai.request.stop_sequences": ["END", "é"]}, UNTIMED)
    assert found == {"llm.chat.stop_sequences": '["END","é"]'}


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (["stop"], {"llm.finish_reason": "stop"}),
        (("stop",), {"llm.finish_reason": "stop"}),
        (["stop", "length"], {"llm.finish_reason": "stop", "gen_ai.response.finish_reasons": ["stop", "length"]}),
        ([], {"gen_ai.response.finish_reasons": []}),
    ],
)
def test_the_first_finish_reason_has_its_name(reasons, expected):
    """Several reasons also stay as a list."""
    assert attributes_in({"gen_ai.response.finish_reasons": reasons}, UNTIMED) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (ATTEMPT, {"llm.latency": 2345}),
        (EXCHANGE, {"llm.total_latency": 2345}),
        (Facts("INTERNAL", 0, 5_000_000), {}),
        (Facts("CLIENT", 0), {}),
        (Facts("SERVER", 0), {}),
    ],
)
def test_latencies_are_whole_milliseconds(facts, expected):
    """Of an attempt and of an exchange; none if the duration is unknown."""
    assert attributes_in({}, facts) == expected


@pytest.mark.parametrize(("facts", "copied"), [(Facts("SERVER", 0), True), (Facts("CLIENT", 0), False)])
def test_the_status_code_of_an_exchange_is_copied(facts, copied):
    """Chronicle's own status is that of the reply to the client."""
    found = attributes_in({"http.response.status_code": 504}, facts)
    assert found.get("llm.status_code") == (504 if copied else None)
    assert found["http.response.status_code"] == 504


TAKEN = {
    "llm.prompts": {"gen_ai.input.messages": json.dumps([text("user", "hi")])},
    "llm.completions": {"gen_ai.output.messages": json.dumps([text("assistant", "hi")])},
    "llm.finish_reason": {"gen_ai.response.finish_reasons": ["stop", "length"]},
    "llm.chat.stop_sequences": {"gen_ai.request.stop_sequences": ["END"]},
    "llm.total_latency": {},
    "llm.status_code": {"http.response.status_code": 200},
}


@pytest.mark.parametrize(("name", "attributes"), TAKEN.items(), ids=TAKEN)
def test_a_name_that_is_taken_keeps_its_value(name, attributes):
    """An attribute that an application set is not overwritten."""
    assert attributes_in({name: "own", **attributes}, EXCHANGE)[name] == "own"
