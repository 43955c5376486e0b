"""What is kept of what was said: how much each sink gets of it, and what is taken out before. Pure.

The configuration is the bound. A request may ask for less in `x-gateway-capture`, never for more:

    x-gateway-capture: metadata
    x-gateway-capture: store=truncated, otlp=off
"""

from typing import Literal, get_args

from msgspec import Struct, structs

from gateway.config.model import Capture, CaptureMode, Config
from gateway.redaction import NOTHING, Redaction

Sink = Literal["store", "otlp"]

# From the most to the least.
_MODES: tuple[CaptureMode, ...] = get_args(CaptureMode)
_SINKS: tuple[Sink, ...] = get_args(Sink)


class CapturePolicy(Struct, frozen=True):
    """What the store keeps: as much as `capture.store` says, without what `redaction` finds."""

    capture: Capture = Capture()
    redaction: Redaction = NOTHING

    @property
    def reads(self) -> bool:
        """Whether bodies are read at all."""
        return self.capture.store != "off"

    @property
    def content(self) -> bool:
        """Whether content is kept."""
        return self.capture.store in {"full", "truncated"}

    @property
    def limit(self) -> int:
        """How many bytes of each content attribute are kept."""
        return self.capture.store_bytes if self.capture.store == "full" else self.capture.otlp_bytes

    def within(self, text: str) -> "CapturePolicy":
        """Return what is kept where a request asks for less. Raises ValueError."""
        said = wanted(text)
        modes = {sink: least(getattr(self.capture, sink), said.get(sink, "full")) for sink in _SINKS}
        return structs.replace(self, capture=structs.replace(self.capture, **modes))

    def within_all(self, text: str) -> "CapturePolicy":
        """Return the same for what is stored without a word on what a collector may get: the least of all holds."""
        said = wanted(text)
        mode = least(self.capture.store, *said.values())
        return structs.replace(self, capture=structs.replace(self.capture, store=mode))


def policy_of(config: Config) -> CapturePolicy:
    """Return what a configuration keeps."""
    redaction = config.redaction
    return CapturePolicy(config.capture, Redaction(redaction.builtin, redaction.patterns))


def wanted(text: str) -> dict[Sink, CaptureMode]:
    """Return what a request asks for, by sink. Raises ValueError that says what is expected."""
    asked: dict[Sink, CaptureMode] = {}
    for part in text.lower().split(","):
        left, equals, right = (each.strip() for each in part.partition("="))
        mode = next((mode for mode in _MODES if mode == (right if equals else left)), None)
        sinks = [sink for sink in _SINKS if not equals or sink == left]
        if mode is None or not sinks:
            raise ValueError(f"expected one of {', '.join(_MODES)}, for all or by sink: store=..., otlp=...")
        asked |= dict.fromkeys(sinks, mode)
    return asked


def least(*modes: CaptureMode) -> CaptureMode:
    """Return the mode that keeps least."""
    return max(modes, key=_MODES.index)
