"""promtool, the checker that comes with Prometheus: what we expose and ask is what it accepts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from telemetrix.telemetry.catalog import QUESTIONS, Question
from telemetrix.testing import capture
from tests.services import program
from tests.telemetry.endings import CASES

pytestmark = pytest.mark.service


def test_promtool__of_a_real_exposition__has_nothing_to_complain_about() -> None:
    promtool = program("promtool", "prometheus")
    with capture() as captured:
        for case in CASES:
            case()
        exposition = generate_latest(captured.registry)
    done = subprocess.run(  # noqa: S603 - found by `program`
        [promtool, "check", "metrics"], input=exposition, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)
def test_promtool__of_a_question__accepts_its_query(question: Question, tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [{"record": "a:b", "expr": question.promql}]}]}))
    done = subprocess.run(  # noqa: S603 - found by `program`
        [promtool, "check", "rules", str(rules)], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
