"""The capture policy: how much content each sink gets, and its redaction. Pure.

The configuration is the upper bound. A request may ask for less in `x-gateway-capture`, never for more:

    x-gateway-capture: metadata
    x-gateway-capture: store=truncated, otlp=off
"""

from typing import Literal, get_args

from msgspec import Struct, structs

from gateway.config.model import Capture, CaptureMode, Config
from gateway.redaction import NOTHING, Redaction

Sink = Literal["store", "otlp"]

# From the most content to none.
_MODES: tuple[CaptureMode, ...] = get_args(CaptureMode)
_SINKS: tuple[Sink, ...] = get_args(Sink)


class CapturePolicy(Struct, frozen=True):
    """The content that the store gets: as much as `capture.store` allows, redacted."""

    capture: Capture = Capture()
    redaction: Redaction = NOTHING

    @property
    def reads(self) -> bool:
        """Whether bodies are read for the trace at all."""
        return self.capture.store != "off"

    @property
    def content(self) -> bool:
        """Whether content is stored."""
        return self.capture.store in {"full", "truncated"}

    @property
    def limit(self) -> int:
        """Bytes up to which each content attribute is stored."""
        return self.capture.store_bytes if self.capture.store == "full" else self.capture.otlp_bytes

    def within(self, text: str) -> "CapturePolicy":
        """Return the policy of a request with this `x-gateway-capture` header. Raises ValueError."""
        requested = parse_capture(text)
        modes = {sink: least_capture(getattr(self.capture, sink), requested.get(sink, "full")) for sink in _SINKS}
        return structs.replace(self, capture=structs.replace(self.capture, **modes))

    def within_all(self, text: str) -> "CapturePolicy":
        """Return the policy of events and spans with this header: the least of their modes holds."""
        mode = least_capture(self.capture.store, *parse_capture(text).values())
        return structs.replace(self, capture=structs.replace(self.capture, store=mode))


def policy_of(config: Config) -> CapturePolicy:
    """Return the policy of a configuration."""
    redaction = config.redaction
    return CapturePolicy(config.capture, Redaction(redaction.builtin, redaction.patterns))


def parse_capture(text: str) -> dict[Sink, CaptureMode]:
    """Return the modes of an `x-gateway-capture` header, by sink. Raises ValueError with the expected form."""
    requested: dict[Sink, CaptureMode] = {}
    for part in text.lower().split(","):
        left, equals, right = (each.strip() for each in part.partition("="))
        mode = next((mode for mode in _MODES if mode == (right if equals else left)), None)
        sinks = [sink for sink in _SINKS if not equals or sink == left]
        if mode is None or not sinks:
            raise ValueError(f"expected one of {', '.join(_MODES)}, for all or by sink: store=..., otlp=...")
        requested |= dict.fromkeys(sinks, mode)
    return requested


def least_capture(*modes: CaptureMode) -> CaptureMode:
    """Return the mode that captures least."""
    return max(modes, key=_MODES.index)
