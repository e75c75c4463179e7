"""Every kind of missing input by name: what is lost, how much of it, and what stands there."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from callbacks.missing import MISSING, PROBES, Given, MissingProbe
from callbacks.missing.broken import WrongRange
from callbacks.missing.missing_input import ranked
from callbacks.missing.places import NonSalientPatches, Patches, Pixels, SalientPatches
from callbacks.missing.summary import ANSWERED, _ratio, abstained, summarise
from callbacks.randomness import Draw
from callbacks.results import ProbeResult
from datamodules import Digits
from datamodules.errors import UserError
from lightning_modules import Classifier

EACH = pytest.mark.parametrize("name", MISSING)
SIZES = [(1, 8, 8), (3, 31, 47), (3, 1, 1), (1, 28, 28), (3, 5, 64)]
WHOLE = ("whole_image", "channel_order", "wrong_range", "scaled_twice", "inverted")
EXACT = {"rows": 2, "columns": 3}
"""Of which exactly the rate is lost, and the axis along which parts lie."""


def given(n: int = 40, shape: tuple[int, ...] = (3, 28, 28), seed: int = 0) -> Given:
    generator = torch.Generator().manual_seed(seed)
    image = 0.1 + 0.8 * torch.rand(n, *shape, generator=generator)
    salience = torch.rand(n, 1, *shape[1:], generator=generator)
    mean = torch.tensor([0.3, 0.5, 0.7])[: shape[0], None, None]
    return Given(image, Draw(0, torch.arange(n)), mean, salience)


def differs(one: Tensor, other: Tensor) -> Tensor:
    return (one != other) | one.isnan()


@EACH
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_what_is_lost_at_a_rate_is_lost_at_a_larger_one(name: str, shape: tuple[int, ...]) -> None:
    part = given(5, shape)
    loss = MISSING[name]()(part)
    before = torch.zeros_like(part.image, dtype=torch.bool)
    for rate in (0.0, 0.2, 0.5, 0.9, 1.0):
        left = loss.at(part.image, rate)
        assert left.shape == part.image.shape
        assert left.dtype == torch.float32
        lost = differs(left, part.image)
        assert (before <= lost).all()
        assert not lost.any() or rate
        assert name == "not_a_number" or left.isfinite().all()
        before = lost
    changes = not (name == "channel_order" and shape[0] == 1)
    assert before.all() or name == "channel_order"  # whose middle channel stays
    assert bool(before.any()) == changes


@EACH
def test_as_much_is_lost_as_was_asked(name: str) -> None:
    part = given(400, (3, 28, 28))
    loss = MISSING[name]()(part)
    for rate in (0.1, 0.3, 0.7):
        lost = differs(loss.at(part.image, rate), part.image)
        if name in EXACT:
            axes = tuple({1, 2, 3} - {EXACT[name]})
            assert (lost.all(axes).sum(1) == round(28 * rate)).all()
        elif "patches" in name:
            assert (lost.sum((1, 2, 3)) == 16 * 3 * round(49 * rate)).all()
        else:  # 400 images hit whole: three standard errors of a share are 0.075
            share = lost.any(1).float().mean() if name != "channels" else lost.float().mean()
            per_value = name in ("dead_sensor", "saturated_sensor", "not_a_number")
            expected = 1 - (1 - rate) ** 3 if per_value else rate
            assert share == pytest.approx(expected, abs=0.075 if name in WHOLE else 0.03)


@EACH
def test_images_do_not_depend_on_each_other(name: str) -> None:
    part = given(9)
    whole = MISSING[name]()(part).at(part.image, 0.4)
    rows = torch.tensor([7, 2])
    assert part.salience is not None
    some = Given(part.image[rows], part.draw.select(rows), part.mean, part.salience[rows])
    alone = MISSING[name]()(some).at(some.image, 0.4)
    torch.testing.assert_close(alone, whole[rows], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("fill", ["black", "mean", "noise"])
def test_what_stands_there_instead(fill: str) -> None:
    part = given()
    left = Pixels(fill=fill)(part).at(part.image, 1.0)  # type: ignore[arg-type]
    if fill == "noise":
        assert left.mean() == pytest.approx(0.5, abs=0.01)
        assert left.std() == pytest.approx(12**-0.5, abs=0.01)
    else:
        wanted = part.mean if fill == "mean" else torch.zeros(3, 1, 1)
        torch.testing.assert_close(left, wanted.expand_as(left))


@pytest.mark.parametrize(("m", "rate"), [(49, 0.1), (49, 0.5), (28, 0.25), (3, 0.5), (1, 0.4)])
def test_ranks_are_hit_by_exactly_the_rate(m: int, rate: float) -> None:
    order = ranked(torch.rand(6, m))
    assert ((order < rate).sum(1) == int(np.ceil(m * rate - 0.5))).all()


@pytest.mark.parametrize(
    ("shape", "grid"), [((3, 224, 224), 14), ((3, 32, 32), 8), ((1, 28, 28), 7), ((3, 5, 9), 5)]
)
def test_grids_cut_evenly(shape: tuple[int, ...], grid: int) -> None:
    assert Patches().patches(torch.empty(1, *shape)) == grid


def test_salient_patches_are_those_of_large_weights(
    classifier: Classifier, one_pass: Callable
) -> None:
    """A linear network's gradient is its weight: the left half matters, the right does not."""
    weight = torch.zeros(10, 1, 8, 8)
    weight[:, :, :, :4] = torch.linspace(1, 2, 10)[:, None, None, None]
    linear = nn.Linear(64, 10)
    with torch.no_grad():
        linear.weight.copy_(weight.flatten(1))
    classifier.model = nn.Sequential(nn.Flatten(), linear)
    batch = Digits(limit=23).taken("test", 23)
    clean = pd.Series(classifier(batch.image).detach().logsumexp(1), batch.index.tolist())
    for kind, moved in ((SalientPatches, True), (NonSalientPatches, False)):
        probe = MissingProbe(kind(grid=4), (0.5,), chunk=16)
        rows = one_pass(probe)[probe.name]
        same = np.isclose(rows["logsumexp"], clean[rows["index"]], atol=1e-4)
        assert same.all() != moved
        assert (rows["backwards"] == 1).all()


