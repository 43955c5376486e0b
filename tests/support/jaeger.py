"""The real Jaeger for tests: run on free ports where tests/tools/install_jaeger.sh has built it, and asked by HTTP."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.collector import ROOT, free_port

_CONFIG = """
service:
  extensions: [jaeger_storage, jaeger_query]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
extensions:
  jaeger_storage:
    backends: {{store: {{memory: {{max_traces: 1000}}}}}}
  jaeger_query:
    storage: {{traces: store}}
    http: {{endpoint: "127.0.0.1:{http}"}}
    grpc: {{endpoint: "127.0.0.1:{grpc}"}}
receivers:
  otlp:
    protocols:
      http: {{endpoint: "127.0.0.1:{otlp}"}}
      grpc: {{endpoint: "127.0.0.1:{otlp_grpc}", max_recv_msg_size_mib: 16}}
exporters:
  jaeger_storage_exporter: {{trace_storage: store}}
"""


def jaeger_binary() -> Path:
    """Return Jaeger's binary out of the cache; where it is not there skip, since it takes minutes, but fail in CI."""
    script = ROOT / "tests" / "tools" / "install_jaeger.sh"
    cache = Path(os.environ.get("GATEWAY_TEST_CACHE", ROOT / ".cache"))
    version = next(line for line in script.read_text().splitlines() if line.startswith("version=")).split()[0][8:]
    binary = cache / f"jaeger-{version}" / "jaeger"
    if not binary.exists():
        reason = f"no Jaeger {version} in {cache}; tests/tools/install_jaeger.sh builds it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return binary


def get(url: str) -> Any:
    """Return the JSON that is at a URL; an HTTP error's too."""
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


class Jaeger:
    """Jaeger with its store in memory, as a child process."""

    def __init__(self, folder: Path) -> None:
        self._binary = jaeger_binary()
        self._folder = folder
        http, grpc, otlp, otlp_grpc = free_port(), free_port(), free_port(), free_port()
        self._config = _CONFIG.format(http=http, grpc=grpc, otlp=otlp, otlp_grpc=otlp_grpc)
        self.otlp_grpc = f"127.0.0.1:{otlp_grpc}"
        self.otlp_endpoint = f"http://127.0.0.1:{otlp}"
        self.api = f"http://127.0.0.1:{http}/api"

    def __enter__(self) -> Self:
        config = self._folder / "jaeger.yaml"
        config.write_text(self._config)
        log = self._folder / "jaeger.log"
        with log.open("ab") as file:
            command = [str(self._binary), "--config", str(config)]
            self._process = subprocess.Popen(command, stdout=file, stderr=file)
        for _ in range(400):
            try:
                get(f"{self.api}/services")
            except OSError:
                assert self._process.poll() is None, log.read_text()
                time.sleep(0.05)
            else:
                return self
        pytest.fail(f"Jaeger did not start: {log.read_text()}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
