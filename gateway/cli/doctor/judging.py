"""What of the pieces is a leak, and what was not checked. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, structs

from gateway.cli.doctor import advice
from gateway.cli.doctor.canaries import Cage
from gateway.cli.doctor.driver import Got
from gateway.cli.doctor.paths import Path
from gateway.cli.doctor.scanning import Hit, Scanner
from gateway.cli.doctor.settings import Setting
from gateway.cli.doctor.sinks import CLIENT, JOURNALS, KEEPS_CONTENT, METRICS, PAGES, SPANS, SQL, Collected, Piece

_HAVING = frozenset({"full", "truncated"})


class Leak(Struct, frozen=True, kw_only=True):
    """A canary where it may not be.

    Attributes:
        kind: What leaked.
        shown: The value's beginning and end.
        path: On which path; "any" where a value that all paths have stands with nothing that tells them apart.
        row: The line of the table.
        place: Where in the sink, the first of `count` such places.
        form: How it is written there.
        change: What to do about it.

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
    """What did not do what it was to do, or could not be looked at; without a path it is of the whole sink."""

    why: str
    row: str = ""
    path: str = ""
    sink: str = ""


class Judged(Struct, frozen=True, kw_only=True):
    """What was found. `passed_on`: answers in which a client got what the provider itself repeated."""

    leaks: tuple[Leak, ...]
    unchecked: tuple[Unchecked, ...]
    passed_on: int


