from collections.abc import Callable
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(name="read", scope="session")
def _read() -> Callable[[str], bytes]:
    """Read a fixture's bytes by its name."""
    return lambda name: (FIXTURES / name).read_bytes()
