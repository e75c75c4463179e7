"""Who is answered with whom, the controls that stand beside, and what is told of it."""

import copy
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from callbacks import Budget, CorruptionProbe, companions
from callbacks.adaptation import AdaptationProbe, BatchNorm, Tent, Unadapted
from callbacks.adaptation.controls import SMALL
from callbacks.adaptation.gains import Gains
from callbacks.adaptation.stream import stream_of
from callbacks.adaptation.summary import summarise
from callbacks.corruption import CORRUPTIONS
from callbacks.results import ProbeResult
from callbacks.statistics import mcnemar, paired_difference
from datamodules.errors import UserError
from lightning_modules import Classifier

TWO = ("gaussian_noise", "fog")


def probe(adaptation: object = Unadapted(), **options: object) -> AdaptationProbe:
    given = {"corruptions": TWO, "severities": (3, 5), "batch": 8, "chunk": 16, **options}
    return AdaptationProbe(adaptation, **given)  # type: ignore[arg-type]


# -- streams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["mixed", "sorted"])
def test_a_stream_belongs_to_indices_labels_and_seed(order: str) -> None:
    index, label = torch.arange(50) * 3, torch.arange(50) % 4
    stream = stream_of(index, label, order, 8, 0)  # type: ignore[arg-type]
    shuffled = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    other = stream_of(index[shuffled], label[shuffled], order, 8, 0)  # type: ignore[arg-type]
    assert [b.tolist() for b in stream.batches] == [b.tolist() for b in other.batches]
    assert sorted(torch.cat(stream.batches).tolist()) == list(range(50))
    assert [len(batch) for batch in stream.batches] == [8] + [7] * 6
    assert str(stream).endswith("in 7 batches of 7 to 8")
    labels = label[torch.cat(stream.batches)]
    assert (labels.diff() >= 0).all() == (order == "sorted")
    number = stream.batch_of_row
    assert all(set(number[rows].tolist()) == {i} for i, rows in enumerate(stream.batches))
    reseeded = stream_of(index, label, order, 8, 1)  # type: ignore[arg-type]
    assert torch.cat(reseeded.batches).tolist() != torch.cat(stream.batches).tolist()
    assert stream.digest != stream_of(index[1:], label[1:], order, 8, 0).digest  # type: ignore


# -- rows ----------------------------------------------------------------------------------------


def test_unadapted_it_is_the_corruption_probe(one_pass: Callable) -> None:
    plain = [CorruptionProbe(CORRUPTIONS[name](), (3, 5), chunk=16) for name in TWO]
    found = one_pass(probe(), *plain)
    rows, clean = found["adaptation_none"], one_pass(probe())["adaptation_none"]
    for step, (name, severity) in enumerate(probe().cells):
        cell = rows[rows["severity"] == step]
        if severity:
            twin = found[name][found[name]["value"] == severity]
            # Other batch shapes round otherwise.
            assert np.allclose(cell["loss"], twin["loss"], rtol=1e-4, atol=1e-5)
            assert cell["prediction"].tolist() == twin["prediction"].tolist()
    pd.testing.assert_frame_equal(rows.drop(columns="seconds"), clean.drop(columns="seconds"))


def test_batch_norm_is_that_of_its_batches(one_pass: Callable, classifier: Classifier) -> None:
    """The clean cell, batch by batch, by a copy whose batch norm is in training mode."""
    measured = probe(BatchNorm(0))
    (rows,) = one_pass(measured).values()
    cell = rows[rows["severity"] == 0].set_index("index")
    twin = copy.deepcopy(classifier)
    for part in twin.modules():
        part.training = isinstance(part, nn.BatchNorm2d)
    assert measured._stream is not None
    assert measured._images is not None
    for batch in measured._stream.batches:
        index = measured._stream.index[batch]
        place = {int(i): row for row, i in enumerate(measured._images.index)}
        image = measured._images.__getitems__([place[int(i)] for i in index]).image
        image = image / 255 if image.dtype == torch.uint8 else image
        expected = twin(image.float()).softmax(1).amax(1)
        found = cell.loc[index.tolist(), "confidence"].to_numpy()
        assert np.allclose(found, expected.detach(), atol=1e-5)


