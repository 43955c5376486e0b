"""Streams of Ollama's, read."""

import json

import msgspec
import pytest
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import (
    Blob,
    ChatResponse,
    Reasoning,
    Text,
    TokenLogprob,
    ToolCall,
)
from gateway.dialects.ollama import OLLAMA_CHAT
from gateway.dialects.shared import stream_reader
from tests.dialects.ollama.reading import Read, answer, durations, spent, whole
from tests.dialects.strategies_ollama import folded

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


STREAMS = {
    "ollama_chat_text.ndjson": ChatResponse(
        model="qwen3:8b",
        finish_reasons=["stop"],
        output_messages=[
            answer(Reasoning(content="A greeting, in German."), Text(content="Grüß dich 👋"), finish_reason="stop")
        ],
        usage=spent(26, 17),
        created=1795162500,
        extra={"ollama": durations(1432100417, 51837250, 140271000, 1225600000)},
    ),
    "ollama_chat_tools.ndjson": ChatResponse(
        model="llama3.2",
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Text(content="Let me look."),
                ToolCall(id="call_a1b2c3d4", name="get_weather", arguments={"city": "Paris", "days": 2}),
                ToolCall(id="call_1d69c80c_1", name="get_time", arguments={}),
                finish_reason="tool_calls",
                finish_word="stop",
            )
        ],
        usage=spent(169, 31),
        created=1795162560,
        extra={"ollama": durations(883583458, 24000000, 333000000, 525000000)},
    ),
    "ollama_chat_logprobs.ndjson": ChatResponse(
        model="gemma3",
        finish_reasons=["length"],
        output_messages=[
            answer(
                Text(
                    content="Yes.",
                    logprobs=[
                        TokenLogprob(
                            token="Yes",
                            logprob=-0.25,
                            top=[TokenLogprob(token="Yes", logprob=-0.25), TokenLogprob(token="No", logprob=-1.5)],
                        ),
                        TokenLogprob(
                            token=".",
                            logprob=-0.01,
                            top=[TokenLogprob(token=".", logprob=-0.01), TokenLogprob(token="!", logprob=-4.6)],
                        ),
                    ],
                ),
                finish_reason="length",
            )
        ],
        usage=spent(14, 2),
        created=1795162620,
        extra={"ollama": durations(910000000, 12000000, 210000000, 88000000)},
    ),
    "ollama_chat_error.ndjson": ChatResponse(
        model="gemma3",
        output_messages=[answer(Text(content="Once upon"), finish_reason=None)],
        error_message="an error was encountered while running the model",
        created=1795162680,
    ),
    "ollama_generate.ndjson": ChatResponse(
        model="gemma3",
        finish_reasons=["stop"],
        output_messages=[answer(Text(content="The sky is blue."), finish_reason="stop")],
        usage=spent(11, 4),
        created=1795162740,
        extra={
            "ollama": {"context": [105, 2364, 107, 3689]} | durations(4648158584, 4071084, 439038000, 4196918000),
        },
    ),
}


def lines_of(stream: bytes) -> list[bytes]:
    """Cut a stream into its lines."""
    return stream.splitlines(keepends=True)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_whole(read: Read, name: str) -> None:
    """All content of a stream is in the record, and its events fold to the same."""
    reader = OLLAMA_CHAT.stream_reader()
    reader.events = []
    reader.feed(read(name))
    assert reader.response() == STREAMS[name]
    assert reader.unread == 0
    broken = isinstance(reader.events[-1], events.Broken)
    assert broken or folded(reader.events) == STREAMS[name].output_messages


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_ends_with_its_last_line_only(read: Read, name: str) -> None:
    """`ended` turns true with the line that is done, or an error's, not before; output begins with content."""
    reader = OLLAMA_CHAT.stream_reader()
    seen = []
    for line in lines_of(read(name)):
        reader.feed(line)
        seen.append((reader.ended, reader.first_output))
    assert [ended for ended, _ in seen] == [*[False] * (len(seen) - 1), True]
    assert seen[0] == (False, True)


def test_each_delta_is_told_with_its_line(read: Read) -> None:
    """The content of a line is emitted when it is fed: nothing waits for the next one."""
    reader = OLLAMA_CHAT.stream_reader()
    emitted = []
    for line in lines_of(read("ollama_chat_text.ndjson")):
        reader.events = []
        reader.feed(line)
        emitted.append(reader.events)
    greeting = Reasoning(content="A greeting, in German.")
    assert emitted == [
        [
            events.Begun(model="qwen3:8b", created=1795162500),
            events.PartBegun(index=0, part=Reasoning(content="")),
            events.PartGrown(index=0, text="A greeting"),
        ],
        [events.PartGrown(index=0, text=", in German.")],
        [
            events.PartDone(index=0, part=greeting),
            events.PartBegun(index=1, part=Text(content="")),
            events.PartGrown(index=1, text="Grüß "),
        ],
        [events.PartGrown(index=1, text="dich 👋")],
        [
            events.PartDone(index=1, part=Text(content="Grüß dich 👋")),
            events.ChoiceDone(
                finish_reason="stop", extra={"ollama": durations(1432100417, 51837250, 140271000, 1225600000)}
            ),
            events.UsageUpdated(usage=spent(26, 17)),
            events.Ended(),
        ],
    ]


