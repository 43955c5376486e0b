"""Contents of Gemini's requests as messages."""

from typing import Any

from gateway.dialects.conversation import (
    ChatRequest,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolCallResponse,
)
from tests.dialects.gemini.parts import OWN, full


def test_calls_and_results_without_ids_find_each_other() -> None:
    """Ids are made up for calls, and given to the results of their name in order; no id that is there is made again."""

    def call(name: str, **more: str) -> dict[str, Any]:
        return {"functionCall": {"name": name, **more}}

    def result(name: str, **more: str) -> dict[str, Any]:
        return {"functionResponse": {"name": name, "response": {}, **more}}

    asked = full(
        {
            "contents": [
                {"role": "model", "parts": [call("a"), call("b"), call("a"), call("c", id="call_2")]},
                {"role": "user", "parts": [result("b"), result("a"), result("c", id="call_2"), result("a")]},
                {"role": "model", "parts": [call("a")]},
                {"role": "user", "parts": [result("a"), result("lost")]},
            ]
        }
    )
    ids = [
        [(p.name, p.id) for p in m.parts if isinstance(p, ToolCall | ToolCallResponse)] for m in asked.input_messages
    ]
    assert ids == [
        [("a", "call_1"), ("b", "call_3"), ("a", "call_4"), ("c", "call_2")],
        [("b", "call_3"), ("a", "call_1"), ("c", "call_2"), ("a", "call_4")],
        [("a", "call_5")],
        [("a", "call_5"), ("lost", "call_6")],
    ]


def test_what_the_model_said_in_several_contents_is_one_turn() -> None:
    """Texts of one kind that meet where two contents do are one, up to a signature; within a content they are not."""
    model = [
        [{"text": "Two ", "thought": True}],
        [{"text": "cities", "thought": True}, {"text": ".", "thought": True, "thoughtSignature": "c2ln"}],
        [{"text": "More", "thought": True}],
        [{"text": "Let "}],
        [{"text": "me look."}],
        [{"functionCall": {"id": "x", "name": "f"}}],
        [{"text": ""}],
    ]
    contents = [{"role": "model", "parts": parts} for parts in model]
    asked = full({"contents": [*contents, {"role": "user", "parts": [{"text": "a"}]}, {"parts": [{"text": "b"}]}]})
    assert asked.input_messages == [
        Message(
            role="assistant",
            parts=[
                Reasoning(content="Two cities"),
                Reasoning(content=".", extra={OWN: {"thoughtSignature": "c2ln"}}),
                Reasoning(content="More"),
                Text(content="Let me look."),
                ToolCall(id="x", name="f", arguments={}),
            ],
        ),
        Message(role="user", parts=[Text(content="a")]),
        Message(role="user", parts=[Text(content="b")]),
    ]


def test_contents_of_other_shapes_are_read() -> None:
    """A text, a single content and a single part are what they mean; a content's own fields are kept."""
    assert full({"contents": "hi", "systemInstruction": "Be brief."}) == ChatRequest(
        operation="generate_content",
        model="gemini-3-flash",
        system_instructions=[Text(content="Be brief.")],
        input_messages=[Message(role="user", parts=[Text(content="hi")])],
    )
    single = {"contents": {"parts": {"text": "hi"}, "novel": 1}, "model": "models/other"}
    assert full(single, "/nowhere") == ChatRequest(
        operation="generate_content",
        model="other",
        input_messages=[Message(role="user", parts=[Text(content="hi")], extra={OWN: {"novel": 1}})],
    )