def test_another_set_is_measured_anew_and_said(one_pass: Callable) -> None:
    some, every = probe(Tent(), limit=12), probe(Tent())
    (few,), (all_rows,) = (one_pass(one).values() for one in (some, every))
    assert few["index"].nunique() == 12
    assert some.algorithm != every.algorithm
    assert "12 images" in some.algorithm
    assert re.search(
        r"Tent\(lr=0.001.* \(16 scales and shifts of 1 normalising layers\), mixed stream of 23 "
        r"images \(\w{8}\) in 3 batches of 7 to 8, seed 0, anew in each of clean, gaussian_noise "
        r"3, .*, constants for 32 px",
        every.algorithm,
    )
    same = all_rows[all_rows["index"].isin(few["index"])]
    assert not np.allclose(few["loss"], same["loss"])


def test_no_answer_of_another_model_is_told(one_pass: Callable, classifier: Classifier) -> None:
    """A probe that was interrupted and is used again."""
    again = probe()
    one_pass(again)
    again._answers = {setting: torch.zeros(23, 10) for setting in again.settings()}
    with torch.no_grad():
        classifier.model[-1].weight *= 2
    (rows,), (fresh,) = (one_pass(one).values() for one in (again, probe()))
    assert rows["loss"].tolist() == fresh["loss"].tolist()


def test_foreign_statistics_come_from_the_next_corruption() -> None:
    foreign = probe(BatchNorm(foreign=True))
    cells = foreign.cells
    said = {cells[i]: cells[foreign._other(i)] for i in range(len(cells))}
    assert said == {
        ("clean", 0.0): ("gaussian_noise", 3.0),
        ("gaussian_noise", 3.0): ("fog", 3.0),
        ("gaussian_noise", 5.0): ("fog", 5.0),
        ("fog", 3.0): ("gaussian_noise", 3.0),
        ("fog", 5.0): ("gaussian_noise", 5.0),
    }


