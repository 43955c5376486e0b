"""Fixtures read, and parts of the expected responses."""

from collections.abc import Callable

Read = Callable[[str], bytes]
