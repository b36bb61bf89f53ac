"""`docs/metrics.md`, written from the catalogue."""

from __future__ import annotations

from itertools import groupby

from telemetrix._core.outcomes import ENDINGS
from telemetrix.telemetry.catalog import CATALOG, QUESTIONS, Metric

_HEAD = """\
# Metrics

<!-- Written by `telemetrix docs` from telemetrix/telemetry/catalog.py; a test compares. Change it there. -->

Every series exists, at 0, from the moment its operation or circuit does: `increase()` cannot see a counter that is born
at 1. `operation` is the name of what is guarded (by default `module.qualname`), `circuit` the name of a breaker; past
1,000 values a label shows `other`, and `telemetrix_label_overflow_total` counts. Duration histograms carry exemplars
(`trace_id`, `span_id`) of sampled calls in the OpenMetrics format.
"""

_ENDINGS = """\
## Outcomes and reasons

The values of `outcome` and `reason` in `telemetrix_calls_total`, by primitive.

| primitive | outcome | reason |
|---|---|---|
"""

_QUESTIONS = """\
## What to ask

Each question an operator asks of these primitives is one query.
"""


def metrics_page() -> str:
    """The page as Markdown text."""
    rows = "".join(_row(metric) for metric in CATALOG)
    table = "## Catalogue\n\n| metric | type | unit | labels | what it says |\n|---|---|---|---|---|\n" + rows
    endings = _ENDINGS + "".join(
        f"| `{primitive}` | `{outcome}` | `{reason}` |\n"
        for primitive, pairs in ENDINGS.items()
        for outcome, reason in pairs
    )
    buckets = "## Buckets\n\n" + "".join(
        f"* `{metric.name}`: {', '.join(f'{bound:g}' for bound in metric.buckets)} {metric.unit}\n"
        for metric in CATALOG
        if metric.buckets
    )
    return f"{_HEAD}\n{table}\n{endings}\n{buckets}\n{_questions()}"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.help} |\n"


def _questions() -> str:
    parts = [_QUESTIONS]
    for topic, questions in groupby(QUESTIONS, key=lambda question: question.topic):
        parts.append(f"### {topic}\n")
        parts += [f"{question.text}:\n\n```promql\n{question.promql}\n```\n" for question in questions]
    return "\n".join(parts)
