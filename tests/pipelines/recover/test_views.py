"""What is drawn of a recovery and what is advised: every draw, every reason, every width."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from rich.console import Console
from scipy.stats import ttest_1samp

from pipelines.recover.result import Recoverability
from pipelines.report.terminal import as_table

Make = Callable[..., Recoverability]
DRAWS = 3


def rows_of(result: Recoverability) -> list[dict[str, Any]]:
    return result.rows.to_dict("records")  # type: ignore[return-value]


def with_accuracies(make: Make, **accuracies: list[float]) -> Recoverability:
    """After damage at 0.6: of each strategy the accuracy of every draw."""
    draws = len(next(iter(accuracies.values())))
    rows = rows_of(make(severities=(0.6,), strategies=tuple(accuracies), draws=draws))
    for row in rows:
        if row["strategy"] in accuracies and row["damage"] == "zero":
            row["acc_repaired"] = accuracies[row["strategy"]][row["seed"]]
    return make(rows=rows)


def told(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_the_advice_is_paired_by_draws(made_recoverability: Make) -> None:
    """The oracle is SciPy's t-test of the differences."""
    mine, its = [0.80, 0.70, 0.90], [0.78, 0.69, 0.87]
    (line,) = with_accuracies(made_recoverability, retrain_all=mine, distil=its).advice
    interval = ttest_1samp(np.subtract(mine, its), 0).confidence_interval(0.95)
    assert line["strategy"] == "retrain_all"
    assert line["rival"] == "Distil from original"
    assert [line["gain"], line["gain_low"], line["gain_high"]] == pytest.approx(
        [np.subtract(mine, its).mean(), interval.low, interval.high]
    )
    assert line["why"].startswith("most comes back; ")


@pytest.mark.parametrize(
    ("mine", "its", "words"),
    [
        ([0.80, 0.81, 0.82], [0.60, 0.62, 0.61], "significantly more than by “Distil"),
        ([0.80, 0.70, 0.90], [0.70, 0.79, 0.80], "no significant difference to “Distil"),
        ([0.80, 0.70, 0.90], [0.80, 0.70, 0.90], "the same as by “Distil from original” in every"),
        ([0.80], [0.70], "not tested against “Distil from original”: one draw"),
    ],
)
def test_what_is_recommended_says_why(
    mine: list[float], its: list[float], words: str, made_recoverability: Make
) -> None:
    result = with_accuracies(made_recoverability, retrain_all=mine, distil=its)
    (line,) = result.advice
    assert words in line["why"]
    assert line["why"].endswith("knows labels")


def test_the_cheaper_of_two_that_are_close(made_recoverability: Make) -> None:
    accuracies = {"retrain_all": [0.79, 0.80, 0.78], "mend": [0.785, 0.795, 0.78]}
    (line,) = with_accuracies(made_recoverability, **accuracies).advice
    assert line["strategy"] == "mend", "it asks for no labels"
    assert line["why"].startswith("asks for least of those within a point")
    assert line["gain"] < 0


def test_curves_are_means_of_the_draws_behind_them(made_recoverability: Make) -> None:
    losses = {"loss_original": 0.3, "loss_damaged": 1.2, "loss_repaired": 0.5}
    figures = made_recoverability(draws=DRAWS, **losses).figures()
    accuracy, loss = (figures[f"lenet-Digits_zero_share_of_weights_{x}"] for x in ("acc", "loss"))
    lines = accuracy.axes[0].lines
    named = {line.get_label(): line for line in lines if not str(line.get_label()).startswith("_")}
    assert set(named) == {"Do nothing", "Retrain all", "Correct by checksum"}
    thin = [np.asarray(line.get_ydata()) for line in lines if line.get_linewidth() < 1][:DRAWS]
    mean = np.asarray(named["Do nothing"].get_ydata())
    np.testing.assert_allclose(np.mean(thin, 0), mean)
    assert mean[0] == pytest.approx(90), "from the original on"
    bands = accuracy.axes[0].collections
    assert len(bands) == 2, "nothing, and the repair to take"
    assert loss.axes[0].get_ylabel() == "cross-entropy (nats)"
    panels = figures["lenet-Digits_zero_draws"].axes
    shown = [axes for axes in panels if axes.axison]
    assert [axes.get_title("left") for axes in shown] == ["Retrain all", "Correct by checksum"]
    assert all(len(axes.lines) == 2 + DRAWS for axes in shown), "mean, nothing, and each draw"


@pytest.mark.parametrize(("mended", "ends"), [(0.5, (0, 1)), (0.05, (-1, 1))])
def test_maps_are_neutral_at_0_and_say_why_a_cell_is_empty(
    mended: float, ends: tuple[float, float], made_recoverability: Make
) -> None:
    strategies = ("retrain_all", "mend", "distil", "reestimate_batch_norm")
    rows = rows_of(made_recoverability(strategies=strategies, draws=DRAWS))
    for row in rows:
        if row["severity"] == 0.3:
            row["drop_error"] = 1.0  # inside the noise
        elif row["strategy"] == "mend":
            row["acc_repaired"] = mended
        elif row["strategy"] == "distil":
            row["status"] = "diverged: x" if row["seed"] else "ok"
        elif row["strategy"] == "reestimate_batch_norm":
            row["status"] = "not applicable: x"
    figure = made_recoverability(rows=rows).figures()["lenet-Digits_ratio"]
    axes, bar = figure.axes
    assert axes.images[0].get_clim() == ends
    neutral = axes.images[0].to_rgba(np.zeros((1, 1)))[0, 0, :3]
    assert min(neutral) > 0.95
    assert bar.get_ylabel() == "recovery ratio"
    assert told(axes)[:4] == ["noise", "noise", "noise", "noise"]
    assert told(axes)[6].endswith("\n1 of 3"), "draws in which it worked"
    assert told(axes)[7] == "n/a"
    assert "mean of 3 draws" in axes.get_title("left")
    explained = figure.get_supxlabel()
    assert "noise: damage below two standard errors" in explained
    assert "n/a: does not apply" in explained
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["Weights set to zero (share of weights)   0.3", "0.6"]


def test_the_ratio_is_whole_at_80_columns(made_recoverability: Make) -> None:
    strategies = ("retrain_all", "rebuild_pretrained", "zero_suspects_batch_norm", "distil")
    result = made_recoverability(strategies=strategies, draws=DRAWS)
    console = Console(width=80)
    with console.capture() as captured:
        for section in result.sections():
            for sheet in section.sheets:
                if sheet.in_terminal:
                    console.print(as_table(sheet, console))
    text = captured.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    ratios = result.lines.query("damage == 'zero'")["ratio"]
    assert ratios.notna().all()
    assert all(f" {ratio:.2f} " in text for ratio in ratios)
    ends = result.lines.query("strategy == 'retrain_all' and damage == 'zero'").iloc[-1]
    assert f"[{ends['ratio_low']:.2f}, {ends['ratio_high']:.2f}]" in text, "on one line"
