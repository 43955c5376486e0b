"""The counts as text: Prometheus's format, and OpenMetrics, which also has exemplars. Pure.

Names are made by OpenTelemetry's rules for Prometheus: dots become underscores, the unit is written out behind the
name, a counter ends in `_total`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from gateway.store.metrics.instruments import Instrument
from gateway.store.metrics.series import Exemplar, Family

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_UNITS = {"s": "seconds", "By": "bytes"}
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
_QUALITY = re.compile(r";\s*q=([0-9.]+)")


def accepted(accept: str) -> str:
    """Return which of the two formats an Accept header prefers; the plain one where it does not say."""
    best = {PLAIN: 0.0, OPEN_METRICS: 0.0}
    for part in accept.split(","):
        kind = part.partition(";")[0].strip().lower()
        found = _QUALITY.search(part)
        quality = float(found.group(1)) if found and found.group(1).count(".") < 2 else 1.0
        if kind in {"text/plain", "text/*", "*/*", ""}:
            best[PLAIN] = max(best[PLAIN], quality)
        elif kind == "application/openmetrics-text":
            best[OPEN_METRICS] = max(best[OPEN_METRICS], quality)
    return OPEN_METRICS if best[OPEN_METRICS] and best[OPEN_METRICS] >= best[PLAIN] else PLAIN


def name_of(instrument: Instrument) -> str:
    """Return a metric's name in Prometheus, without what stands behind the names of its samples."""
    name = _NO_NAME.sub("_", instrument.name)
    unit = _UNITS.get(instrument.unit)
    return f"{name}_{unit}" if unit and not name.endswith(f"_{unit}") else name


def sample_names(instrument: Instrument) -> tuple[str, ...]:
    """Return the names of a metric's samples."""
    name = name_of(instrument)
    match instrument.sort:
        case "counter":
            return (f"{name}_total",)
        case "gauge":
            return (name,)
        case "histogram":
            return (f"{name}_bucket", f"{name}_sum", f"{name}_count")


def text(families: Iterable[Family], resource: Mapping[str, str], style: str) -> bytes:
    """Return the page in a format. `resource`: what `target_info` says of the gateway as a whole."""
    opened = style == OPEN_METRICS
    lines: list[str] = []
    for family in families:
        lines += _family(family, opened=opened)
    target = "target" if opened else "target_info"
    lines.append(f"# HELP {target} What the gateway says of itself.")
    lines.append("# TYPE target info" if opened else "# TYPE target_info gauge")
    lines.append(f"target_info{_braced(resource)} 1")
    if opened:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode()


def _family(family: Family, *, opened: bool) -> Iterator[str]:
    instrument = family.instrument
    if not (family.counts or family.spreads):
        return
    name = name_of(instrument)
    said = f"{name}_total" if instrument.sort == "counter" and not opened else name
    yield f"# HELP {said} {instrument.help}"
    yield f"# TYPE {said} {instrument.sort}"
    if opened and instrument.unit in _UNITS:
        yield f"# UNIT {said} {_UNITS[instrument.unit]}"
    sample = sample_names(instrument)[0]
    for labels, count in family.counts.items():
        line = f"{sample}{_braced(family.named(labels))} {_number(count.value)}"
        counted = opened and instrument.sort == "counter"
        yield line + _exemplar(count.exemplar, 1.0) if counted else line
    for labels, spread in family.spreads.items():
        named = family.named(labels)
        inner = _pairs(named)
        before = f"{name}_bucket{{{inner}{',' if inner else ''}le="
        below = 0
        for bound, number, value, exemplar in zip(
            (*instrument.bounds, None), spread.counts, spread.latest, spread.exemplars, strict=True
        ):
            below += number
            line = f'{before}"{"+Inf" if bound is None else _bound(bound)}"}} {below}'
            yield line + _exemplar(exemplar, value) if opened else line
        yield f"{name}_sum{_braced(named)} {_number(spread.total)}"
        yield f"{name}_count{_braced(named)} {below}"


def _bound(bound: float) -> str:
    """Write a bound as OpenMetrics has it, in both formats: another spelling would be another series."""
    return str(round(bound, 9))


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _exemplar(exemplar: Exemplar | None, value: float) -> str:
    if exemplar is None:
        return ""
    labels = f'trace_id="{exemplar.trace_id}",span_id="{exemplar.span_id}"'
    return f" # {{{labels}}} {_number(value)} {exemplar.time_ns / 1e9:.3f}"


def _braced(labels: Mapping[str, str | int | bool]) -> str:
    return f"{{{_pairs(labels)}}}" if labels else ""


def _pairs(labels: Mapping[str, str | int | bool]) -> str:
    return ",".join(f'{_NO_NAME.sub("_", name)}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
