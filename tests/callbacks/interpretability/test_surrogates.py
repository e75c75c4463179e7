"""Trees that imitate a model, and what a linear stand-in is worth."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from torch import nn

from callbacks import Draw, Queries
from callbacks.interpretability import Lime, LocalLinearity
from callbacks.interpretability.surrogates.tree import patch_means, tree_surrogates
from datamodules.errors import UserError


def test_a_tree_imitates_a_tree_perfectly() -> None:
    feature = np.random.default_rng(0).random((400, 4))
    answer = (feature[:, 1] > 0.4).astype(int) + 2 * (feature[:, 3] > 0.7)
    shallow, *_, deep = tree_surrogates(feature, answer, range(1, 5))
    assert deep.fidelity.agreement > 0.98
    assert deep.fidelity.kappa > 0.97
    assert shallow.fidelity.agreement < 0.9
    assert shallow.fidelity.depth == 1
    assert shallow.fidelity.leaves == 2
    names, classes = list("abcd"), ["none", "first", "second", "both"]
    assert "b <= 0.4" in deep.text(names, classes, 1)
    assert "class: both" in deep.text(names, classes)
    nodes = deep.nodes(names, classes, 2)
    assert [node.level for node in nodes] == [0, 1, 2, 2, 1, 2, 2]
    assert {node.question.partition(" ")[0] for node in nodes if node.question} == {"b", "d"}
    leaves = [node for node in nodes if not node.question]
    assert sum(node.share for node in leaves) == pytest.approx(1)
    assert {(leaf.answer, leaf.certain) for leaf in leaves} == {(name, 1.0) for name in classes}
    first = nodes[0].question.split(" \N{LESS-THAN OR EQUAL TO} ")
    assert float(first[1]) == pytest.approx({"b": 0.4, "d": 0.7}[first[0]], abs=0.02)


def test_fidelity_is_agreement_with_the_model_on_fresh_samples() -> None:
    digits = load_digits()
    feature, names = patch_means(torch.tensor(digits.images[:, None] / 16), grid=4)
    assert feature.shape == (1797, 16)
    assert names[5] == "patch (2, 2)"
    np.testing.assert_allclose(feature[0, 0], digits.images[0, :2, :2].mean() / 16)
    curve = tree_surrogates(feature, digits.target, range(1, 9))
    agreement = [one.fidelity.agreement for one in curve]
    assert agreement[-1] > 0.75 > agreement[0]
    assert all(one.fidelity.majority < 0.15 for one in curve)
    assert agreement[4] < accuracy_score(digits.target, curve[4].tree.predict(feature)) + 0.02


def test_a_model_that_says_one_thing_needs_no_tree() -> None:
    (one,) = tree_surrogates(np.random.rand(20, 2), np.zeros(20, int), [3])
    assert one.fidelity == (0, 1, 1.0, 1.0, 1.0)


def test_too_few_samples() -> None:
    with pytest.raises(UserError, match="at least 2 samples"):
        tree_surrogates(np.zeros((3, 2)), np.zeros(3, int))


def test_linear_stand_ins_are_worth_less_the_further_they_reach(network: nn.Module) -> None:
    image, index = torch.rand(8, 1, 28, 28), torch.arange(8)
    label = torch.zeros(8, dtype=torch.int64)
    radii = (0.01, 0.3, 2.0)
    fits = [
        LocalLinearity(r, 4).fitted(Queries(network, 16), image, label, Draw(0, index))
        for r in radii
    ]
    worth = [float(fit.r2.mean()) for fit in fits]
    assert worth[0] > 0.95
    assert worth == sorted(worth, reverse=True)
    assert fits[0].first_order.mean() > 0.9
    found = Lime(200, 50).fitted(Queries(network, 16), image, label, Draw(0, index))
    assert found.weight.shape == (8, 49)
    assert (found.r2 <= 1).all()
