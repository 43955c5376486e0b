"""Which hits are leaks, what to change about them, and what was not checked. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, structs

from gateway.cli.doctor import sinks
from gateway.cli.doctor.canaries import Canaries, Class
from gateway.cli.doctor.configuration import LoopbackConfig
from gateway.cli.doctor.process import Response
from gateway.cli.doctor.requests import Request
from gateway.cli.doctor.scanner import Hit, Scanner
from gateway.cli.doctor.sinks import Collected, Piece

_WITH_CONTENT = frozenset({"full", "truncated"})
_RECORD_BYTES = 256 * 1024
"""A larger piece is not the record of one exchange."""


class Leak(Struct, frozen=True, kw_only=True):
    """A canary in a sink that must not have it.

    Attributes:
        shown: The value's beginning and end.
        path: The request; "any" if the place does not show which.
        row: The request's line of the report.
        place: The first of `count` places in the sink.
        form: The encoding.
        change: The remedy.

    """

    kind: str
    shown: str
    path: str
    row: str
    sink: str
    place: str
    form: str
    count: int
    change: str


class Unchecked(Struct, frozen=True, kw_only=True):
    """A request without its expected result, or a sink that could not be read: then without a path."""

    why: str
    row: str = ""
    path: str = ""
    sink: str = ""


class Verdict(Struct, frozen=True, kw_only=True):
    """All findings. `repeated`: responses with a key that the provider itself repeated to the client."""

    leaks: tuple[Leak, ...]
    unchecked: tuple[Unchecked, ...]
    repeated: int


class Judge:
    """Knows the requests, and what each sink may have of them."""

    def __init__(self, canaries: Canaries, loopback: LoopbackConfig, requests: Sequence[Request]) -> None:
        self._loopback = loopback
        self._requests = {request.id: request for request in requests}
        self._markers = {request.marker: request for request in requests}
        self._scanner = Scanner(canaries)
        self._by_trace: dict[str, Request] = {}
        self._leaks: dict[tuple[str, str, str, str], Leak] = {}

    def judge(
        self,
        collected: Collected,
        responses: Mapping[str, Response],
        received: Mapping[str, int],
        sent: Mapping[str, bytes],
    ) -> Verdict:
        """Judge all pieces. By request id: `received`, how often the provider was asked; `sent`, its bytes."""
        self._leaks = {}
        self._by_trace = {
            each.trace: self._markers[marker] for marker, each in collected.stored.items() if marker in self._markers
        }
        stored: set[str] = set()
        for piece in collected.pieces:
            for hit in self._scanner.find(piece.data, ("secret", "content", "redacted")):
                if not self._allowed(piece, hit):
                    self._add(piece, hit)
                elif piece.sink == sinks.SQL and hit.canary is not None:
                    stored.add(hit.canary.value)
        repeated = sum([self._judge_response(id_, each, sent.get(id_, b"")) for id_, each in responses.items()])
        unchecked = [*self._unexpected(collected, responses, received, stored), *self._unread(collected)]
        return Verdict(leaks=tuple(self._leaks.values()), unchecked=tuple(unchecked), repeated=repeated)

    def _allowed(self, piece: Piece, hit: Hit) -> bool:
        """Whether configuration and request allow content in this sink."""
        if hit.of != "content" or piece.sink not in sinks.CONTENT_SINKS or not piece.content:
            return False
        request = self._requests.get(hit.canary.request or "") if hit.canary is not None else None
        capture = request.capture if request is not None else self._loopback.capture
        return (capture.otlp if piece.sink in sinks.EXPORTED_CONTENT else capture.store) in _WITH_CONTENT

    def _judge_response(self, id_: str, response: Response, sent: bytes) -> bool:
        """Add the secrets that the gateway put into a response; return whether the provider put any."""
        repeated = list(self._scanner.find(sent, ("secret",)))  # the provider repeats every key that it is sent
        for hit in repeated:
            if self._requests[id_].expected.withheld and hit.canary is not None and hit.canary.request == id_:
                self._add(Piece(sink=sinks.PROVIDER, place="the request", data=sent, request=id_), hit)
        providers = {hit.canary for hit in repeated}
        hits = list(self._scanner.find(response.data, ("secret",)))
        for hit in hits:
            own = hit.canary is not None and hit.canary.request == id_ and self._requests[id_].expected.quoted
            if hit.canary not in providers and not own:
                self._add(Piece(sink=sinks.CLIENT, place="the response", data=response.data, request=id_), hit)
        return any(hit.canary in providers for hit in hits)

    def _add(self, piece: Piece, hit: Hit) -> None:
        request = self._request_of(piece, hit)
        kind = hit.canary.kind if hit.canary is not None else f"a part of a {hit.of} value"
        key = (kind, request.id if request is not None else "", piece.sink, hit.form)
        if (before := self._leaks.get(key)) is not None:
            self._leaks[key] = structs.replace(before, count=before.count + 1)
            return
        self._leaks[key] = Leak(
            kind=kind,
            shown=hit.canary.shown if hit.canary is not None else "",
            path=request.name if request is not None else "any",
            row=request.row if request is not None else "",
            sink=piece.sink,
            place=piece.place,
            form=hit.form,
            count=1,
            change=remedy(hit.of, kind, piece.sink, hit.form),
        )

    def _request_of(self, piece: Piece, hit: Hit) -> Request | None:
        """Return the request of a hit: the canary's own, else by the marker or the trace in the same record."""
        known = piece.request or (hit.canary.request if hit.canary is not None else None)
        if known is not None:
            return self._requests.get(known)
        text = piece.data.decode("latin-1") if len(piece.data) < _RECORD_BYTES else ""
        named = [*self._markers.items(), *self._by_trace.items()]
        return next((request for name, request in named if name in text), None)

    def _unexpected(
        self,
        collected: Collected,
        responses: Mapping[str, Response],
        received: Mapping[str, int],
        stored: set[str],
    ) -> Iterator[Unchecked]:
        for request in self._requests.values():
            expected, count = request.expected, received.get(request.id, 0)
            status = responses[request.id].status if request.id in responses else 0
            exchange = collected.stored.get(request.marker)
            low, high = expected.status or (100, 599)
            why, sink = "", ""
            if not low <= status <= high:
                why = f"the client got {status or 'no response'}, not {low if low == high else f'{low} to {high}'}"
            elif (count != expected.attempts) if expected.attempts is not None else not count:
                why = f"the provider was asked {count} times, not {expected.attempts or 'at least once'}"
            elif expected.exchange and exchange is None:
                why = "the store has no exchange of it"
            elif exchange is not None and expected.outcome not in {None, exchange.outcome}:
                why = f"its outcome is {exchange.outcome}, not {expected.outcome}"
            elif request.capture.store == "full" and not stored.issuperset(expected.stored):
                why = "its messages are not in the store, though $.capture.store is full"
            elif exchange is not None and self._loopback.exports_spans and exchange.trace not in collected.exported:
                why, sink = "the collector got no span of it", sinks.SPANS
            if why:
                yield Unchecked(why=why, row=request.row, path=request.name, sink=sink)

    def _unread(self, collected: Collected) -> Iterator[Unchecked]:
        """Yield the sinks that could not be read, or lack every request."""
        for sink, why in collected.missing:
            yield Unchecked(why=why, sink=sink)
        markers = [request.marker.encode() for request in self._requests.values() if request.expected.exchange]
        for sink in (sinks.JOURNALS, sinks.SQL, sinks.PAGES):
            text = b"\n".join(piece.data for piece in collected.pieces if piece.sink == sink)
            if not any(marker in text for marker in markers):
                yield Unchecked(why="none of the requests is in it", sink=sink)
        if self._loopback.exports_metrics and not any(piece.sink == sinks.METRICS for piece in collected.pieces):
            yield Unchecked(why="nothing was sent", sink=sinks.METRICS)


