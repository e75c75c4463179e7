"""Natural against adversarial, and the worst classes by name."""

import pandas as pd
import pytest

from callbacks.family import Number, Summary
from callbacks.results import ProbeResult
from callbacks.statistics import Interval
from pipelines.evaluate.front import (
    FrontPoint,
    front_figure,
    front_points,
    front_sections,
    on_front,
)
from pipelines.evaluate.worst_classes import by_class, worst_classes


def number(value: float, title: str, conditions: str = "") -> Number:
    return Number(title, Interval(value, value - 0.05, value + 0.05), "%", "on 9", conditions)


def summaries(robust: float, corrupted: float, conditions: str = "") -> dict[str, Summary]:
    """Of a run with attacks in two norms and with corruption."""
    attacks = {
        "adversarial_linf_acc": number(robust, "Robust accuracy at L∞ 8/255", conditions),
        "adversarial_l2_acc": number(robust / 2, "Robust accuracy at L2 0.5", conditions),
    }
    return {
        "test": Summary(),
        "adversarial": Summary(attacks, front=[*attacks]),
        "corruption": Summary(
            {"corruption_acc": number(corrupted, "Accuracy when corrupted")},
            front=["corruption_acc"],
        ),
    }


def point(label: str, robust: float, corrupted: float, conditions: str = "") -> FrontPoint:
    return front_points(summaries(robust, corrupted, conditions), label)[0]


def test_every_norm_is_a_point_with_intervals_both_ways() -> None:
    points = front_points(summaries(0.4, 0.7))
    assert [p.up.title for p in points] == [
        "Robust accuracy at L∞ 8/255", "Robust accuracy at L2 0.5",
    ]  # fmt: skip
    (section,) = front_sections(points)
    (sheet,) = section.sheets
    first = [str(cell) for cell in sheet.cells[0]]
    assert first == ["Robust accuracy at L∞ 8/255", "40.0 [35.0, 45.0]", "70.0 [65.0, 75.0]"]
    axes = section.figures["front"].axes[0]
    across, up = axes.containers[0].lines[0].get_data()  # type: ignore[union-attr]
    assert (across[0], up[0]) == (pytest.approx(70), pytest.approx(40))
    arms = [line.get_segments()[0] for line in axes.containers[0].lines[2]]  # type: ignore[union-attr]
    assert arms[0][:, 0] == pytest.approx([65, 75])
    assert arms[1][:, 1] == pytest.approx([35, 45])


@pytest.mark.parametrize("lacking", ["adversarial", "corruption"])
def test_one_family_alone_has_no_front(lacking: str) -> None:
    left = {name: one for name, one in summaries(0.4, 0.7).items() if name != lacking}
    assert front_sections(front_points(left)) == []


def test_who_is_beaten_in_both_is_not_on_the_front() -> None:
    points = [point("a", 0.5, 0.6), point("b", 0.4, 0.8), point("c", 0.4, 0.5)]
    assert [p.label for p in on_front(points)] == ["a", "b"]
    assert len(on_front([*points, point("d", 0.5, 0.6)])) == 3  # equals do not beat each other
    (section,) = front_sections(points)
    assert [str(line[-1]) for line in section.sheets[0].cells] == ["yes", "yes", "no"]
    joined = front_figure(points).axes[0].lines[-1].get_xydata()
    assert joined == pytest.approx(pd.DataFrame([[60, 50], [80, 40]]).to_numpy())


def test_points_of_other_conditions_beat_nobody() -> None:
    points = [point("a", 0.5, 0.6), point("b", 0.4, 0.5, "other steps")]
    assert [p.label for p in on_front(points)] == ["a", "b"]


def test_worst_classes_are_means_over_images_of_their_means() -> None:
    # by hand: image 0 of cat 1/2, image 1 of cat 1/2 -> 50 %; dog 0 %; bee 100 %
    cells = [(0, 0, 1), (0, 0, 0), (1, 0, 1), (1, 0, 0), (2, 1, 0), (2, 1, 0), (3, 2, 1), (3, 2, 1)]
    rows = pd.DataFrame(cells, columns=["index", "label", "correct"]).assign(
        value=[1.0, 2.0] * 4, severity=[1, 2] * 4
    )
    assert {k: (n, share.value) for k, (n, share) in by_class(rows).items()} == {
        1: (1, 0.0), 0: (2, 0.5), 2: (1, 1.0),
    }  # fmt: skip
    result = ProbeResult("fog", "corruption", "Fog", "severity", "", 1.0, rows)
    sheet = worst_classes(
        {"corruption": [result]}, {"corruption": Summary()}, {"corruption": "Corrupted"},
        ["cat", "dog", "bee"],
    )  # fmt: skip
    assert [[str(cell) for cell in line[:3]] for line in sheet.cells] == [
        ["Corrupted, mean", "dog", "1"],
        ["Corrupted, mean", "cat", "2"],
        ["Corrupted, mean", "bee", "1"],
    ]


def test_answers_that_stand_for_a_family_come_first() -> None:
    rows = pd.DataFrame({"index": [0, 1], "label": [0, 1], "correct": [1, 0], "value": 1.0})
    summary = Summary(answers={"Attacked, L2 1": rows})
    sheet = worst_classes({"adversarial": []}, {"adversarial": summary}, {"adversarial": "A"}, "xy")
    assert [str(line[1]) for line in sheet.cells] == ["y", "x"]