class Judge:
    """Knows the paths, and what each sink may have."""

    def __init__(self, cage: Cage, setting: Setting, paths: Sequence[Path]) -> None:
        self._cage = cage
        self._setting = setting
        self._paths = {path.id: path for path in paths}
        self._markers = {path.marker: path for path in paths}
        self._scanner = Scanner(cage)
        self._by_trace: dict[str, Path] = {}

    def judge(
        self,
        collected: Collected,
        got: Mapping[str, Got],
        asked: Mapping[str, int],
        said: Mapping[str, bytes],
    ) -> Judged:
        """Look through everything. `asked`: how often the provider was, by path; `said`: what it answered."""
        self._by_trace = {
            each.trace: self._markers[marker] for marker, each in collected.stored.items() if marker in self._markers
        }
        leaks: dict[tuple[str, str, str, str], Leak] = {}
        kept: set[str] = set()
        for piece in collected.pieces:
            for hit in self._scanner.find(piece.data, ("secret", "content", "redacted")):
                if not self._allowed(piece, hit):
                    self._note(leaks, piece, hit)
                elif piece.sink == SQL and hit.canary is not None:
                    kept.add(hit.canary.value)
        passed_on = self._answers(leaks, got, said)
        unchecked = [*self._untried(collected, got, asked, kept), *self._unseen(collected)]
        return Judged(leaks=tuple(leaks.values()), unchecked=tuple(unchecked), passed_on=passed_on)

    def _allowed(self, piece: Piece, hit: Hit) -> bool:
        """Whether a sink may have this: content, where the configuration and the request that said it give it."""
        if hit.of != "content" or piece.sink not in KEEPS_CONTENT or not piece.content:
            return False
        path = self._paths.get(hit.canary.path or "") if hit.canary is not None else None
        capture = path.capture if path is not None else self._setting.capture
        return (capture.otlp if piece.sink == SPANS else capture.store) in _HAVING

    def _answers(
        self, leaks: dict[tuple[str, str, str, str], Leak], got: Mapping[str, Got], said: Mapping[str, bytes]
    ) -> int:
        """Look through what clients got: no secret but in bytes of the provider's own, which pass as they are."""
        passed_on = 0
        for path, answer in got.items():
            theirs = {hit.canary for hit in self._scanner.find(said.get(path, b""), ("secret",))}
            found = list(self._scanner.find(answer.data, ("secret",)))
            passed_on += any(hit.canary in theirs for hit in found)
            piece = Piece(sink=CLIENT, place="the answer", data=answer.data, path=path)
            for hit in found:
                # Whoever sent no HTTP may read what he has sent; there is no exchange that could say more of it.
                own = hit.canary is not None and hit.canary.path == path and not self._paths[path].expected.exchange
                if hit.canary not in theirs and not own:
                    self._note(leaks, piece, hit)
        return passed_on

    def _note(self, leaks: dict[tuple[str, str, str, str], Leak], piece: Piece, hit: Hit) -> None:
        path = self._path_of(piece, hit)
        kind = hit.canary.kind if hit.canary is not None else f"a part of a {hit.of} value"
        key = (kind, path.id if path is not None else "", piece.sink, hit.form)
        if (before := leaks.get(key)) is not None:
            leaks[key] = structs.replace(before, count=before.count + 1)
            return
        leaks[key] = Leak(
            kind=kind,
            shown=hit.canary.shown if hit.canary is not None else "",
            path=path.name if path is not None else "any",
            row=path.row if path is not None else "",
            sink=piece.sink,
            place=piece.place,
            form=hit.form,
            count=1,
            change=advice.change(hit.of, kind, piece.sink, hit.form),
        )

    def _path_of(self, piece: Piece, hit: Hit) -> Path | None:
        """Return whose a hit is: the canary's own path, else that of the piece's marker or trace."""
        known = piece.path or (hit.canary.path if hit.canary is not None else None)
        if known is not None:
            return self._paths.get(known)
        near = piece.data if len(piece.data) < _RECORD else b""
        text = near.decode("latin-1")
        for marker, path in self._markers.items():
            if marker in text:
                return path
        return next((path for trace, path in self._by_trace.items() if trace in text), None)

    def _untried(
        self, collected: Collected, got: Mapping[str, Got], asked: Mapping[str, int], kept: set[str]
    ) -> Iterable[Unchecked]:
        """Give the paths that did not go as they were to go."""
        for path in self._paths.values():
            expected, answer, count = path.expected, got.get(path.id, Got(status=0)), asked.get(path.id, 0)
            stored = collected.stored.get(path.marker)
            low, high = expected.status or (100, 599)
            why = None
            if not low <= answer.status <= high:
                why = f"the client got {answer.status or 'no answer'}, not {low if low == high else f'{low} to {high}'}"
            elif (count != expected.asked) if expected.asked is not None else not count:
                why = f"the provider was asked {count} times, not {expected.asked or 'at least once'}"
            elif expected.exchange and stored is None:
                why = "the store has no exchange of it"
            elif stored is not None and expected.outcome not in {None, stored.outcome}:
                why = f"it ended as {stored.outcome}, not as {expected.outcome}"
            elif path.capture.store == "full" and not kept.issuperset(expected.kept):
                why = "its messages are not in the store, though $.capture.store is full"
            if why is not None:
                yield Unchecked(why=why, row=path.row, path=path.name)
            elif stored is not None and self._setting.exports and stored.trace not in collected.exported:
                yield Unchecked(why="the collector got no span of it", row=path.row, path=path.name, sink=SPANS)

    def _unseen(self, collected: Collected) -> Iterable[Unchecked]:
        """Give the sinks that could not be looked at, or lack what must be in them."""
        for sink, why in collected.missing:
            yield Unchecked(why=why, sink=sink)
        wanted = [path.marker.encode() for path in self._paths.values() if path.expected.exchange]
        for sink in (JOURNALS, SQL, PAGES):
            text = b"\n".join(piece.data for piece in collected.pieces if piece.sink == sink)
            if not any(marker in text for marker in wanted):
                yield Unchecked(why="none of the requests is in it", sink=sink)
        if self._setting.measures and not any(piece.sink == METRICS for piece in collected.pieces):
            yield Unchecked(why="nothing was sent", sink=METRICS)


_RECORD = 256 * 1024
"""A piece that is larger is no record of one exchange."""
