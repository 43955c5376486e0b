"""Parts as Converse's content blocks."""

from typing import Any

import pytest

from gateway.dialects.conversation import (
    Blob,
    Citation,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolCallResponse,
    Uri,
)
from tests.dialects.bedrock.requests import ASKED, HI, assistant, sent, user


def test_arguments_are_objects() -> None:
    """Arguments that are no object, of a custom tool or of a model that erred, are wrapped in one."""
    body, _ = sent(
        assistant(
            ToolCall(id="1", name="a", arguments="{broken"),
            ToolCall(id="2", name="b", arguments="*** patch", custom=True),
            ToolCall(id="3", name="c"),
        )
    )
    inputs = [block["toolUse"]["input"] for block in body["messages"][0]["content"]]
    assert inputs == [{"input": "{broken"}, {"input": "*** patch"}, {}]


@pytest.mark.parametrize(
    ("response", "content"),
    [
        ("text", [{"text": "text"}]),
        ({"a": 1}, [{"json": {"a": 1}}]),
        (7, [{"text": "7"}]),
        ([Text(content="a"), Blob(modality="image", mime_type="image/png", content="AA==")], None),
    ],
)
def test_a_tools_answer_is_text_json_or_blocks(response: Any, content: Any) -> None:
    """A tool's result is written in its own form."""
    body, dropped = sent(Message(role="tool", parts=[ToolCallResponse(id="1", response=response, is_error=True)]))
    result = body["messages"][0]["content"][0]["toolResult"]
    image = [{"text": "a"}, {"image": {"format": "png", "source": {"bytes": "AA=="}}}]
    assert result == {"toolUseId": "1", "content": content or image, "status": "error"}
    assert dropped == []


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (Blob(modality="image", mime_type="image/jpg", content="AA=="), ("image", {"format": "jpeg"})),
        (Blob(modality="image", content="iVBORw0KGgo="), ("image", {"format": "png"})),
        (Blob(modality="document", content="JVBERi0="), ("document", {"format": "pdf", "name": "document"})),
        (Blob(modality="document", content="AA=="), ("document", {"name": "document"})),
        (
            Blob(
                modality="document", mime_type="text/plain; charset=utf-8", content="AA==", name="_my__report.v2.txt_"
            ),
            ("document", {"format": "txt", "name": "my-report-v2-txt"}),
        ),
        (Blob(modality="audio", mime_type="audio/x-wav", content="AA=="), ("audio", {"format": "wav"})),
        (Uri(modality="image", uri="s3://my-bucket/a.JPG"), ("image", {"format": "jpeg"})),
        (Uri(modality="video", mime_type="video/mp4", uri="s3://my-bucket/a"), ("video", {"format": "mp4"})),
    ],
)
def test_media_of_other_dialects_find_their_format(part: Part, block: tuple[str, dict[str, Any]]) -> None:
    """By the media type, by the name's end, or by how the data begins."""
    body, dropped = sent(user(HI, part))
    source = {"bytes": part.content} if isinstance(part, Blob) else {"s3Location": {"uri": part.uri}}
    assert body["messages"][0]["content"][1] == {block[0]: {**block[1], "source": source}}
    assert dropped == []


def test_documents_have_names_of_their_own() -> None:
    """Converse refuses two documents of one name."""
    document = Blob(modality="document", mime_type="application/pdf", content="AA==", name="a")
    body, _ = sent(user(HI, document, document), assistant(HI), user(HI, document))
    names = [b["document"]["name"] for turn in body["messages"] for b in turn["content"] if "document" in b]
    assert names == ["a", "a-2", "a-3"]


@pytest.mark.parametrize(
    ("model", "extra", "block"),
    [
        (ASKED.model, {"anthropic-messages": {"signature": "s"}}, {"reasoningText": {"text": "t", "signature": "s"}}),
        (ASKED.model, {"anthropic-messages": {"data": "ZGF0YQ=="}}, {"redactedContent": "ZGF0YQ=="}),
        ("deepseek.r1-v1:0", {}, {"reasoningText": {"text": "t"}}),
        ("deepseek.r1-v1:0", {"anthropic-messages": {"signature": "s"}}, {"reasoningText": {"text": "t"}}),
    ],
)
def test_thinking_goes_back_with_its_proof(model: str, extra: dict[str, Any], block: dict[str, Any]) -> None:
    """A Claude's own dialect proves its thinking here too; to others it proves nothing."""
    body, dropped = sent(assistant(Reasoning(content="t", extra=extra)), model=model)
    assert body["messages"][0]["content"] == [{"reasoningContent": block}]
    assert dropped == (["messages[0].parts[0].signature"] if "deepseek" in model and extra else [])


def test_citations_go_back_to_those_who_cite() -> None:
    """Families that do not cite get the text alone."""
    cited = assistant(Text(content="a", citations=[Citation(uri="https://example.com", title="t", quote="q")]))
    body, dropped = sent(cited)
    citation = {"title": "t", "sourceContent": [{"text": "q"}], "location": {"web": {"url": "https://example.com"}}}
    assert body["messages"][0]["content"] == [
        {"citationsContent": {"content": [{"text": "a"}], "citations": [citation]}}
    ]
    assert dropped == []
    body, dropped = sent(cited, model="meta.llama3-1-70b-instruct-v1:0")
    assert body["messages"][0]["content"] == [{"text": "a"}]
    assert dropped == ["messages[0].parts[0].citations"]
