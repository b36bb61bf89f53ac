"""Instruction counts: what a call costs whatever else the machine is doing.

valgrind's callgrind counts the instructions of a child process that runs every case with n and with
2n calls; their difference over n is one call, because whatever does not depend on n cancels. The
parts are told apart by calling `getppid`, which nothing else here does and at which callgrind is
told to write its counters down and start over.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.catalogue import catalogue
from benchmarks.harness import Case, Measurement

_PARTS_PER_CASE = 3
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)
_DEAR_NS = 2_000


def count(measurements: Sequence[Measurement]) -> str | None:
    """Fill in `instructions` of every counted case; or say why not."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return "instruction counts: valgrind is not installed"
    wanted = [m for m in measurements if m.case.counted]
    plan = [(m.case.key, _calls(m)) for m in wanted]
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder) / "parts"
        child = subprocess.run(  # noqa: S603
            [
                valgrind,
                "--tool=callgrind",
                "--dump-before=getppid",
                # The threads of span processors are not the caller's.
                "--separate-threads=yes",
                "--dump-line=no",
                f"--callgrind-out-file={parts}",
                sys.executable,
                "-m",
                "benchmarks.instructions",
            ],
            input=json.dumps(plan),
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        if child.returncode:
            return f"instruction counts: {child.stderr.strip().splitlines()[-1]}"
        by_key = {m.case.key: m for m in wanted}
        for number, (key, calls) in enumerate(json.loads(child.stdout)):
            _, once, twice = (_total(parts, number * _PARTS_PER_CASE + part + 1) for part in range(_PARTS_PER_CASE))
            by_key[key].instructions = (twice - once) / calls
    return None


def _calls(measurement: Measurement) -> int:
    case = measurement.case
    calls = max(64 if measurement.ns > _DEAR_NS else 512, case.at_least)
    return max(1, calls // case.turn) * case.turn


def _total(parts: Path, number: int) -> int:
    found = _TOTALS.search(parts.with_name(f"{parts.name}.{number}-01").read_text())
    if found is None:
        raise ValueError(f"part {number} has no totals")
    return int(found[1])


def _run(plan: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Inside of valgrind: run what is planned, and return what could be run."""
    cases = {case.key: case for case in catalogue([])}
    done = []
    gc.disable()
    for key, calls in plan:
        case = cases.get(key)
        if case is not None and _marked(case, calls):
            done.append((key, calls))
    return done


def _marked(case: Case, calls: int) -> bool:
    case.prepare()
    try:
        case.check()
        case.run(calls)
        case.settle()
        case.prepare()
        gc.collect()
        os.getppid()
        case.run(calls)
        os.getppid()
        case.run(2 * calls)
        os.getppid()
    except Exception:  # noqa: BLE001 - the timing run has said already what is wrong with it
        return False
    finally:
        case.settle()
    return True


if __name__ == "__main__":
    json.dump(_run(json.load(sys.stdin)), sys.stdout)
