"""Where the checkout, its tests and their fixtures are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
FIXTURES = TESTS / "dialects" / "fixtures"
