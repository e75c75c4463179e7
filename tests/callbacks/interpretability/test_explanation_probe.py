"""The probe that lays explanations, their measures and the controls into the rows."""

from collections.abc import Callable

import pytest
import torch

from callbacks.interpretability import (
    CONTROLS,
    EXPLAINERS,
    METRICS,
    ExplanationProbe,
    Gradient,
    IntegratedGradients,
    PermutationImportance,
    SymmetricRelevanceGain,
)
from datamodules import Digits
from datamodules.errors import UserError
from lightning_modules import Classifier

CHEAP = {
    "score_cam": {"masks": 8},  # as many as the network has channels
    "rise": {"draws": 20},
    "permutation": {"repeats": 2, "grid": 4},
    "kernel_shap": {"draws": 98},
    "lime": {"draws": 60, "held_out": 5},
}


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_explainer_is_a_probe(name: str, one_pass: Callable) -> None:
    probe = ExplanationProbe(
        EXPLAINERS[name](**CHEAP.get(name, {})), ("srg", "sparseness"), chunk=16
    )
    (rows,) = one_pass(probe).values()
    assert probe.name == f"explain_{name}"
    assert set(probe.extras) <= set(rows)
    spent = rows["forwards"] + 2 * rows["backwards"]
    assert spent.tolist() == pytest.approx([probe.cost(probe.settings()[0])] * 23)


def test_every_metric_has_its_controls(one_pass: Callable) -> None:
    probe = ExplanationProbe(IntegratedGradients(8), tuple(METRICS), chunk=16)
    (rows,) = one_pass(probe).values()
    controls = [f"_{name}" for name in CONTROLS]
    assert {name + control for name in METRICS for control in controls} <= set(rows)
    assert {"srg_inverse", "deletion_inverse", "infidelity_inverse"} <= set(rows)
    assert "sparseness_inverse" not in rows
    torch.testing.assert_close(
        torch.tensor(rows["srg_inverse"]), -torch.tensor(rows["srg"]), rtol=0, atol=0.02
    )
    # the mechanism on a model that can be explained: it beats chance, chance is nothing
    assert rows["srg"].mean() > rows["srg_random"].mean() + 0.1
    assert rows["srg_inverse"].mean() < -0.1
    assert rows["deletion"].mean() < rows["deletion_random"].mean()
    assert rows["parameter_randomisation"].mean() < 0.9
    assert (rows["parameter_randomisation_edges"] > 0.999).all()
    # two uniform maps: √(2/12) over √(1/3); the largest of eight is a little above
    assert (rows["max_sensitivity_random"] > 0.65).all(), "redrawn, hence not stable"


def test_the_clean_answer_is_kept(one_pass: Callable, classifier: Classifier) -> None:
    (rows,) = one_pass(ExplanationProbe(Gradient(), ("sparseness",), controls=False)).values()
    data = Digits(limit=23)
    data.setup("test")
    batch = data.taken("test", 23)
    expected = classifier(batch.image).argmax(1)
    by_index = dict(zip(batch.index.tolist(), expected.tolist(), strict=True))
    assert rows["prediction"].tolist() == [by_index[i] for i in rows["index"]]
    assert [c for c in rows if c.startswith("sparseness")] == ["sparseness"]


def test_donors_come_from_the_data(one_pass: Callable, same_rows: Callable) -> None:
    probe = ExplanationProbe(PermutationImportance(1, 4), ("srg",), chunk=16)
    (rows,) = one_pass(probe).values()
    assert probe.explainer.donors is not None
    again = ExplanationProbe(PermutationImportance(1, 4), ("srg",), chunk=16, pool=1)
    same_rows(*one_pass(again, batch_size=5).values(), rows)


def test_metrics_may_be_given_as_objects(one_pass: Callable) -> None:
    panel = {"coarse": SymmetricRelevanceGain(4, grid=2), "fine": SymmetricRelevanceGain(4)}
    probe = ExplanationProbe(Gradient(), panel, label="mine")
    assert probe.name == "mine"
    assert "coarse_random" in probe.extras
    assert "grid=2" in probe.algorithm
    with pytest.raises(UserError, match="no explanation metric"):
        ExplanationProbe(Gradient(), ("nonsense",))


def test_an_explainer_by_name_with_its_options(one_pass: Callable) -> None:
    options = {"segments": "superpixels", "grid": 3, "draws": 40}
    probe = ExplanationProbe("kernel_shap", ("infidelity",), options=options, chunk=16)
    (rows,) = one_pass(probe).values()
    assert "segments='superpixels'" in probe.algorithm
    assert {"infidelity", "infidelity_se", "infidelity_random", "infidelity_edges"} <= set(rows)
    assert (rows["infidelity_se"] > 0).all()


@pytest.mark.parametrize(
    ("explainer", "options", "message"),
    [
        ("kernel_shapp", {}, "Did you mean 'kernel_shap'"),
        ("lime", {"drawz": 3}, "lime has no option 'drawz'. Did you mean 'draws'"),
    ],
)
def test_a_misspelt_explainer(explainer: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ExplanationProbe(explainer, options=options)
