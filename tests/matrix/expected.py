"""Expected results of each cell of the matrix, and by name the content that a dialect or an SDK cannot express."""

import re
from typing import Any

from tests.matrix.clients import Got, Tokens
from tests.matrix.scenes import BUDGET, CACHED, EFFORT, INPUT, OUTPUT, THINKING, Case, Heard, Part, Turn
from tests.matrix.upstreams import UPSTREAMS

SPEAKS = {
    "chat": "openai-chat",
    "responses": "openai-responses",
    "messages": "anthropic-messages",
    "google": "gemini",
    "ollama": "ollama",
    "node openai": "openai-chat",
    "vercel openai": "openai-responses",
    "vercel anthropic": "anthropic-messages",
}
"""The dialect of each client."""

_RESPONSES = {"responses", "vercel openai"}
_MESSAGES = {"messages", "vercel anthropic"}
_CLAUDES = {"messages", "converse"}

_FINISHES = {
    "openai-chat": {"stop": "stop", "length": "length", "tool_calls": "tool_calls"},
    "openai-responses": {"stop": "completed", "length": "max_output_tokens", "tool_calls": "completed"},
    "anthropic-messages": {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"},
    "gemini": {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"},
    "ollama": {"stop": "stop", "length": "length", "tool_calls": "stop"},
}
_VERCEL = {"stop": "stop", "length": "length", "tool_calls": "tool-calls"}


def same(client: str, upstream: str) -> bool:
    """Whether both speak one dialect, and bytes pass as they are."""
    return SPEAKS[client] == UPSTREAMS[upstream].dialect


def heard(client: str, upstream: str, case: Case, *, stream: bool) -> Heard:
    """Return what a provider is asked."""
    return Heard(
        model=UPSTREAMS[upstream].model,
        stream=stream,
        system=case.system,
        turns=[_turn(client, upstream, turn) for turn in case.turns],
        tools=case.tools,
        choice=_choice(client, upstream, case),
        schema=case.schema,
        effort=_effort(client, upstream) if case.thinks else None,
        shows=_shows(client, upstream) if case.thinks else None,
        # The Vercel AI SDK adds the limit of thinking to that of the text.
        max_tokens=case.max_tokens + (BUDGET if case.thinks and client == "vercel anthropic" else 0),
        # Anthropic's SDK has no argument for it any more.
        temperature=None if client == "messages" else case.temperature,
        # Responses have no stop sequences.
        stop=None if client in _RESPONSES or upstream == "responses" else case.stop,
    )


def _choice(client: str, upstream: str, case: Case) -> str | None:
    """Return which tools may be called: Ollama has no words for it, neither as a client nor as a provider."""
    if "ollama" in {client, upstream}:
        return None
    # The Vercel AI SDK always has a word.
    usual = "auto" if case.tools and client.startswith("vercel") else None
    return case.choice or usual


def _effort(client: str, upstream: str) -> str | int:
    """Return how much is to be thought: clients and providers have levels, or count tokens."""
    if client in _MESSAGES:
        return BUDGET if upstream in {"messages", "converse", "gemini"} else EFFORT
    # Where a level becomes tokens Bedrock's leave half of the limit for the answer.
    return {"messages": BUDGET, "converse": 15000}.get(upstream, EFFORT)


def _shows(client: str, upstream: str) -> bool | None:
    """Return whether thoughts are asked for in so many words, which chat completions and Ollama have none for."""
    asks = client in {"google", *_RESPONSES}
    return True if asks and upstream not in {"chat", "ollama"} else None


def _turn(client: str, upstream: str, turn: Turn) -> Turn:
    return turn[0], [_part(client, upstream, part) for part in turn[1]]


def _part(client: str, upstream: str, part: Part) -> Part:
    if part[0] == "image" and (client, upstream) == ("google", "gemini"):
        return (
            *part[:2],
            part[2].replace("+", "-").replace("/", "_"),
        )  # Google's SDK writes it so, and its API takes it
    if part[0] not in {"call", "result"}:
        return part
    kind, ident, name, value = part
    if client in {"google", "ollama"}:  # they say no ids; calls and results get ones that belong together
        ident = None if same(client, upstream) else f"call_{1 + ['call_a1', 'call_b2'].index(ident)}"
    if kind == "result":
        named = upstream in {"gemini", "ollama"} or (upstream == "chat" and client in {"google", "ollama"})
        name = name if named else None
    return kind, ident, name, value


def got(client: str, upstream: str, case: Case) -> Got:
    """Return what an SDK gives back."""
    completion = case.completion
    words = _VERCEL if client.startswith("vercel") else _FINISHES[SPEAKS[client]]
    return Got(
        text="".join(completion.text),
        thought="".join(completion.thought),
        calls=[(_ident(client, upstream, c.id), c.name, c.arguments) for c in completion.calls],
        finish=words[completion.finish],
        usage=_usage(client, upstream, case),
    )


MADE = "made up"
"""The id of a call that the provider gave none."""


def _ident(client: str, upstream: str, ident: str) -> str | None:
    if client == "ollama" or (client, upstream) == ("google", "gemini"):
        return None
    return MADE if upstream == "gemini" else ident


def made_ids(calls: list[tuple[str | None, str, Any]]) -> list[tuple[str | None, str, Any]]:
    """Replace ids that look like the gateway's own, which must differ."""
    idents = [ident for ident, _, _ in calls if ident]
    assert len(idents) == len(set(idents))
    return [(MADE if i and re.fullmatch(r"call_[0-9a-f]{8}_\d", i) else i, name, value) for i, name, value in calls]


def tokens(upstream: str, case: Case) -> Tokens:
    """Return what a provider tells of its tokens: Ollama nothing of a cache, and not all of them what was thought."""
    thinking = {"chat": 0, "responses": 0}.get(upstream)
    if case.completion.thought and upstream in {"chat", "responses", "gemini"}:
        thinking = THINKING
    return INPUT, OUTPUT, None if upstream == "ollama" else CACHED, thinking


def _usage(client: str, upstream: str, case: Case) -> Tokens:
    """Return the tokens that a client gets, with 0 for unknown counts in required fields."""
    asked, answered, cached, thinking = tokens(upstream, case)
    if client == "ollama":
        return asked, answered, None, None
    if client in _RESPONSES:
        return asked, answered, cached or 0, thinking or 0
    if client == "vercel anthropic":
        return asked, answered, cached or 0, thinking
    return asked, answered, cached, thinking


WHY = {
    "stop_sequences": "Responses have no stop sequences",
    "tool_choice": "Ollama calls tools as it sees fit",
    "show_reasoning": "chat completions have no word for whether thoughts are shown",
    "reasoning_budget": "a number of tokens becomes one of a few levels",
    "tools.get_weather.eager_input_streaming": "only Anthropic's dialect can ask for arguments that stream unchecked",
    "thoughtSignature": "Gemini's signature of a call has no place in the dialect",
    "signature": "Ollama's thoughts are not signed",
    "id": "Ollama's thoughts have no id",
    "encrypted_content": "Ollama's thoughts are not encrypted",
    "usage.cache_read_tokens": "Ollama tells nothing of a cache",
    "usage.reasoning_tokens": "Ollama does not count thoughts apart",
    "usageMetadata": "only Gemini counts tokens by their modality",
    "metrics": "only Bedrock tells its latency",
    "total_duration": "only Ollama tells how long it took",
    "eval_duration": "only Ollama tells how long it took",
}
"""The reason of each loss, by its name."""


def lost(client: str, upstream: str, case: Case, *, stream: bool) -> set[str]:
    """Return what is named as lost on the way, there or back."""
    if same(client, upstream):
        return set()
    return _lost_there(client, upstream, case, stream=stream) | _lost_back(client, upstream, case, stream=stream)


def _lost_there(client: str, upstream: str, case: Case, *, stream: bool) -> set[str]:
    names = set()
    if case.stop and upstream == "responses" and client not in _RESPONSES:
        names.add("stop_sequences")
    if case.choice == "any" and upstream == "ollama":
        names.add("tool_choice")
    if case.thinks and upstream == "chat" and client in {"google", *_RESPONSES}:
        names.add("show_reasoning")
    if case.thinks and client in _MESSAGES and upstream in {"chat", "responses", "ollama"}:
        names.add("reasoning_budget")
    if case.tools and client == "vercel anthropic" and stream:
        names.add("tools.get_weather.eager_input_streaming")
    if case.name == "turns" and client == "google" and upstream != "chat":
        names.add("thoughtSignature")
    return names


def _lost_back(client: str, upstream: str, case: Case, *, stream: bool) -> set[str]:
    names = set()
    if upstream == "ollama":
        names |= {"total_duration", "eval_duration"}
    if not stream:
        names |= {"gemini": {"usageMetadata"}, "converse": {"metrics"}}.get(upstream, set())
    if client == "ollama":
        _, _, cached, thinking = tokens(upstream, case)
        names |= {"usage.cache_read_tokens"} if cached else set()
        names |= {"usage.reasoning_tokens"} if thinking else set()
    if case.completion.calls and upstream == "gemini" and client not in {"chat", "node openai"}:
        names.add("thoughtSignature")
    if case.completion.thought and client == "ollama":
        names |= {"messages": {"signature"}, "converse": {"signature"}, "responses": {"id", "encrypted_content"}}.get(
            upstream, set()
        )
    return names


def short(names: list[str]) -> set[str]:
    """Return names of what was lost without the place where it stood."""
    return {re.sub(r".*\]\.", "", name) for name in names}