def test_a_tool_call_is_told_in_one_piece(read: Read) -> None:
    """A call that comes whole begins, grows by all of its arguments, and is done at once."""
    reader = OLLAMA_CHAT.stream_reader()
    lines = lines_of(read("ollama_chat_tools.ndjson"))
    reader.feed(lines[0])
    reader.first_output = False
    reader.events = []
    reader.feed(lines[1])
    call = ToolCall(id="call_a1b2c3d4", name="get_weather", arguments={"city": "Paris", "days": 2})
    assert reader.first_output
    assert reader.events == [
        events.PartDone(index=0, part=Text(content="Let me look.")),
        events.PartBegun(index=1, part=replace(call, arguments=None)),
        events.PartGrown(index=1, text='{"city":"Paris","days":2}'),
        events.PartDone(index=1, part=call),
    ]


def test_a_broken_stream_tells_the_error_and_nothing_after(read: Read) -> None:
    """An error in the middle is the last event, whatever follows."""
    reader = OLLAMA_CHAT.stream_reader()
    reader.events = []
    reader.feed(read("ollama_chat_error.ndjson") + read("ollama_chat_text.ndjson"))
    assert reader.events[-1] == events.Broken(message="an error was encountered while running the model")
    assert reader.response() == STREAMS["ollama_chat_error.ndjson"]


def test_a_made_up_id_is_the_same_for_the_same_bytes_and_another_for_others() -> None:
    """Calls without ids get one each; two turns of a conversation do not share any."""
    call = {"function": {"name": "look", "arguments": {}}}
    one = whole(created_at="2026-11-20T08:00:00.1Z", message={"tool_calls": [call, call]}, done=True)
    again = whole(created_at="2026-11-20T08:00:00.1Z", message={"tool_calls": [call, call]}, done=True)
    later = whole(created_at="2026-11-20T08:00:00.2Z", message={"tool_calls": [call, call]}, done=True)
    ids = [p.id for a in (one, later) for p in a.output_messages[0].parts if isinstance(p, ToolCall)]
    assert one == again
    assert len(set(ids)) == 4


def test_kinds_that_alternate_are_parts_of_their_own() -> None:
    """Text after a tool call is a new part, so that the parts keep their order."""
    reader = OLLAMA_CHAT.stream_reader()
    reader.events = []
    call = {"id": "c", "function": {"name": "look", "arguments": {}}}
    for message in ({"content": "a"}, {"tool_calls": [call]}, {"content": "b", "thinking": "hm"}, {"images": [PNG]}):
        reader.feed(json.dumps({"message": message}).encode() + b"\n")
    reader.feed(b'{"done":true}\n')
    parts = [
        Text(content="a"),
        ToolCall(id="c", name="look", arguments={}),
        Reasoning(content="hm"),
        Text(content="b"),
        Blob(modality="image", mime_type="image/png", content=PNG),
    ]
    assert reader.response().output_messages == [answer(*parts, finish_reason="tool_calls")]
    assert folded(reader.events) == reader.response().output_messages


def test_log_probabilities_outside_a_text_stay_ollamas_own() -> None:
    """Those of thoughts, and of tokens that became a call, have no text to stand on."""
    reader = OLLAMA_CHAT.stream_reader()
    token = {"token": "x", "logprob": -1}
    reader.feed(json.dumps({"message": {"thinking": "x"}, "logprobs": [token]}).encode() + b"\n")
    reader.feed(json.dumps({"message": {"content": ""}, "logprobs": [token]}).encode() + b"\n")
    reader.feed(b'{"done":true,"done_reason":"stop"}\n')
    assert reader.response().extra == {"ollama": {"logprobs": [token, token]}}


def test_an_endless_stream_is_kept_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Content beyond the limit is counted and left; the usage and the end are read all the same."""
    monkeypatch.setattr(stream_reader, "KEPT_MAX", 1_500_000)
    reader = OLLAMA_CHAT.stream_reader()
    text = json.dumps({"message": {"content": "x" * 1_000_000}}).encode() + b"\n"
    call = json.dumps({"message": {"tool_calls": [{"function": {"name": "y" * 1_000_000}}]}}).encode() + b"\n"
    late = json.dumps({"message": {"content": "late"}}).encode() + b"\n"
    done = b'{"done":true,"prompt_eval_count":1,"eval_count":2}\n'
    for line in (text, text, call, late, done):
        reader.feed(line)
    answered = reader.response()
    assert reader.ended
    assert reader.unread > 2
    assert answered.usage == spent(1, 2)
    assert 1_000_000 < len(msgspec.json.encode(answered)) < 1_001_000
