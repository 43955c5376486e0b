from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects.conversation import Answered, Asked
from gateway.dialects.gemini import GEMINI
from gateway.dialects.gemini_write import GEMINI_ARRAY_WRITER, GEMINI_WRITER
from gateway.dialects.writing import Writer
from tests.dialects import strategies_gemini as drawn

NOW = 1795162800.25
ASKED = Asked(operation="generate_content", model="gemini-3-flash")


def without_definitions(asked: Asked) -> Asked:
    """Return a request without its tools as they were sent."""
    return replace(asked, tool_definitions=None)


@given(drawn.asked())
def test_a_request_comes_back_as_it_was(asked: Asked) -> None:
    """What Gemini can be asked is read back from what is written, with nothing dropped."""
    written = GEMINI_WRITER.request(asked)
    assert written.dropped == []
    assert written.query == ("alt=sse" if asked.stream else "")
    read = GEMINI.read_conversation(written.body, f"/v1beta{written.path}") if GEMINI.read_conversation else None
    assert read is not None
    assert without_definitions(read) == asked


@given(drawn.answered())
def test_a_response_comes_back_as_it_was(answered: Answered) -> None:
    """What Gemini can answer is read back from what is written, with nothing dropped."""
    body, dropped = GEMINI_WRITER.response(answered, ASKED, NOW)
    assert dropped == []
    assert GEMINI.read_response(body) == answered


@pytest.mark.parametrize("writer", [GEMINI_WRITER, GEMINI_ARRAY_WRITER])
@given(data=st.data())
def test_a_stream_comes_back_as_it_was(writer: Writer, data: st.DataObject) -> None:
    """What is written of a stream, cut anywhere, is read as what it told, whichever way it is framed."""
    answered = data.draw(drawn.answered(streamed=True))
    stream = writer.stream(ASKED, NOW)
    wire = b"".join(stream.write(event) for event in drawn.told_of(answered, data.draw(st.integers(1, 20))))
    assert stream.dropped == []
    reader = GEMINI.stream_reader()
    reader.told = []
    cuts = sorted(c % (len(wire) + 1) for c in data.draw(st.lists(st.integers(0, 5000), max_size=20)))
    for a, b in pairwise([0, *cuts, len(wire)]):
        reader.feed(wire[a:b])
    assert (reader.ended, reader.unread) == (True, 0)
    assert reader.answered() == answered
    assert drawn.folded(reader.told) == answered.output_messages
