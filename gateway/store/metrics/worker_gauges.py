"""TODO gateway/store/metrics/worker_gauges.py."""

from msgspec import Struct


class Numbers(Struct, frozen=True):
    """What a worker says of itself, for the metrics. `pid` 0: it has not begun, or has ended."""

    pid: int = 0
    connections: int = 0  # to providers
    idle: int = 0  # of these, kept for the next request
