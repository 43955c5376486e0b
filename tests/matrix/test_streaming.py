"""Translation adds no buffering: a piece is with the client before the provider sends the next one."""

import asyncio
import json
from contextlib import aclosing

import pytest

from tests.matrix import expected
from tests.matrix.clients import Ask, Delta, Got
from tests.matrix.scenes import CASES, PARIS, Completion
from tests.matrix.upstreams import UPSTREAMS
from tests.support.gateways import InProcess
from tests.support.upstream import Step, Upstream, stream

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # of Google's package

SAID = Completion(thought=("They ", "ask."), text=("Let me ", "look."), calls=(PARIS,), finish="tool_calls")
# Their dialects have a call in one piece.
WHOLE_CALLS = {"google", "ollama"}


def same(received: Delta, sent: Delta) -> bool:
    """Whether a client received what was sent; the JSON of a call in one piece may be formatted otherwise."""
    if received[0] == sent[0] == "call" and sent[1] not in PARIS.pieces:
        return bool(json.loads(received[1]) == json.loads(sent[1]))
    return received == sent


@pytest.mark.parametrize("provider", UPSTREAMS)
@pytest.mark.parametrize("client", expected.SPEAKS)
async def test_a_piece_arrives_before_the_next_is_sent(
    client: str, provider: str, ask: Ask, upstream: Upstream, gateway: InProcess
):
    """Thoughts, text and the arguments of calls arrive one by one, as far as the client's dialect has them so."""
    speaks = UPSTREAMS[provider]
    pieces = list(speaks.streamed(SAID, speaks.model))
    gates = [asyncio.Event() for _ in pieces]
    steps: list[Step] = []
    for gate, piece in zip(gates, pieces, strict=True):
        steps += [gate, piece.data]
    upstream.answer = lambda _asked: stream(steps, content_type=speaks.content_type)
    left: list[Delta | Got] = []
    async with aclosing(ask(gateway.url, speaks.asked_for, CASES["tools"], True)) as answers:
        for gate, piece in zip(gates, pieces, strict=True):
            gate.set()
            if piece.tells and not (piece.tells[0] == "call" and client in WHOLE_CALLS):
                assert same(await anext(answers), piece.tells)
        left = [each async for each in answers]
    *calls, got = left
    assert isinstance(got, Got)
    assert (got.thought, got.text) == ("They ask.", "Let me look.")
    assert [(name, value) for _, name, value in got.calls] == [(PARIS.name, PARIS.arguments)]
    assert len(calls) == (client in WHOLE_CALLS)
    assert gateway.attempt()["chunk_times_ms"]
