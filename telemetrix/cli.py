"""The command line: `telemetrix demo`, `telemetrix docs`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from telemetrix._version import __version__
from telemetrix.errors import MissingExtraError
from telemetrix.telemetry.reference import metrics_page


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 for success, 1 for stale docs, 2 for a command that cannot be run."""
    options = _parser().parse_args(arguments)
    try:
        return _demo(options) if options.command == "demo" else _docs(options)
    except (MissingExtraError, ValueError, OSError) as error:
        print(f"telemetrix {options.command}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="telemetrix", description="Resilience for Python, observable from the first line."
    )
    parser.add_argument("--version", action="version", version=f"telemetrix {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="watch real calls fail, retry, trip a circuit and recover")
    demo.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help="end after N seconds; from 8 on, everything is seen (default: at Ctrl-C)",
    )
    demo.add_argument(
        "--port",
        type=int,
        metavar="P",
        help="port of the order service and its /metrics; 0 is any free one (default: 8642)",
    )
    docs = commands.add_parser("docs", help="write docs/metrics.md from the metric catalogue")
    docs.add_argument("--out", type=Path, default=Path("docs"), metavar="DIR", help="where to write it (default: docs)")
    docs.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is not up to date")
    return parser


def _demo(options: argparse.Namespace) -> int:
    from telemetrix.demo import run

    return run(options.seconds, options.port)


def _docs(options: argparse.Namespace) -> int:
    page: Path = options.out / "metrics.md"
    text = metrics_page()
    if options.check:
        if page.is_file() and page.read_text(encoding="utf-8") == text:
            return 0
        print(f"{page} is not up to date: run `telemetrix docs`", file=sys.stderr)
        return 1
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    print(f"wrote {page}")
    return 0
