"""A receiver of OTLP/HTTP, and an exporter that sends to it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.model import Capture
from gateway.store.otlp import Exporter, Exports
from tests.support.otlp_receiver import Receiver


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(name="environ")
def _environ(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables of an export to the receiver, and no others."""
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


@pytest.fixture(name="export")
def _export(
    tmp_path: Path,
    receiver: Receiver,
    environ: None,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Any]]:
    """Return what starts an exporter of `tmp_path` to the receiver by the environment, or those of all signals."""
    started: list[Exporter | Exports] = []

    def start(capture: Capture | None = None, kind: type[Exporter | Exports] = Exporter, **more: str) -> Any:
        for name, value in more.items():
            monkeypatch.setenv(f"OTEL_{name}", value)
        exporter = kind.from_environment(os.environ, tmp_path, capture or Capture())
        assert exporter is not None
        exporter.start()
        started.append(exporter)
        return exporter

    yield start
    receiver.released.set()
    for exporter in started:
        exporter.stop(0.1)
