"""The npm packages of the providers' SDKs, installed once."""

import functools
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import TESTS


@functools.cache
def node_packages() -> Path:
    """Return the folder of the npm packages, installed if need be; skip if they cannot be had, but fail in CI."""
    done = subprocess.run([TESTS / "tools" / "install_node_sdks.sh"], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"no npm packages: {done.stderr.strip().splitlines()[-1:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(done.stdout.strip().splitlines()[-1]).resolve() / "node_modules"
