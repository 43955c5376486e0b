"""Take an application's own spans: `POST /v1/traces`, OTLP in protobuf or JSON, answered once they are in the journal.

No exchange: nothing of it goes upstream. What is malformed is told by partial success; all else is stored, or nothing.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiohttp import web

from gateway.errors import ExchangeError, Kind
from gateway.proxy.auth import Token
from gateway.proxy.routing.runtime import RuntimeConfig
from gateway.server.ingest.common import body_of, kept_of, let_in, offload, secrets_of
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.lines import Line, encode, source_fields, span_line
from gateway.tracing.ingest.otlp.protocol import (
    CONTENT_TYPES,
    Encoding,
    Malformed,
    Source,
    TooManyError,
    UnreadableError,
    encoding_of,
    error_response,
    spans_in_json,
    spans_in_protobuf,
    success_response,
)
from gateway.tracing.journal import LINE_BYTES, Journal
from gateway.tracing.secrets import scrub_json
from gateway.tracing.tracer import INSTANCE, SCOPE

PATH = "/v1/traces"

# Said to who is to come back: the disk is full, or cannot be written.
_AGAIN_SECONDS = 10
# Of so many reasons for which spans are not taken, the sender is told.
_REASONS_TOLD = 3


class Receiving:
    """One worker's way in for spans. `own`: the gateway's `service.instance.id`, by which it knows its own spans."""

    def __init__(
        self, setup: RuntimeConfig, journal: Journal, token: Token | None, own: str, clock: Callable[[], int]
    ) -> None:
        self._config, self._capture_policy = setup.config, setup.capture_policy
        self._journal = journal
        self._token = token
        self._own = own
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Receiving {self._journal!r}>"

    def use(self, setup: RuntimeConfig, token: Token | None) -> None:
        """Go on by another configuration."""
        self._config, self._capture_policy, self._token = setup.config, setup.capture_policy, token

    @staticmethod
    def takes(request: web.Request) -> bool:
        """Whether a request brings spans."""
        return request.method == "POST" and request.raw_path.partition("?")[0] == PATH

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer as OTLP has it: 200 once all is stored but what is malformed; 503 where it should come again."""
        encoding = encoding_of(request.headers.get("Content-Type", ""))
        try:
            if encoding is None:
                raise ExchangeError(
                    Kind.BAD_INPUT,
                    f"{PATH} takes OTLP as {' or '.join(CONTENT_TYPES.values())} (header: Content-Type).",
                    status=415,
                )
            rejected = await self._take(request, encoding)
        except ExchangeError as error:
            return _refusal(encoding, error.status, error.message)
        except TooManyError as error:
            return _refusal(encoding, 413, f"{error}.")
        except UnreadableError as error:
            return _refusal(encoding, 400, f"{error}; no span of this request was stored.")
        except web.RequestPayloadError:
            return _refusal(encoding, 400, "The request's body broke off; no span of it was stored.")
        body = success_response(encoding, rejected.total(), _told(rejected))
        return web.Response(body=body, content_type=CONTENT_TYPES[encoding])

    async def _take(self, request: web.Request, encoding: Encoding) -> Counter[str]:
        """Write a request's spans to the journal; return why some were not. Raises what `handle` answers."""
        received_ns, config = self._clock(), self._config
        let_in(request.raw_headers, self._token, config.auth.origins)
        capture_policy = kept_of(request.raw_headers, self._capture_policy)
        body = await body_of(request, config, "spans")
        secrets = secrets_of(request, self._token)
        took = await offload(
            len(body), lambda: _taken(body, encoding, capture_policy, received_ns, own=self._own, secrets=secrets)
        )
        for why, count in took.dropped.items():
            self._journal.received.drop(count, why)
        reason = self._journal.append_spans(took.lines) if took.lines else None
        if reason is not None:
            raise ExchangeError(
                Kind.SERVER,
                f"No span of this request was stored ({reason}); see the gateway's log, and send them again.",
                status=503,
            )
        return took.rejected


class _Taken(NamedTuple):
    """Lines for the journal, why there is none of other spans, in words for the sender, and as they are counted."""

    lines: list[bytes]
    rejected: Counter[str]
    dropped: Counter[str]


def _taken(
    body: bytes,
    encoding: Encoding,
    capture_policy: CapturePolicy,
    received_ns: int,
    *,
    own: str,
    secrets: Sequence[str],
) -> _Taken:
    """Read a request. Pure, so that it may be done in a thread. Raises UnreadableError, TooManyError."""
    took = _Taken([], Counter(), Counter())
    last: Source | None = None
    of: Line = {}
    is_own = False
    ids: set[tuple[str, str]] = set()
    for source, span in (spans_in_json if encoding == "json" else spans_in_protobuf)(body):
        if source is not last:
            last, of = source, source_fields(source, capture_policy)
            is_own = _is_own(source, own)
        line = span if isinstance(span, Malformed) else span_line(span, of, capture_policy, received_ns)
        reason = "malformed"
        if not isinstance(line, Malformed):
            of_span, made = (line["trace_id"], line["span_id"]), scrub_json(encode(line), secrets)
            if is_own:
                reason, line = "own", Malformed("it is this gateway's own, which a collector has sent back")
            elif of_span in ids:
                reason, line = "twice", Malformed("it is there twice")
            elif len(made) >= LINE_BYTES:
                reason, line = "too_long", Malformed(f"it has {len(made)} bytes, more than {LINE_BYTES}")
            else:
                ids.add(of_span)
                took.lines.append(made)
                continue
        took.rejected[line.reason] += 1
        took.dropped[reason] += 1
    return took


def _is_own(source: Source, own: str) -> bool:
    said = {pair.key: pair.value.string_value for pair in source.resource.attributes}
    return source.scope.name == SCOPE and said.get(INSTANCE) == own


def _told(rejected: Counter[str]) -> str:
    """Return why spans were not taken, as far as somebody reads."""
    common = rejected.most_common(_REASONS_TOLD)
    return "; ".join(f"{count} of them: {why}" for why, count in common)


def _refusal(encoding: Encoding | None, status: int, why: str) -> web.Response:
    encoding = encoding or "json"
    headers = {"Retry-After": str(_AGAIN_SECONDS)} if status == 503 else {}
    return web.Response(
        body=error_response(encoding, status, why),
        status=status,
        headers=headers,
        content_type=CONTENT_TYPES[encoding],
    )
