"""One candidate of Gemini's streams."""

from gateway.dialects import events
from gateway.dialects.conversation import Message, Reasoning, Text, ToolCall
from gateway.dialects.gemini.stream_arguments import Arguments
from gateway.dialects.gemini.stream_choice import Choice

SIGNED = {"gemini": {"thoughtSignature": "s"}}


def test_a_text_grows_until_another_part_begins() -> None:
    """Its end is emitted before the beginning of the other."""
    sink: list[events.Event] = []
    choice = Choice(1, sink)
    choice.begin(Reasoning(content="")).pieces.append("hm")
    choice.grown("hm")
    choice.begin(Text(content="")).pieces.append("a")
    choice.grown("a")
    choice.finish("stop", "STOP")
    assert sink == [
        events.PartBegun(choice=1, index=0, part=Reasoning(content="")),
        events.PartGrown(choice=1, index=0, text="hm"),
        events.PartDone(choice=1, index=0, part=Reasoning(content="hm")),
        events.PartBegun(choice=1, index=1, part=Text(content="")),
        events.PartGrown(choice=1, index=1, text="a"),
        events.PartDone(choice=1, index=1, part=Text(content="a")),
        events.ChoiceDone(choice=1, finish_reason="stop", finish_word="STOP"),
    ]
    parts = [Reasoning(content="hm"), Text(content="a")]
    assert choice.message() == Message(role="assistant", parts=parts, finish_reason="stop", finish_word="STOP")


def test_a_whole_call_is_emitted_in_one_piece() -> None:
    """Its arguments are one delta."""
    sink: list[events.Event] = []
    choice = Choice(0, sink)
    choice.add(ToolCall(id="c", name="f", arguments={"a": 1}))
    assert sink == [
        events.PartBegun(index=0, part=ToolCall(id="c", name="f")),
        events.PartGrown(index=0, text='{"a":1}'),
        events.PartDone(index=0, part=ToolCall(id="c", name="f", arguments={"a": 1})),
    ]
    assert choice.called


def test_a_call_in_pieces_is_closed_with_its_arguments() -> None:
    """Also if no piece of them came."""
    choice = Choice(0, None)
    choice.begin(ToolCall(id="c", name="f"), Arguments())
    assert choice.called
    choice.close()
    assert choice.parts == [ToolCall(id="c", name="f", arguments={})]


def test_a_signature_ends_what_it_belongs_to() -> None:
    """It may come beside a later piece, and is added to the part that grows."""
    choice = Choice(0, None)
    growing = choice.begin(Text(content=""))
    assert not growing.signed
    growing.add_extra({"gemini": {"x": 1}})
    growing.add_extra(SIGNED)
    assert growing.signed
    assert growing.part.extra == {"gemini": {"x": 1, "thoughtSignature": "s"}}


def test_of_several_finish_reasons_the_last_counts() -> None:
    """The end is emitted once."""
    sink: list[events.Event] = []
    choice = Choice(0, sink)
    choice.finish("stop")
    choice.finish("length", "MAX_TOKENS")
    assert sink == [events.ChoiceDone(finish_reason="stop")]
    assert (choice.message().finish_reason, choice.message().finish_word) == ("length", "MAX_TOKENS")
