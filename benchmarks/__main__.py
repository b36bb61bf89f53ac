"""`python -m benchmarks`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import benchmarks
from benchmarks import instructions
from benchmarks.cases import scrape
from benchmarks.catalogue import catalogue, matching
from benchmarks.harness import QUICK, THOROUGH, measure
from benchmarks.report import Report


def main() -> int:
    """Measure, print the table, write the JSON."""
    options = _options()
    effort = QUICK if options.quick else THOROUGH
    left_out: list[str] = []
    started = datetime.now(UTC).isoformat(timespec="seconds")

    cases = catalogue(left_out)
    if options.only:
        cases = matching(cases, options.only)
    _say(f"timing {len(cases)} cases, {effort.rounds} rounds")
    outcome = measure(cases, effort, options.seed)
    left_out += outcome.left_out
    found = outcome.measurements

    if not options.only or re.search(options.only, scrape.SHAPE, re.IGNORECASE):
        _say(scrape.SHAPE)
        scraped, reason = scrape.measure_apart(rounds=5 if options.quick else 15)
        found += scraped
        left_out += [reason] if reason else []
    if options.instructions:
        _say("counting instructions")
        reason = instructions.count(found)
        left_out += [reason] if reason else []

    report = Report(found, left_out, effort, options.seed, outcome.no_op_ns, started)
    print(report.table())
    if options.json:
        Path(options.json).write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter samples")
    parser.add_argument("--json", metavar="FILE", help="write everything measured to FILE")
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        help="a regular expression for keys such as 'sync/success/@retry: telemetry off'",
    )
    parser.add_argument("--instructions", action="store_true", help="also count instructions (needs valgrind)")
    parser.add_argument("--seed", type=int, default=1, help="of the random order")
    options = parser.parse_args()
    # Said now, not after the minutes of measuring.
    if options.json and not Path(options.json).absolute().parent.is_dir():
        parser.error(f"--json {options.json}: there is no such folder")
    try:
        re.compile(options.only or "")
    except re.error as error:
        parser.error(f"--only {options.only}: {error}")
    return options


def _say(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