class NoNorm(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.parametrize("adaptation", [BatchNorm(), Tent()])
def test_a_network_without_norms_is_refused(
    adaptation: object, one_pass: Callable, classifier: Classifier
) -> None:
    classifier.model = NoNorm()
    with pytest.raises(UserError, match=r"The model has no .*: leave out adaptation_|; leave out"):
        one_pass(probe(adaptation))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"corruptions": ["fogg"]}, "Did you mean 'fog'"),
        ({"corruptions": []}, "at least one of `corruptions`"),
        ({"severities": [0.5]}, "between 1 and 5"),
        ({"severities": []}, "between 1 and 5"),
        ({"batch": 1}, "`batch` of at least 2"),
        ({"order": "backwards"}, "mixed or sorted"),
        ({"adaptation": BatchNorm(foreign=True), "corruptions": ["fog"]}, "at least two"),
    ],
)
def test_mistakes(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        probe(**options)


# -- controls and what is told -------------------------------------------------------------------


def test_controls_stand_beside_what_adapts() -> None:
    named = [probe(BatchNorm(4), batch=64, limit=20, seed=3), probe(Tent(), batch=64)]
    beside = {one.name: one for one in companions(named, Budget())}
    assert list(beside) == [
        "adaptation_none", "adaptation_batch_norm_sorted", "adaptation_batch_norm_small",
        "adaptation_batch_norm_foreign", "adaptation_tent_sorted", "adaptation_tent_small",
    ]  # fmt: skip
    small = beside["adaptation_batch_norm_small"]
    assert isinstance(small, AdaptationProbe)
    assert (small.batch, small.limit, small.seed, small.chunk) == (SMALL, 20, 3, 16)
    assert small.cells == named[0].cells
    assert small.adaptation == BatchNorm(4)
    assert not companions([*named, *beside.values()], Budget()), "they need none themselves"
    assert not companions([probe()], Budget())


def result(name: str, right: np.ndarray, one_batch: bool = False) -> ProbeResult:
    """Of rows `(cells, images)`; every probe has batches of its own."""
    draw = np.random.default_rng(len(name))
    batches = np.zeros(right.shape[1]) if one_batch else draw.integers(9, size=right.shape[1])
    rows = pd.DataFrame(
        [
            {
                "setting": name,
                "severity": i,
                "value": float(i),
                "index": j,
                "correct": int(hit),
                "batch": batches[j],
            }
            for i, line in enumerate(right)
            for j, hit in enumerate(line)
        ]
    )
    places = {"0": "clean", "1": "fog 3", "2": "fog 5"}
    return ProbeResult(name, "adaptation", name, "cell", name, None, rows, places=places)


def test_gains_are_paired_differences() -> None:
    draw = np.random.default_rng(0)
    before, after = draw.random((3, 200)) < 0.5, draw.random((3, 200)) < [[0.5], [0.9], [0.55]]
    gains = Gains(result("a", after), result("adaptation_none", before))
    assert gains.cells == ["clean", "fog 3", "fog 5"]
    assert gains.of_cell(1) == paired_difference(before[1], after[1])
    assert gains.corrupted.value == pytest.approx(after[1:].mean() - before[1:].mean())
    assert mcnemar(before[1], after[1]) < 1e-6
    assert gains.significant == [0, 1, 0]


def told(one_batch: bool = False, **shares: list[float]) -> tuple[dict, str]:
    """Numbers and sentences of results that are right for shares of 300 images in each cell."""
    rank = np.random.default_rng(1).permutation(300) / 300
    results = [
        result(f"adaptation_{name}", np.array([rank < share for share in line]), one_batch)
        for name, line in shares.items()
    ]
    summary = summarise(results, None)
    return dict(summary.numbers), " ".join(summary.sentences)


def test_it_helps_but_not_in_a_sorted_stream() -> None:
    numbers, said = told(
        none=[0.9, 0.5, 0.3],
        tent=[0.8, 0.7, 0.6],
        tent_sorted=[0.3, 0.3, 0.2],
        tent_small=[0.8, 0.6, 0.5],
    )
    assert numbers["adaptation_tent_gain"].interval.value == pytest.approx(0.25)
    assert numbers["adaptation_tent_clean_gain"].interval.value == pytest.approx(-0.1)
    assert numbers["adaptation_tent_gain_fog_5"].interval.value == pytest.approx(0.3)
    assert numbers["adaptation_tent_sorted_gain"].interval.value == pytest.approx(-0.15)
    assert "adaptation_tent_sorted_gain_fog_5" not in numbers
    assert "better in 2 of 2 corrupted cells, worse in 0" in said
    assert "helps on these corruptions in mixed batches; not class after class; and costs" in said


def test_whose_statistics_help() -> None:
    base = {"none": [0.9, 0.5, 0.3], "batch_norm": [0.9, 0.7, 0.6]}
    _, own = told(**base, batch_norm_foreign=[0.5, 0.4, 0.2])
    assert "their own statistics help more than another corruption's" in own
    _, any_ = told(**base, batch_norm_foreign=[0.9, 0.7, 0.6])
    assert "their own brings nothing that can be told, +0.0 points" in any_
    # Of 300 images twelve more are right in either cell: no chance, though intervals overlap.
    _, near = told(**base, batch_norm_foreign=[0.9, 0.66, 0.56])
    assert "help more than another corruption's, by +4.0 points" in near
    _, theirs = told(**base, batch_norm_foreign=[0.9, 0.8, 0.7])
    assert "another corruption's statistics help more, by +10.0 points" in theirs


def test_answers_by_class_are_of_adaptations_under_corruption_alone() -> None:
    rank = np.random.default_rng(1).permutation(300) / 300
    tent, *others = (
        result(f"adaptation_{name}", np.array([rank < share for share in line]))
        for name, line in {
            "tent": [1, 0.7, 0.6], "tent_sorted": [0.1] * 3, "tent_small": [0.2] * 3,
            "none": [0.3] * 3,
        }.items()
    )  # fmt: skip
    (rows,) = summarise([tent, *others], None).answers.values()
    assert rows["correct"].mean() == pytest.approx(0.65)
    assert summarise([tent], None).answers


def test_a_stream_of_one_batch_is_its_own_control() -> None:
    _, said = told(True, none=[0.9, 0.5, 0.3], tent=[0.9, 0.7, 0.6], tent_sorted=[0.9, 0.7, 0.6])
    assert "controls: class after class nothing, as the very same images are answered" in said
    assert said.endswith("in mixed batches; no control was measured.")


def test_nothing_is_told_that_was_not_measured() -> None:
    numbers, said = told(tent=[0.9, 0.5, 0.3])
    assert not numbers
    assert "what it gains is not known, because the network as it is was not measured" in said
    _, alone = told(none=[0.9, 0.5, 0.3], tent=[0.9, 0.7, 0.6])
    assert alone.endswith("in mixed batches; no control was measured.")
    _, same = told(none=[0.9, 0.5, 0.3], tent=[0.9, 0.5, 0.3])
    assert "brings nothing that can be told" in same
    _, worse = told(none=[0.9, 0.5, 0.3], tent=[0.5, 0.3, 0.1])
    assert "costs more than it brings" in worse
