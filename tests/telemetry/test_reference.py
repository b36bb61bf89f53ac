"""docs/metrics.md: everything in the catalogue is on the page, and the page in the repository is the generated one."""

from __future__ import annotations

import re

from telemetrix._core.outcomes import ENDINGS
from telemetrix.telemetry.catalog import CATALOG, QUESTIONS
from telemetrix.telemetry.reference import metrics_page
from tests.services import ROOT


def test_metrics_page__each_metric__has_one_row_with_type_unit_labels_and_help() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in metrics_page().splitlines()
        if line.startswith("| `telemetrix_")
    ]
    assert rows == [
        [f"`{m.name}`", m.kind.value, m.unit, ", ".join(f"`{label}`" for label in m.labels), m.help] for m in CATALOG
    ]


def test_metrics_page__each_question__is_followed_by_its_query() -> None:
    found = re.findall(r"^(.+):\n\n```promql\n(.+)\n```$", metrics_page(), re.MULTILINE)
    assert found == [(question.text, question.promql) for question in QUESTIONS]


def test_metrics_page__each_topic__is_one_heading() -> None:
    headings = re.findall(r"^### (.+)$", metrics_page(), re.MULTILINE)
    assert headings == list(dict.fromkeys(question.topic for question in QUESTIONS))


def test_metrics_page__each_ending__has_a_row() -> None:
    page = metrics_page()
    for primitive, endings in ENDINGS.items():
        for outcome, reason in endings:
            assert f"| `{primitive}` | `{outcome}` | `{reason}` |\n" in page


def test_metrics_page__each_histogram__has_its_buckets() -> None:
    page = metrics_page()
    for metric in CATALOG:
        if metric.buckets:
            assert f"* `{metric.name}`: {', '.join(f'{bound:g}' for bound in metric.buckets)} " in page


def test_metrics_page__in_the_repository__is_the_generated_one() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == metrics_page()
