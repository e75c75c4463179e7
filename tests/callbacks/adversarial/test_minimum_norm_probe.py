"""One search gives the whole curve: what its rows say, and what is refused."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from callbacks import Clean
from callbacks.adversarial import PGD, AdversarialProbe, MinimumNormProbe, attack_sets, summarise
from callbacks.adversarial.attack import About
from callbacks.adversarial.minimum_norm import DDN, FMN, DeepFool, NearestResult
from callbacks.adversarial.minimum_norm.summary import least_distances, medians, whole_curves
from callbacks.adversarial.summary import half_life
from callbacks.results import ProbeResult
from datamodules import Digits, Preprocessing
from datamodules.errors import UserError
from lightning_modules import Classifier

EPSILONS = (0.1, 0.3, 0.6, 1.2)


def probe(attack: object = None, **options: object) -> MinimumNormProbe:
    made = attack or FMN(steps=20)
    return MinimumNormProbe(made, chunk=16, **{"epsilons": EPSILONS, **options})  # type: ignore[arg-type]


def result(made: MinimumNormProbe | AdversarialProbe, rows: pd.DataFrame) -> ProbeResult:
    return ProbeResult(
        made.name, "adversarial", made.title, made.unit, made.algorithm, made.headline, rows
    )


def test_accuracy_at_every_radius_follows_from_the_distances(one_pass: Callable) -> None:
    made = probe()
    (rows,) = one_pass(made).values()
    least = least_distances([result(made, rows)])
    assert len(least) == 23
    for epsilon, part in rows.groupby("value"):
        assert part["correct"].mean() == (least > epsilon).mean()
        near = part["minimum_distance"] <= epsilon
        assert (part["correct"] == ~near).all()
        assert (part["distance"] == part["minimum_distance"].where(near, 0)).all()
    wrong = rows["clean_correct"] == 0
    assert wrong.any()
    assert (rows.loc[wrong, ["minimum_distance", "forwards", "backwards"]] == 0).all(axis=None)
    first = rows["value"] == EPSILONS[0]
    # Of each image attacked: 20 gradients, the last point, 8 halvings, and the judge.
    assert (rows.loc[first & ~wrong, "forwards"] == 30).all()
    assert (rows.loc[~first, "forwards"] == 0).all()


def test_a_radius_more_leaves_the_rows_of_the_others(one_pass: Callable) -> None:
    (few,) = one_pass(probe(epsilons=[0.3])).values()
    (many,) = one_pass(probe()).values()
    same = many[many["value"] == 0.3].reset_index(drop=True)
    columns = few.columns.difference(["forwards", "backwards", "seconds"])
    pd.testing.assert_frame_equal(few[columns], same[columns])


class Liar:
    """Says that it found something, at points that are not adversarial or outside the box."""

    about = About("liar", "Liar", ("l2",))
    gradients = 1

    def __call__(
        self, model: object, image: Tensor, label: Tensor, norm: str, draw: object
    ) -> NearestResult:
        moved = image.clone()
        moved[1::2] = torch.nan
        nothing = torch.zeros_like(label)
        return NearestResult(moved, nothing + 1e-3, nothing, nothing)


def test_what_does_not_err_when_asked_again_counts_as_not_found(one_pass: Callable) -> None:
    (rows,) = one_pass(probe(Liar())).values()
    assert (np.isinf(rows["minimum_distance"]) == (rows["clean_correct"] == 1)).all()
    assert (rows["correct"] == rows["clean_correct"]).all()


def test_counts_in_the_worst_case_of_its_norm(one_pass: Callable) -> None:
    fixed = AdversarialProbe(PGD(steps=1), norm="l2", epsilons=EPSILONS, chunk=16)
    least = probe()
    rows = one_pass(fixed, least)
    results = [result(fixed, rows[fixed.name]), result(least, rows[least.name])]
    (group,) = attack_sets(results)
    for epsilon in EPSILONS:
        of_each = [r.rows[r.rows["value"] == epsilon].set_index("index") for r in results]
        both = of_each[0]["correct"].where(of_each[0]["clean_correct"] == 1, 0)
        expected = both * of_each[1]["correct"]
        worst = group.worst(round(1000 * epsilon)).set_index("index")["correct"]
        assert (worst <= expected).all()  # less where a smaller radius broke it
    summary = summarise(results, None)
    median = summary.numbers["adversarial_l2_median"]
    assert median.interval.value == pytest.approx(np.median(least_distances(results[1:])))
    assert median.interval.low <= median.interval.value <= median.interval.high
    assert any("Half of the images are answered wrongly" in told for told in summary.sentences)


def test_half_is_gone_at_the_median_distance_whatever_radii_are_shown(one_pass: Callable) -> None:
    """A straight line between 0.1 and 20 would say about 10."""
    made, ball = probe(epsilons=[0.1, 20]), AdversarialProbe(PGD(steps=5), "l2", [0.8], chunk=16)
    found = one_pass(Clean(), made, ball)
    clean = ProbeResult("clean", "clean", "Clean images", "", "", None, found["clean"])
    rows, pgd = found[made.name], found[ball.name]
    right = rows.drop_duplicates("index").query("clean_correct == 1").set_index("index")
    (alone,) = attack_sets([result(made, rows)], clean)
    half = half_life(alone, clean)
    assert half is not None
    assert half.value == pytest.approx(np.median(right["minimum_distance"]))
    assert f"near L2 radius {half.value:.2g}" in " ".join(
        summarise([result(made, rows)], clean).sentences
    )
    broken = pgd.query("clean_correct == 1 and correct == 0").set_index("index")["distance"]
    nearer = right["minimum_distance"].combine(broken, np.fmin)
    (both,) = attack_sets([result(made, rows), result(ball, pgd)], clean)
    assert half_life(both, clean).value == pytest.approx(np.median(nearer))  # type: ignore[union-attr]


def test_coordinates_are_counted(one_pass: Callable) -> None:
    made = probe(norm="l0", epsilons=[1, 4, 16])
    (rows,) = one_pass(made).values()
    assert made.unit == "coordinates (L0)"
    assert sorted(rows["severity"].unique()) == [1, 4, 16]
    known = rows["minimum_distance"][np.isfinite(rows["minimum_distance"])]
    assert (known == known.round()).all()
    (group,) = attack_sets([result(made, rows)])
    assert (group.norm, group.sign, group.radius) == ("l0", "L0", 16)
    assert "in" in medians([result(made, rows)])[1][0]


class Constant(nn.Module):
    """Answers 0 whatever it sees, and lets a gradient through that is 0."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.eye(10, device=image.device)[0] + 0 * image.flatten(1)[:, :10]