def remedy(of: Class, kind: str, sink: str, form: str) -> str:
    """Return the setting that stops a leak, or else how to live with it until the gateway is fixed."""
    report = "report it as a defect of the gateway (SECURITY.md says how)"
    if of == "content":
        if sink in {sinks.LOG, sinks.METRICS, sinks.CLIENT, sinks.COMMANDS}:
            return f"no setting asks for this: {report}"
        setting = "$.capture.otlp" if sink in sinks.EXPORTED_CONTENT else "$.capture.store"
        return f'{setting} does not hold: {report}; until then set $.capture.store = "off"'
    if of == "redacted":
        return f"the rule for {kind} does not match here ({form}): widen it in $.redaction.patterns, or {report}"
    return f"{report}; until then " + {
        sinks.PROVIDER: "set $.providers.NAME.api_key, which replaces a client's key",
        sinks.LOG: "run without --verbose, and do not share the log",
        **dict.fromkeys(
            sinks.EXPORTED_CONTENT, 'set $.capture.otlp = "off", and renew the key if the collector is not yours'
        ),
        sinks.PAGES: "set $.auth.required = true and $.auth.token",
        sinks.CLIENT: "give clients keys of their own",
    }.get(sink, 'set $.capture.store = "off", and renew keys that are in old segments')