@pytest.mark.parametrize("name", ["missing_rows", "missing_wrong_range", "missing_not_a_number"])
def test_rows_are_answers_to_what_is_left(
    name: str, one_pass: Callable, classifier: Classifier
) -> None:
    kind = name.removeprefix("missing_")
    probe = MissingProbe(MISSING[kind](), (0.3, 1.0), chunk=16)
    rows = one_pass(probe)[name]
    batch = Digits(limit=23).taken("test", 23)
    part = Given(batch.image, Draw(0, batch.index), torch.zeros(1, 1, 1))
    for rate, some in rows.groupby("value"):
        left = MISSING[kind]()(part).at(batch.image, float(rate))  # type: ignore[arg-type]
        with torch.no_grad():
            answers = classifier(left).softmax(1).amax(1).nan_to_num(0.0)
        some = some.set_index("index").loc[batch.index.tolist()]
        assert np.allclose(some["sure"], answers, atol=1e-5)
        lost = differs(left, batch.image).float().mean((1, 2, 3))
        assert np.allclose(some["lost"], lost, atol=1e-6)


def result(name: str, rows: pd.DataFrame) -> ProbeResult:
    about = (name, "missing", name, "rate", f"{name}()", 0.5)
    return ProbeResult(*about, rows)


def test_abstention_by_hand() -> None:
    generator = np.random.default_rng(0)
    n = 200
    clean = pd.DataFrame(
        {"index": range(n), "severity": 0, "value": 0.0, "correct": 1.0, "loss": 0.1,
         "confidence": generator.random(n)}
    )  # fmt: skip
    lines = []
    for rate in (0.5, 1.0):
        sure = generator.random(n) * (1.2 - rate)
        right = generator.random(n) < sure
        lines.append(pd.DataFrame(
            {"index": range(n), "setting": "a", "severity": round(1000 * rate), "value": rate,
             "correct": right.astype(float), "loss": 1.0, "brier": 0.5, "confidence": sure,
             "sure": sure, "lost": rate, "label": 0, "prediction": 0}
        ))  # fmt: skip
    lines[1].loc[:9, "confidence"] = np.nan
    rows = pd.concat(lines)
    numbers = summarise([result("a", rows)], result("clean", clean)).numbers
    threshold = np.sort(clean["confidence"])[round((1 - ANSWERED) * n) - 1]
    held = ~(rows["confidence"] >= threshold)
    assert held.iloc[200:210].all()
    share = numbers["missing_abstention"].interval
    # Of 200 confidences the quantile lies between the tenth and the eleventh: one image may differ.
    assert share.value == pytest.approx(held.mean(), abs=0.005)
    answered = numbers["missing_answered_acc"].interval
    assert answered.value == pytest.approx(rows.loc[~held, "correct"].mean(), abs=0.005)
    assert answered.low < answered.value < answered.high


