"""`python -m tests.bench`: measure this gateway beside a bare upstream, a naive gateway and its peers, in one run.

The table goes to stdout, progress to stderr. The exit status is 1 if one of our own rows did not start or a check
failed in it: an answer that was not the upstream's, an exchange that is not in the store, a span that was not exported.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from tests.bench import machine, peers, rows, table
from tests.bench.harness import DIRECT, Harness, Row
from tests.bench.rounds import Round, run_round, say, warm


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 short rounds: whether it works, not how fast")
    parser.add_argument("--rounds", type=int, help="how many rounds (5; with --quick 2)")
    parser.add_argument("--only", metavar="ROW,...", help=f"of {', '.join([*rows.OURS, *peers.PEERS])}")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="a row of another checkout's gateway")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="those installed")
    parser.add_argument("--install-peers", action="store_true", help=f"install them into {peers.HOME}, and stop")
    parser.add_argument("--json", action="store_true", help="every observation, instead of the table")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> dict[str, rows.Start]:
    """Return the rows to run. Exits if one is unknown or not installed."""
    every = {**rows.OURS, **(peers.starts() if options.peers else {})}
    if options.before is not None:
        every["before"] = rows.before(options.before)
    if options.only is None:
        return every
    names = options.only.split(",")
    missing = [name for name in names if name not in every]
    if missing:
        sys.exit(f"no such row, or not installed: {', '.join(missing)}")
    return {name: every[name] for name in names}


def measure(starts: dict[str, rows.Start], rounds: int, scale: float) -> tuple[list[Row], list[Round]]:
    """Start everything, run the rounds, stop everything. Ctrl-C ends it with the rounds that are whole."""
    done: list[Round] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True))
        harness = Harness(stack, Path(folder))
        members = [harness.direct()]
        try:
            for name, start in starts.items():
                say(f"starting {name}")
                try:
                    members.append(harness.start(name, start))
                except (RuntimeError, OSError) as error:
                    say(f"{name} has no row: {error}")
            for row in members:
                warm(row, scale)
            done.extend(run_round(number, members, scale) for number in range(rounds))
        except KeyboardInterrupt:
            say("stopping")
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C would leave servers behind
    return members, done


def main() -> int:
    """Run the command."""
    options = arguments()
    if sys.platform != "linux":
        sys.exit("the bench reads /proc and needs Linux")
    if options.install_peers:
        peers.install()
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    starts = chosen(options)
    members, rounds = measure(starts, options.rounds or (2 if options.quick else 5), 0.4 if options.quick else 1.0)
    if not rounds:
        return 130
    against = table.reference([row.name for row in members])
    lines = [table.line(row, rounds, against) for row in members]
    failed = table.failures(rounds)
    usual, most = table.elsewhere(rounds)
    run = (
        f"{len(rounds)} rounds in {time.monotonic() - started:.0f} s; medians; ratio: CPU to that of {against}, within "
        f"a round; other programs took {usual:.0%} of the machine, at most {most:.0%}"
    )
    header = [machine.describe(), run]
    if options.json:
        document = {"header": header, "table": lines, "rounds": rounds, "failures": failed}
        print(msgspec.json.format(msgspec.json.encode(document), indent=1).decode())
    else:
        print("\n".join([*header, "", table.markdown(lines), *failed]))
    sound = {line.row for line in lines if not line.failed_slices}
    return int(not sound >= {DIRECT, *rows.OURS.keys() & starts.keys()})


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
