"""Streams of OpenAI's Responses, written."""

from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from gateway.dialects import events
from gateway.dialects.conversation import (
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_responses import RESPONSES, RESPONSES_WRITER
from tests.dialects import drawing
from tests.dialects import strategies_responses as drawn
from tests.dialects.openai_responses.responses import ASKED, answer, streamed, whole
from tests.dialects.streams import folded, read, stream_events, written


@given(st.data())
def test_a_stream_comes_back_as_it_was(data: st.DataObject) -> None:
    """A written stream, cut anywhere, is read as the same events."""
    answered = data.draw(drawn.answered(streamed=True))
    stream, writer = written(RESPONSES_WRITER, ASKED, stream_events(answered, data.draw(st.integers(1, 20))))
    assert writer.dropped == []
    reader, emitted = read(RESPONSES, stream, data.draw(st.lists(st.integers(0, 9999), max_size=8)))
    assert reader.response() == answered
    assert (reader.ended, reader.unread) == (True, 0)
    assert folded(emitted) == answered.output_messages


IDS = iter(range(10**6))


PLAIN = st.one_of(
    drawn.texts(),
    st.builds(Refusal, content=drawing.WORDS),
    st.builds(Reasoning, content=drawing.WORDS, extra=st.sampled_from([{}, {"gemini": {"thoughtSignature": "c2ln"}}])),
    drawing.custom_calls(IDS),
    drawing.calls(IDS),
)


@given(st.lists(PLAIN, max_size=6), st.none() | drawing.usages(), st.integers(1, 20))
def test_the_sdk_makes_of_a_stream_what_it_reads_whole(parts: list[Part], usage: Usage | None, piece: int) -> None:
    """OpenAI's SDK knows each event, and makes of them the last one's response, which is that of the unstreamed one."""
    answered = answer(*parts, usage=usage)
    body, _ = whole(answered)
    _, made, _ = streamed(stream_events(answered, piece))
    assert made.to_dict() == Response.model_validate(body).to_dict()


def test_a_stream_as_it_is_written() -> None:
    """Each item begins, grows and is done; one that more could belong to is done when another begins."""
    stream, made, dropped = streamed(
        stream_events(
            answer(Text(content="Hi"), Text(content="."), ToolCall(id="c", name="f"), finish_reason="tool_calls")
        )
    )
    at = {"item_id": "msg_1_0", "output_index": 0}
    text = {"type": "output_text", "annotations": [], "logprobs": []}
    message = {"type": "message", "id": "msg_1_0", "status": "completed", "role": "assistant"}
    call = {"id": "fc_1_1", "status": "completed", "type": "function_call", "call_id": "c", "name": "f"}
    contents = [{**text, "text": "Hi"}, {**text, "text": "."}]
    expected = [
        {"type": "output_item.added", "output_index": 0, "item": {**message, "status": "in_progress", "content": []}},
        {"type": "content_part.added", **at, "content_index": 0, "part": {**text, "text": ""}},
        {"type": "output_text.delta", **at, "content_index": 0, "delta": "Hi", "logprobs": []},
        {"type": "output_text.done", **at, "content_index": 0, "text": "Hi", "logprobs": []},
        {"type": "content_part.done", **at, "content_index": 0, "part": contents[0]},
        {"type": "content_part.added", **at, "content_index": 1, "part": {**text, "text": ""}},
        {"type": "output_text.delta", **at, "content_index": 1, "delta": ".", "logprobs": []},
        {"type": "output_text.done", **at, "content_index": 1, "text": ".", "logprobs": []},
        {"type": "content_part.done", **at, "content_index": 1, "part": contents[1]},
        {"type": "output_item.done", "output_index": 0, "item": {**message, "content": contents}},
        {"type": "output_item.added", "output_index": 1, "item": {**call, "status": "in_progress", "arguments": ""}},
        {
            "type": "function_call_arguments.done",
            "item_id": "fc_1_1",
            "output_index": 1,
            "name": "f",
            "arguments": "{}",
        },
        {"type": "output_item.done", "output_index": 1, "item": {**call, "arguments": "{}"}},
    ]
    assert [event["type"] for event in stream[:2]] == ["response.created", "response.in_progress"]
    assert stream[2:-1] == [
        {**event, "type": f"response.{event['type']}", "sequence_number": number}
        for number, event in enumerate(expected, 2)
    ]
    assert made.output_text == "Hi."
    assert (made.status, dropped) == ("completed", [])


def test_calls_that_interleave_stay_apart() -> None:
    """Items may grow at the same time: each delta leaves with its item's number."""
    emitted: list[events.Event] = [events.Begun(id="resp_1", model="m")]
    emitted += [events.PartBegun(index=i, part=ToolCall(id=f"c{i}", name="f")) for i in (0, 1)]
    emitted += [events.PartGrown(index=i, text=text) for text in ('{"a":', "1}") for i in (1, 0)]
    emitted += [events.PartDone(index=i, part=ToolCall(id=f"c{i}", name="f", arguments={"a": 1})) for i in (1, 0)]
    emitted += [events.ChoiceDone(finish_reason="tool_calls"), events.Ended()]
    stream, made, _ = streamed(emitted)
    deltas = [e["output_index"] for e in stream if e["type"] == "response.function_call_arguments.delta"]
    assert deltas == [1, 0, 1, 0]
    assert [item.call_id for item in made.output if item.type == "function_call"] == ["c0", "c1"]


def test_a_stream_that_stops_without_an_end_has_none() -> None:
    """The writer makes none up: its client sees that the response is not whole."""
    stream, _ = written(RESPONSES_WRITER, ASKED, list(stream_events(answer(Text(content="Once"))))[:3])
    assert b"response.completed" not in stream
    assert b"output_item.done" not in stream
