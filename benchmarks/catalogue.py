"""All cases, and the ones a pattern asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmarks.cases import floors, peers, spans, telemetrix
from benchmarks.cases.shapes import floor_key
from benchmarks.harness import Case


def catalogue(left_out: list[str]) -> list[Case]:
    """Every case that can be built here; appends a line for each one that cannot."""
    ours = telemetrix.build(left_out)
    by_hand = spans.build(left_out) if ours else []
    return [*floors.build(), *ours, *by_hand, *peers.build(left_out)]


def matching(cases: Sequence[Case], pattern: str) -> list[Case]:
    """The cases whose key the pattern is found in, and the ones they are compared with."""
    wanted = {case.key for case in cases if re.search(pattern, case.key, re.IGNORECASE)}
    by_key = {case.key: case for case in cases}
    for key in tuple(wanted):
        wanted.add(floor_key(by_key[key].kind))
        target = by_key[key].target
        if target is not None:
            wanted.add(target.of)
    return [case for case in cases if case.key in wanted]
