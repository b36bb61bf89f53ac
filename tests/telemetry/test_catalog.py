"""The catalogue: names, types, units and labels by the rules that Prometheus and the project set."""

from __future__ import annotations

import re
from typing import Any, Final

import promql_parser
import pytest

from telemetrix import CircuitState, TransitionReason
from telemetrix._core.outcomes import ENDINGS, Outcome
from telemetrix.telemetry import catalog
from telemetrix.telemetry.catalog import CATALOG, QUESTIONS, Kind, Metric, Question

BY_NAME: Final = {metric.name: metric for metric in CATALOG}

every_metric = pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)
every_question = pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)


def test_catalog__declared_metrics__are_all_in_it_once() -> None:
    declared = [value for value in vars(catalog).values() if isinstance(value, Metric)]
    assert sorted(declared, key=lambda metric: metric.name) == sorted(CATALOG, key=lambda metric: metric.name)
    assert len(BY_NAME) == len(CATALOG)


@every_metric
def test_metric__name__is_plain_and_has_the_prefix(metric: Metric) -> None:
    assert re.fullmatch(r"telemetrix(_[a-z]+)+", metric.name)


@every_metric
def test_metric__counter_or_not__ends_in_total_or_not(metric: Metric) -> None:
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)


@every_metric
def test_metric__measuring_time__is_in_seconds_and_says_so(metric: Metric) -> None:
    base = metric.name.removesuffix("_total")
    assert base.endswith("_seconds") == metric.unit.startswith("seconds")
    assert base.endswith("_timestamp_seconds") == (metric.unit == "seconds since 1970")
    assert not re.search(r"_(ms|millis\w*|micros\w*|minutes|hours|percent)(_|$)", metric.name)


@every_metric
def test_metric__suffix__is_not_one_that_prometheus_makes_itself(metric: Metric) -> None:
    assert not re.search(r"_(count|sum|bucket|created)$", metric.name)


@every_metric
def test_metric__labels__are_plain_unique_and_not_reserved(metric: Metric) -> None:
    assert len(set(metric.labels)) == len(metric.labels)
    for label in metric.labels:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", label)
    assert not set(metric.labels) & {"le", "quantile", "job", "instance", "pid", "type"}


@every_metric
def test_metric__help__is_one_sentence_on_one_line(metric: Metric) -> None:
    assert re.fullmatch(r"[A-Z1][^\n|]*[^.\s]\.", metric.help)
    assert ". " not in metric.help


@every_metric
def test_metric__buckets__ascend_and_only_histograms_have_them(metric: Metric) -> None:
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert all(bound > 0 for bound in metric.buckets)
    assert len(metric.buckets) <= 13


@every_metric
def test_metric__gauge_over_workers__counts_only_live_ones(metric: Metric) -> None:
    assert metric.workers in {"livesum", "livemax"}


# The questions


def test_questions__of_the_guide__are_all_there() -> None:
    assert [(question.topic, question.text) for question in QUESTIONS] == [
        ("Retry metrics", "Retry count per operation"),
        ("Retry metrics", "Success rate after retries"),
        ("Retry metrics", "Average retry delay"),
        ("Retry metrics", "Operations exceeding max retries"),
        ("Circuit breaker metrics", "Circuit state changes"),
        ("Circuit breaker metrics", "Time in OPEN state"),
        ("Circuit breaker metrics", "Failure rate when CLOSED"),
        ("Circuit breaker metrics", "Recovery success rate"),
    ]


def test_questions__with_a_spelling_mistake__would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        check(Question("", "", "rate(telemetrix_call_total[5m])"))
    with pytest.raises(AssertionError):
        check(Question("", "", 'rate(telemetrix_calls_total{reason="recoverd"}[5m])'))
    with pytest.raises(AssertionError):
        check(Question("", "", "sum by (circuit) (rate(telemetrix_calls_total[5m]))"))
    with pytest.raises(ValueError, match=r"unclosed|unexpected|expected"):
        check(Question("", "", "rate(telemetrix_calls_total[5m)"))


@every_question
def test_question__its_query__parses_and_names_only_what_the_catalogue_has(question: Question) -> None:
    check(question)


def check(question: Question) -> None:
    selectors: list[Any] = []
    groupings: list[str] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            selectors.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            selectors.append(node)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            groupings.extend(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(question.promql), visit)
    assert selectors
    for selector in selectors:
        metric = metric_of(selector.name)
        matchers = selector.matchers.matchers
        assert {matcher.name for matcher in matchers} <= set(metric.labels)
        assert set(groupings) <= set(metric.labels)
        assert any(matches(matchers, labels) for labels in label_values(metric)), f"{selector} selects nothing"
        for matcher in matchers:
            words = set(matcher.value.split("|"))
            assert words <= {labels.get(matcher.name) for labels in label_values(metric)}


def metric_of(series: str) -> Metric:
    if series not in BY_NAME:
        family, _, suffix = series.rpartition("_")
        assert suffix in {"count", "sum", "bucket"}
        assert family in BY_NAME
        assert BY_NAME[family].kind is Kind.HISTOGRAM
        return BY_NAME[family]
    assert BY_NAME[series].kind is not Kind.HISTOGRAM
    return BY_NAME[series]


def label_values(metric: Metric) -> list[dict[str, str]]:
    """The values that the closed labels of a metric can have together."""
    if metric is catalog.CIRCUIT_PROBES:
        return [{"outcome": outcome} for outcome in (Outcome.SUCCESS, Outcome.FAILURE, Outcome.CANCELLED)]
    if metric is catalog.CIRCUIT_TRANSITIONS:
        return [
            {"from_state": source, "to_state": target, "reason": reason}
            for source in CircuitState
            for target in CircuitState
            for reason in TransitionReason
        ]
    return [
        {"primitive": primitive, "outcome": outcome, "reason": reason}
        for primitive, endings in ENDINGS.items()
        for outcome, reason in endings
    ]


def matches(matchers: list[promql_parser.Matcher], labels: dict[str, str]) -> bool:
    return all(_matches(matcher, labels.get(matcher.name, "")) for matcher in matchers)


def _matches(matcher: promql_parser.Matcher, value: str) -> bool:
    if matcher.op in (promql_parser.MatchOp.Re, promql_parser.MatchOp.NotRe):
        found = re.fullmatch(matcher.value, value) is not None
    else:
        found = value == matcher.value
    return found == (matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.Re))
