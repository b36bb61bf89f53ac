"""The closed vocabulary: tables that are complete, and words that have one place."""

from __future__ import annotations

import pytest

from telemetrix._core.outcomes import ENDINGS, Outcome, Primitive, Reason, outcomes_of


def test_endings__every_primitive__has_its_table() -> None:
    assert set(ENDINGS) == set(Primitive)


def test_endings__every_reason__belongs_to_some_primitive() -> None:
    assert {reason for endings in ENDINGS.values() for _, reason in endings} == set(Reason)


def test_endings__every_outcome__is_reached_by_some_primitive() -> None:
    assert {outcome for endings in ENDINGS.values() for outcome, _ in endings} == set(Outcome)


@pytest.mark.parametrize("primitive", list(Primitive))
def test_endings__of_a_primitive__are_distinct_begin_with_success_and_can_be_cancelled(primitive: Primitive) -> None:
    endings = ENDINGS[primitive]
    assert len(set(endings)) == len(endings)
    assert endings[0][0] is Outcome.SUCCESS
    assert (Outcome.CANCELLED, Reason.CANCELLED) in endings


@pytest.mark.parametrize("primitive", list(Primitive))
def test_endings__a_reason_other_than_deadline__names_one_outcome(primitive: Primitive) -> None:
    reasons = [reason for _, reason in ENDINGS[primitive]]
    assert len(set(reasons)) == len(reasons)


@pytest.mark.parametrize("primitive", list(Primitive))
def test_outcomes_of__a_primitive__lists_each_outcome_of_its_table_once_in_order(primitive: Primitive) -> None:
    found = outcomes_of(primitive)
    assert len(set(found)) == len(found)
    assert set(found) == {outcome for outcome, _ in ENDINGS[primitive]}
    assert found[0] is Outcome.SUCCESS


@pytest.mark.parametrize("vocabulary", [Primitive, Outcome, Reason])
def test_vocabulary__every_word__is_its_name_in_lower_case(
    vocabulary: type[Primitive | Outcome | Reason],
) -> None:
    # They are label values and span attributes as they stand.
    assert all(word.value == word.name.lower() and str(word) == word.value for word in vocabulary)
