import pytest

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    File,
    Message,
    Other,
    Part,
    ServerToolCall,
    Text,
    ToolCall,
    ToolCallResponse,
)
from gateway.dialects.shared.messages import identified, made_id, named, one_prompt, plain_id, plain_text, word_of
from gateway.dialects.shared.unsupported import Dropped

PNG = Blob(modality="image", mime_type="image/png", content="AA==")


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (Message(role="user", name="ann", parts=[Text(content="a"), PNG]), [Text(content="ann: a"), PNG]),
        (Message(role="user", name="ann", parts=[PNG]), [Text(content="ann:"), PNG]),
        (Message(role="user", name="ann", parts=[]), [Text(content="ann:")]),
        (
            Message(role="system", name="ann", parts=[Text(content="a", cache="5m")]),
            [Text(content="ann: a", cache="5m")],
        ),
        (Message(role="assistant", name="bot", parts=[Text(content="a")]), [Text(content="a")]),
        (Message(role="user", parts=[Text(content="a")]), [Text(content="a")]),
    ],
)
def test_a_name_stands_before_the_text(message: Message, parts: list[Part]) -> None:
    """But a model's, which would learn to begin its answers with it."""
    assert named(message) == parts


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([Text(content="a")], "a"),
        ([Text(content="a", cache="5m")], None),
        ([Text(content="a", extra={"gemini": {"x": 1}})], None),
        ([Text(content="a"), Text(content="b")], None),
        ([PNG], None),
        ([], None),
    ],
)
def test_one_plain_text_is_told_from_others(parts: list[Part], text: str | None) -> None:
    """One that has nothing more to it may be a string."""
    assert plain_text(parts) == text


@pytest.mark.parametrize(
    ("part", "word"),
    [
        (Text(content=""), "text"),
        (PNG, "image blob"),
        (File(modality="document", file_id="f"), "document file"),
        (ServerToolCall(name="w", server_tool_call={}), "server tool call"),
        (Other(kind="novel"), "novel"),
    ],
)
def test_every_part_has_a_word(part: Part, word: str) -> None:
    """For the list of what could not be said."""
    assert word_of(part) == word


def test_turns_that_have_ids_stay_as_they_are() -> None:
    """The usual case costs nothing."""
    turns = [Message(role="assistant", parts=[ToolCall(id="a", name="f")])]
    assert identified(turns) is turns


def test_ids_that_are_missing_are_made_up_so_that_they_agree() -> None:
    """Over turns, by the tool's name where that is told, and never one that is taken."""
    turns = [
        Message(role="assistant", parts=[ToolCall(name="f"), ToolCall(id="call_1", name="g"), ToolCall(name="h")]),
        Message(role="tool", parts=[ToolCallResponse(name="h", response="")]),
        Message(role="tool", parts=[ToolCallResponse(id="call_1", response=""), ToolCallResponse(response="")]),
        Message(role="assistant", parts=[ToolCall(name="f")]),
        Message(role="tool", parts=[ToolCallResponse(name="f", response=""), ToolCallResponse(response="")]),
    ]
    ids = [part.id for m in identified(turns) for part in m.parts if isinstance(part, ToolCall | ToolCallResponse)]
    assert ids == ["call_2", "call_1", "call_3", "call_3", "call_1", "call_2", "call_4", "call_4", "call_5"]


def test_ids_made_for_a_response_are_those_of_no_other() -> None:
    """The same for the same place in the same response, since a client sends them back; a call's own stays."""
    call = ToolCall(name="f")
    assert made_id(call, "r-1", 0) == made_id(call, "r-1", 0)
    assert len({made_id(call, ident, index) for ident in ("r-1", "r-2") for index in (0, 1)}) == 4
    assert made_id(ToolCall(id="mine", name="f"), "r-1", 0) == "mine"


@pytest.mark.parametrize(
    ("told", "plain"),
    [("functions.look:0", "functions_look_0"), ("call_a-B9", "call_a-B9"), ("é", "_"), (None, None), ("", "")],
)
def test_ids_are_of_letters_that_are_taken(told: str | None, plain: str | None) -> None:
    """Anthropic refuses all others."""
    assert plain_id(told) == plain


def test_only_the_first_prompt_is_a_chat() -> None:
    """Several prompts would be several answers; a chat is left as it is."""
    asked = ChatRequest(
        operation="text_completion",
        input_messages=[Message(role="user", parts=[Text(content="a"), Text(content="b"), Text(content="c")])],
    )
    dropped = Dropped()
    assert one_prompt(asked, dropped).input_messages == [Message(role="user", parts=[Text(content="a")])]
    assert dropped.names == ["messages[0].parts[1]: prompt", "messages[0].parts[2]: prompt"]
    chat = ChatRequest(operation="chat", input_messages=asked.input_messages)
    assert one_prompt(chat, dropped) is chat
