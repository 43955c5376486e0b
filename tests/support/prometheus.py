"""A real Prometheus for tests: built once by tests/tools, run on a free port, asked by its API."""

import functools
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.collector import ROOT, free_port


@functools.cache
def prometheus_binary() -> Path:
    """Return Prometheus's binary, built if need be; skip where it cannot be had, but fail in CI."""
    script = ROOT / "tests" / "tools" / "install_prometheus.sh"
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"no Prometheus: {done.stderr.strip().splitlines()[-1:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(done.stdout.strip().splitlines()[-1])


class Prometheus:
    """Prometheus as a child process. `config` is its prometheus.yml, scraped each second; it takes OTLP as well."""

    def __init__(self, folder: Path, config: str = "") -> None:
        self._binary = prometheus_binary()
        self._folder = folder
        self._config = f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n{config}"
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.otlp = f"{self.url}/api/v1/otlp"

    def __enter__(self) -> Self:
        config = self._folder / "prometheus.yml"
        config.write_text(self._config)
        self._log = (self._folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                str(self._binary),
                f"--config.file={config}",
                f"--storage.tsdb.path={self._folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--web.enable-otlp-receiver",
                "--enable-feature=exemplar-storage",
            ],
            stderr=self._log,
        )
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                    return self
            except (urllib.error.URLError, ConnectionError):
                assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
                time.sleep(0.1)
        pytest.fail("Prometheus did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an API call. Raises AssertionError with what Prometheus says of a wrong one."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {json.load(error)['error']}") from None

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the series of a query, now."""
        return self.get("query", query=query)["result"]

    def until(self, query: str) -> list[dict[str, Any]]:
        """Return the series of a query once there are any."""
        for _ in range(200):
            if found := self.ask(query):
                return found
            time.sleep(0.1)
        raise AssertionError(f"nothing came of {query}")
