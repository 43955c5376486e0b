"""Requests and completions of the matrix, in a form of no dialect."""

import json
from typing import Any, NamedTuple

INPUT, CACHED, OUTPUT, THINKING = 30, 10, 12, 5
"""The tokens of every response: input with cached tokens, output with those of thinking."""

# One red point.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Which city"}},
    "required": ["city"],
}
PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}

Part = tuple[Any, ...]
"""("text", text), ("image", type, base64), ("call", id, name, arguments), ("result", id, name, text)."""

Turn = tuple[str, list[Part]]
"""A role (user, assistant, tool), and parts."""


class Tool(NamedTuple):
    """A function that may be called."""

    name: str
    description: str
    schema: dict[str, Any]


class Call(NamedTuple):
    """A call that a model makes; its arguments' JSON comes in pieces."""

    id: str
    name: str
    pieces: tuple[str, ...]

    @property
    def arguments(self) -> Any:
        """The pieces' JSON, decoded."""
        return json.loads("".join(self.pieces))


class Completion(NamedTuple):
    """A model's output, in the pieces in which it streams."""

    thought: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    finish: str = "stop"


class Heard(NamedTuple):
    """A request as a provider understands it.

    `effort` is a level, or a number of tokens; `shows`: thoughts are to be shown; `choice`: auto, any, none or a name.
    """

    model: str
    stream: bool
    turns: list[Turn]
    system: str | None = None
    tools: list[Tool] = []  # noqa: RUF012  never changed
    choice: str | None = None
    schema: Any = None
    effort: str | int | None = None
    shows: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    stop: list[str] | None = None


class Case(NamedTuple):
    """One thing that a client asks, and what it is answered."""

    name: str
    completion: Completion
    turns: list[Turn] = [("user", [("text", "Hello")])]  # noqa: RUF012
    system: str | None = "Be brief."
    tools: list[Tool] = []  # noqa: RUF012  never changed
    choice: str | None = None
    schema: Any = None
    thinks: bool = False
    max_tokens: int = 100
    temperature: float | None = 0.5
    stop: list[str] | None = None


EFFORT, BUDGET = "high", 24576
"""The amount of thinking in cases that think, as an effort and as a budget in tokens."""

GET_WEATHER = Tool("get_weather", "Tell the weather", WEATHER)
PARIS = Call("call_a1", "get_weather", ('{"city":', ' "Paris"}'))
OSLO = Call("call_b2", "get_weather", ('{"city":', ' "Oslo"}'))

_QUESTION: list[Turn] = [("user", [("text", "How is the weather in Paris and Oslo?")])]
_ANSWERED: list[Turn] = [
    *_QUESTION,
    ("assistant", [("text", "Let me look."), *(("call", c.id, c.name, c.arguments) for c in (PARIS, OSLO))]),
    ("tool", [("result", PARIS.id, PARIS.name, "17 °C"), ("result", OSLO.id, OSLO.name, "4 °C")]),
]

CASES = {
    case.name: case
    for case in (
        Case("text", Completion(text=("Grüß ", "dich 👋", " 東京")), stop=["END", "###"]),
        Case(
            "tools",
            Completion(text=("Let me ", "look."), calls=(PARIS,), finish="tool_calls"),
            turns=_QUESTION,
            tools=[GET_WEATHER],
            choice="any",
        ),
        Case(
            "parallel tools",
            Completion(calls=(PARIS, OSLO), finish="tool_calls"),
            turns=_QUESTION,
            tools=[GET_WEATHER],
            choice="auto",
        ),
        Case(
            "image",
            Completion(text=("A red ", "point that"), finish="length"),
            turns=[("user", [("text", "What is this?"), ("image", "image/png", PNG)])],
        ),
        Case("schema", Completion(text=('{"city": "Paris",', ' "people": 2000000}')), schema=PLACE),
        Case(
            "reasoning",
            Completion(thought=("They ", "greet me."), text=("Good ", "day.")),
            thinks=True,
            max_tokens=30000,
            temperature=None,
        ),
        Case("turns", Completion(text=("Mild ", "and cold.")), turns=_ANSWERED, tools=[GET_WEATHER]),
    )
}
