import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects.bedrock import CONVERSE
from gateway.dialects.bedrock_write import CONVERSE_WRITER
from gateway.dialects.conversation import Answered, Asked
from gateway.dialects.replay import replay
from tests.dialects import strategies_bedrock as drawn
from tests.dialects.botocores import checked, operation, parsed, streamed
from tests.dialects.botocores import given as shaped

NOW = 1_795_162_800.0
ASKED = Asked(operation="chat", model="anthropic.claude-opus-5-v1:0")


@given(drawn.conversations())
def test_a_request_says_all_that_the_dialect_can_say(asked: Asked) -> None:
    """What is written is read as what it was, and nothing is lost."""
    written = CONVERSE_WRITER.request(asked)
    read = CONVERSE.read_conversation(written.body, written.path)
    assert replace(read, tool_definitions=None) == asked
    assert written.dropped == []


@given(drawn.answers())
def test_a_response_says_all_that_the_dialect_can_say(answered: Answered) -> None:
    """What is written is read as what it was, and nothing is lost."""
    body, dropped = CONVERSE_WRITER.response(answered, ASKED, NOW)
    assert CONVERSE.read_response(body) == answered
    assert dropped == []


@given(drawn.answers(), st.lists(st.integers(0, 5000)))
def test_a_stream_says_all_that_the_dialect_can_say(answered: Answered, cuts: list[int]) -> None:
    """The same of a stream, however it is cut; and what its reader tells is what it keeps."""
    writer = CONVERSE_WRITER.stream(ASKED, NOW)
    data = b"".join([writer.write(event) for event in replay(answered)])
    reader = CONVERSE.stream_reader()
    reader.told = []
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for a, b in pairwise(bounds):
        reader.feed(data[a:b])
    assert reader.answered() == answered
    assert reader.ended
    assert reader.unread == 0
    assert drawn.folded(reader.told) == answered.output_messages
    assert writer.dropped == []


@given(drawn.conversations())
def test_a_request_is_one_that_botocore_takes(asked: Asked) -> None:
    """Each body keeps to the service's model, and botocore would send the same to the same path."""
    written = CONVERSE_WRITER.request(asked)
    body = json.loads(written.body)
    sent = checked(body, asked.model or "", stream=asked.stream)
    assert sent["url_path"] == written.path
    assert json.loads(sent["body"]) == body


@given(drawn.answers())
def test_a_response_is_one_that_botocore_reads(answered: Answered) -> None:
    """Botocore finds in a response what the service's model says, nothing missing and nothing else."""
    body, _ = CONVERSE_WRITER.response(answered, ASKED, NOW)
    shape = operation(stream=False).output_shape
    found = parsed(body)
    del found["ResponseMetadata"]
    assert found == shaped(shape, json.loads(body))


@given(drawn.answers())
def test_a_stream_is_one_that_botocore_reads(answered: Answered) -> None:
    """Botocore reads every event of a stream, and each is what the service's model says."""
    writer = CONVERSE_WRITER.stream(ASKED, NOW)
    events = streamed(*[writer.write(event) for event in replay(answered)])
    kinds = [next(iter(event)) for event in events]
    assert [kinds[0], *kinds[-2:]] == ["messageStart", "messageStop", "metadata"]
    started = [e["contentBlockStart"]["contentBlockIndex"] for e in events if "contentBlockStart" in e]
    stopped = [e["contentBlockStop"]["contentBlockIndex"] for e in events if "contentBlockStop" in e]
    assert stopped == list(range(len(answered.output_messages[0].parts)))
    assert started == sorted(set(started))
