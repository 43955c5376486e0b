"""Writes the dashboards: `python dashboards/generate.py`. What is written is committed; a test compares."""

import json
from pathlib import Path

import by_prometheus
import by_sql

HERE = Path(__file__).parent
MADE = {"gateway-prometheus.json": by_prometheus.made, "gateway-sql.json": by_sql.made}


def texts() -> dict[str, str]:
    """Return each file's name and text."""
    return {name: json.dumps(made(), indent=1) + "\n" for name, made in MADE.items()}


if __name__ == "__main__":
    for name, text in texts().items():
        (HERE / name).write_text(text, encoding="utf-8")
