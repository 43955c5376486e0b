"""The peers: how each is installed, into a folder of its own, and how it runs. One that is not installed has no row.

Versions and settings are the ones each peer was found to run best with; only what the comparison needs is switched on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.bench import traffic
from tests.bench.rows import ROOT, SLOW_RATE, Launch, Site, Start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOME: Final = (ROOT / os.environ.get("GATEWAY_TEST_CACHE", ".cache") / "peers").absolute()


class Peer(NamedTuple):
    """Another gateway.

    `packages` holds sets of pip requirements to try in turn, or is None for a peer from npm; `mark` is the file in its
    folder that shows that it is installed.
    """

    packages: list[list[str]] | None
    mark: str
    start: Callable[[Path, Site], Launch]


def _litellm(home: Path, site: Site) -> Launch:
    config = site.folder / "config.yaml"
    params = {"model": f"openai/{traffic.MODEL}", "api_base": f"{site.upstream}/v1", "api_key": "test-key"}
    config.write_text(json.dumps({"model_list": [{"model_name": traffic.MODEL, "litellm_params": params}]}))
    argv = [str(home / "bin/litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(site.port)]
    return Launch(
        argv=argv,
        port=site.port,
        environ={
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        },
        identical=False,
        rate=SLOW_RATE,
        warm_seconds=10,
    )


def _portkey(home: Path, site: Site) -> Launch:
    script = home / "node_modules/@portkey-ai/gateway/build/start-server.js"
    return Launch(
        argv=["node", str(script), f"--port={site.port}", "--headless"],
        port=site.port,
        headers={"x-portkey-provider": "openai", "x-portkey-custom-host": f"{site.upstream}/v1"},
        warm_seconds=30,  # its compiler needs this long: cold, a request costs three times as much
    )


def _mlflow(home: Path, site: Site) -> Launch:
    config = site.folder / "config.yaml"
    openai = {"openai_api_key": "test-key", "openai_api_base": f"{site.upstream}/v1"}
    model = {"provider": "openai", "name": traffic.MODEL, "config": openai}
    endpoint = {"name": traffic.MODEL, "endpoint_type": "llm/v1/chat", "model": model}
    config.write_text(json.dumps({"endpoints": [endpoint]}))
    argv = [str(home / "bin/mlflow"), "gateway", "start", "--config-path", str(config), "--workers", "1"]
    return Launch(
        argv=[*argv, "--port", str(site.port)],
        port=site.port,
        environ={"PATH": f"{home / 'bin'}:{os.environ['PATH']}"},
        identical=False,
        warm_seconds=8,
    )


_TENSORZERO: Final = """
import pathlib, threading, tensorzero
gateway = tensorzero._start_http_gateway(
    config_file="tensorzero.toml", clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)
pathlib.Path("url").write_text(gateway.base_url)
threading.Event().wait()
"""


def _tensorzero(home: Path, site: Site) -> Launch:
    (site.folder / "tensorzero.toml").write_text(
        f"""
        [gateway]
        observability.enabled = false
        [models.model]
        routing = ["openai"]
        [models.model.providers.openai]
        type = "openai"
        model_name = "{traffic.MODEL}"
        api_base = "{site.upstream}/v1/"
        api_key_location = "none"
        """
    )
    return Launch(
        argv=[str(home / "bin/python"), "-c", _TENSORZERO],
        port=site.folder / "url",
        path="/openai/v1/chat/completions",
        model="tensorzero::model_name::model",
        identical=False,
    )


PEERS: Final = {
    "litellm": Peer(
        [["litellm[proxy]==1.106.2"], ["litellm[proxy]==1.97.0", "fastapi==0.128.8"]], "bin/litellm", _litellm
    ),
    "portkey": Peer(None, "node_modules/@portkey-ai/gateway/build/start-server.js", _portkey),
    "mlflow": Peer([["mlflow[genai]==3.17.2"]], "bin/mlflow", _mlflow),
    "tensorzero": Peer(
        [["tensorzero==2026.6.0"]], "lib/python3.{minor}/site-packages/tensorzero/__init__.py", _tensorzero
    ),
}

_PORTKEY: Final = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    "overrides": {"hono": "4.9.7", "@hono/node-server": "1.13.8"},  # with later ones every stream answers 500
}


def _installed(name: str) -> bool:
    return (HOME / name / PEERS[name].mark.format(minor=sys.version_info.minor)).exists()


def starts() -> dict[str, Start]:
    """Return how to start each peer that is installed."""

    def start(name: str) -> Start:
        return lambda site: PEERS[name].start(HOME / name, site)

    return {name: start(name) for name in PEERS if _installed(name)}


def install() -> None:
    """Install the peers that are not there yet; one that fails is reported and left out."""
    for name, peer in PEERS.items():
        if _installed(name):
            continue
        print(f"installing {name}", file=sys.stderr)
        home = HOME / name
        home.mkdir(parents=True, exist_ok=True)
        if peer.packages is None:
            (home / "package.json").write_text(json.dumps(_PORTKEY))
            attempts = [["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]]
        else:
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            pip = [str(home / "bin/python"), "-m", "pip", "install", "-q"]
            subprocess.run([*pip, "--upgrade", "pip"], check=True)
            attempts = [[*pip, *packages] for packages in peer.packages]
        if not any(subprocess.run(command, cwd=home, check=False).returncode == 0 for command in attempts):
            print(f"{name} could not be installed", file=sys.stderr)
