"""What the figures were taken on, and how quiet it was."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.bench.rows import ROOT


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> int:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)


def _revision() -> str:
    """Return the checkout's commit, marked if files differ from it; "unknown" outside a checkout."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def cores() -> int:
    """Return how many cores this machine lets the bench use."""
    return len(os.sched_getaffinity(0))


def describe() -> str:
    """Return the machine in one line."""
    packages = " ".join(f"{name} {_version(name)}" for name in ("aiohttp", "uvloop", "duckdb", "opentelemetry-sdk"))
    return (
        f"{cores()} cores, {_cpu_model()}, {_memory_gib()} GiB, {platform.system()} "
        f"{platform.release()}; Python {platform.python_version()}, {packages}; revision {_revision()}"
    )


def busy_seconds() -> float:
    """Return the CPU time the machine has spent so far, on whatever; time stolen by its host included."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