def test_a_ratio_has_the_spread_of_its_bootstrap() -> None:
    generator = np.random.default_rng(1)
    whole = generator.integers(1, 10, 300).astype(float)
    part = generator.binomial(whole.astype(int), 0.6).astype(float)
    drawn = generator.integers(0, 300, (4000, 300))
    ratios = part[drawn].sum(1) / whole[drawn].sum(1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    found = _ratio(part, whole)
    # 4,000 resamples leave some two per cent of the half width.
    assert found.low == pytest.approx(low, abs=0.004)
    assert found.high == pytest.approx(high, abs=0.004)


def test_no_answer_is_held_back() -> None:
    assert abstained(np.array([0.4, 0.6, np.nan]), 0.5).tolist() == [True, False, True]


def test_the_mean_loss_leaves_out_what_is_no_answer() -> None:
    """NaN pixels give NaN losses at every image, and the other kinds are told all the same."""
    rows = pd.DataFrame(
        {"index": range(20), "setting": "a", "severity": 500, "value": 0.5, "correct": 1.0,
         "loss": 2.0, "brier": 0.5, "confidence": 0.5, "sure": 0.5, "lost": 0.5, "label": 0,
         "prediction": 0}
    )  # fmt: skip
    none = rows.assign(correct=0.0, loss=np.nan, brier=np.nan, confidence=np.nan, sure=0.0)
    said = summarise([result("a", rows), result("b", none)], None)
    assert said.numbers["missing_loss"].interval.value == 2.0
    assert said.numbers["missing_acc"].interval.value == 0.5
    assert said.curves[0].table["loss"].tolist() == [2.0]


def test_what_changed_nothing_is_in_no_mean() -> None:
    rows = pd.DataFrame({"index": [0], "severity": 500, "value": 0.5, "lost": 0.0})
    assert not summarise([result("channel_order", rows)], None).numbers


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MissingProbe(Pixels(), (0.0,)), r"shares in \(0, 1\]"),
        (lambda: MissingProbe(Pixels(), ()), r"shares in \(0, 1\]"),
        (lambda: MissingProbe(WrongRange(), (1.5,)), r"shares in \(0, 1\]"),
        (lambda: Pixels(fill="white"), "`fill` to be one of black, mean, noise"),  # type: ignore[arg-type]
        (lambda: Patches(grid=0), "`grid` of at least 1"),
    ],
)
def test_mistakes(make: Callable, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


def test_names_are_those_of_the_kinds() -> None:
    assert {f"missing_{kind().name}" for kind in MISSING.values()} == set(PROBES)