def test_nothing_found_is_infinite_and_said(one_pass: Callable, classifier: Classifier) -> None:
    classifier.model = Constant()
    made = probe()
    (rows,) = one_pass(made).values()
    zero = rows["label"] == 0
    assert np.isinf(rows.loc[zero, "minimum_distance"]).all()
    right = result(made, rows[zero].reset_index(drop=True))
    numbers, (sentence,) = medians([right])
    assert not numbers
    assert "found for 0 of" in sentence
    assert (rows.loc[~zero, "minimum_distance"] == 0).all()
    assert "as they are" in medians([result(made, rows)])[1][0]


@pytest.mark.parametrize(
    ("norm", "expected"),
    [("l2", (0.5, 1.0)), ("linf", (0.1, 0.2)), ("l1", (6.0, 12.0)), ("l0", (12.0, 24.0))],
)
def test_radii_that_nobody_gave(norm: str, expected: tuple, classifier: Classifier) -> None:
    made = MinimumNormProbe(FMN(), norm, curve=(0.5, 1.0))  # type: ignore[arg-type]
    made.prepare(classifier, Digits())
    assert made.epsilons == pytest.approx(expected)
    assert made.headline == expected[1]
    assert ("the curve is drawn about" in made.note) == (norm in ("l1", "l0"))


BAD = [
    (lambda: MinimumNormProbe(DDN(), "l1"), "one of l2 for DDN, but got 'l1'"),
    (lambda: MinimumNormProbe(DeepFool(), "l0"), "one of l2, linf for DeepFool"),
    (lambda: MinimumNormProbe(FMN(), epsilons=[]), "at least one radius"),
    (lambda: MinimumNormProbe(FMN(), "linf", epsilons=[8]), "at most 1"),
    (lambda: MinimumNormProbe(FMN(), "l0", epsilons=[0.5]), "whole numbers of coordinates"),
    (lambda: MinimumNormProbe(FMN(), epsilons=["nan"]), "finite radii"),
]


@pytest.mark.parametrize(("made", "message"), BAD)
def test_what_makes_no_sense_ends_in_a_sentence(made: Callable, message: str) -> None:
    with pytest.raises(UserError, match=message):
        made()


class Detached(nn.Module):
    """No gradient comes through."""

    def forward(self, image: Tensor) -> Tensor:
        return image.detach().flatten(1)[:, :10]


@pytest.mark.parametrize("name", ["l2", "l0"])
def test_a_model_without_gradients_is_refused(
    name: str, one_pass: Callable, classifier: Classifier
) -> None:
    classifier.model = Detached()
    with pytest.raises(UserError, match="gradient"):
        one_pass(probe(norm=name, epsilons=[1]))


def test_models_of_one_class_and_at_random() -> None:
    shown = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    one = Classifier(net, classes=1, preprocessing=shown, architecture="test")
    with pytest.raises(UserError, match="at least 2 classes"):
        probe().prepare(one, None)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    two = Classifier(net, classes=2, preprocessing=shown, architecture="test")
    two.facts["deterministic"] = False
    made = probe()
    made.prepare(two, None)
    assert "answers at random" in made.note


def test_the_whole_curve_is_the_share_of_larger_distances(one_pass: Callable) -> None:
    made = probe()
    (rows,) = one_pass(made).values()
    (curve,) = whole_curves([result(made, rows)])
    distances = least_distances([result(made, rows)])
    table = curve.table
    assert curve.stairs
    assert table["value"].iloc[0] == 0
    assert table["value"].iloc[-1] >= EPSILONS[-1]
    assert table["value"].is_monotonic_increasing
    # Foreign: every step is scipy's binomial share of what lies farther
    for value, acc, low, high in table[["value", "acc", "acc_low", "acc_high"]].to_numpy():
        assert acc == (distances > value).mean()
        between = binomtest(int((distances > value).sum()), len(distances))
        if 3 < between.k < len(distances) - 3:
            ends = between.proportion_ci(method="wilson")
            assert (low, high) == pytest.approx(tuple(ends), abs=1e-9)
