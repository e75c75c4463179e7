"""Features in one pass, and probes against scikit-learn."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from datamodules import Batch, Preprocessing, UserError
from lightning_modules import Classifier
from lightning_modules.features import Features, cached, extract
from lightning_modules.heads import head_name
from lightning_modules.linear_probe import STRENGTHS, Regression, fit_linear_probe
from lightning_modules.newton import Point, newton_cg


@pytest.fixture(scope="module")
def pixels() -> tuple[Tensor, Tensor]:
    """Scikit-learn's digits as features `(1797, 64)`, three of them constant."""
    image, label = load_digits(return_X_y=True)
    return torch.tensor(image).float(), torch.tensor(label)


@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("n", [1000, 40])
def test_equals_scikit_learn(pixels: tuple[Tensor, Tensor], strength: float, n: int) -> None:
    """The same optimum, so the same weights, also with fewer samples than features."""
    feature, label = (column[:n] for column in pixels)
    regression = Regression(feature, label, 10)
    probe = regression.probe(regression.solve(strength), strength)
    scaled = ((feature.double() - regression.mean) / regression.scale).numpy()
    theirs = LogisticRegression(C=1 / (n * strength), tol=1e-9, max_iter=20_000, solver="newton-cg")
    theirs.fit(scaled, label.numpy())

    def loss(logits: Tensor, weight: np.ndarray) -> float:
        entropy = nn.functional.cross_entropy(logits.double(), label)
        return float(entropy) + strength / 2 * float((weight**2).sum())

    ours = (probe.weight * regression.scale).numpy()
    best = loss(torch.from_numpy(theirs.decision_function(scaled)), theirs.coef_)
    # The probe's logits are float32: seven digits.
    assert loss(probe(feature), ours) == pytest.approx(best, rel=1e-6)
    # Weights differ by the root of what the losses differ by, over the curvature `strength`.
    np.testing.assert_allclose(ours, theirs.coef_, atol=1e-3 * np.abs(theirs.coef_).max())
    test = (pixels[0][n:].double() - regression.mean) / regression.scale
    accuracy = float((probe(pixels[0][n:]).argmax(1) == pixels[1][n:]).double().mean())
    assert abs(accuracy - theirs.score(test.numpy(), pixels[1][n:].numpy())) <= 0.001


def test_newton_solves_a_quadratic_in_one_step_and_leaves_an_optimum_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=generator, dtype=torch.double)
    matrix, right = root @ root.T + torch.eye(6).double(), torch.arange(6).double()

    def at(x: Tensor) -> Point:
        return x @ matrix @ x / 2 - right @ x, matrix @ x - right, lambda v: matrix @ v

    found = newton_cg(torch.zeros(6).double(), at, 1e-10)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right))
    assert newton_cg(found, at, 1e-6) is found


def test_a_warm_start_ends_at_the_same_optimum(pixels: tuple[Tensor, Tensor]) -> None:
    regression = Regression(*(column[:300] for column in pixels), 10)
    warm = regression.solve(1e-3, regression.solve(1.0))
    torch.testing.assert_close(warm, regression.solve(1e-3), atol=1e-3, rtol=1e-3)


def test_the_sweep_selects_on_what_was_held_out(pixels: tuple[Tensor, Tensor]) -> None:
    feature, label = pixels
    probe = fit_linear_probe(feature[:600], label[:600], 10, (feature[600:900], label[600:900]))
    accuracies = []
    for strength in STRENGTHS:
        regression = Regression(feature[:600], label[:600], 10)
        alone = regression.probe(regression.solve(strength, tolerance=1e-5), strength)
        accuracies.append(
            float((alone(feature[600:900]).argmax(1) == label[600:900]).double().mean())
        )
    # The sweep stops each solve a little early: at most one of the 300 is judged otherwise.
    assert probe.accuracy == pytest.approx(max(accuracies), abs=1 / 300 + 1e-9)
    assert (probe(feature[900:]).argmax(1) == label[900:]).double().mean() > 0.9


def test_an_absent_class_and_an_absent_selection(pixels: tuple[Tensor, Tensor]) -> None:
    few = pixels[1] < 4
    probe = fit_linear_probe(pixels[0][few][:30], pixels[1][few][:30], 10)
    assert probe.weight.shape == (10, 64)
    assert set(probe(pixels[0][few]).argmax(1).tolist()) <= {0, 1, 2, 3}
    assert np.isnan(probe.accuracy)
    with pytest.raises(UserError, match="at least two classes"):
        fit_linear_probe(pixels[0][:5], torch.zeros(5).long(), 10)
    with pytest.raises(UserError, match="finite features"):
        Regression(torch.full((4, 2), torch.nan), torch.arange(4), 4)


def test_features_are_what_goes_into_the_head(classifier: Classifier, digits: Batch) -> None:
    classifier.train()
    before = copy.deepcopy(classifier.state_dict())
    shuffled = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    parts = [Batch(*(column[rows] for column in digits)) for rows in shuffled.split(64)]
    found = extract(classifier, parts)
    assert all(torch.equal(v, before[k]) for k, v in classifier.state_dict().items())
    assert all(part.training for part in classifier.modules())
    assert not classifier.model[5]._forward_pre_hooks  # type: ignore[union-attr,index]
    assert torch.equal(found.index, digits.index)
    assert torch.equal(found.label, digits.label)
    classifier.eval()
    with torch.no_grad():
        expected = classifier(digits.image)
        head = classifier.model[5](found.feature)  # type: ignore[operator,index]
    # Batches of other shapes are summed in another order: a few units in the last place.
    torch.testing.assert_close(found.logits, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(head, expected, atol=1e-5, rtol=1e-5)
    some = found.at(torch.tensor([7, 3]))
    assert torch.equal(some.feature, found.feature[[7, 3]])


def test_a_chunk_makes_answers_independent_of_the_batches(
    classifier: Classifier, digits: Batch
) -> None:
    whole = extract(classifier, [digits], chunk=16)
    for size in (7, 64):
        parts = zip(*(column.split(size) for column in digits), strict=True)
        again = extract(classifier, [Batch(*part) for part in parts], chunk=16)
        assert torch.equal(again.logits, whole.logits)
        assert torch.equal(again.feature, whole.feature)


def test_tokens_in_front_of_a_head_are_averaged(digits: Batch) -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x[:, 0]).mean(1)  # rows as tokens

    plain = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
    made = Classifier(Pooled(), classes=10, preprocessing=plain, architecture="test")
    found = extract(made, [digits])
    with torch.no_grad():  # a linear head of the mean is the mean of the heads
        torch.testing.assert_close(made.model.head(found.feature), found.logits)  # type: ignore[operator]


def test_one_forward_an_image(classifier: Classifier, digits: Batch) -> None:
    head_name(classifier.model)  # is looked for once
    calls = []
    classifier.model.register_forward_hook(lambda *_: calls.append(1))
    extract(classifier, [digits])
    assert len(calls) == 1


def test_a_probe_becomes_the_head(classifier: Classifier, digits: Batch) -> None:
    found = extract(classifier, [digits])
    probe = fit_linear_probe(found.feature, found.label, 10)
    probe.install(classifier.model)
    classifier.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            classifier(digits.image), probe(found.feature), atol=1e-3, rtol=1e-4
        )


def test_a_convolution_as_head(digits: Batch) -> None:
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 10, 1), pool)
    plain = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
    made = Classifier(model, classes=10, preprocessing=plain, architecture="test")
    found = extract(made, [digits])
    assert found.feature.shape == (200, 6)
    probe = fit_linear_probe(found.feature, found.label, 10)
    probe.install(model)
    with torch.no_grad():
        torch.testing.assert_close(made(digits.image), probe(found.feature), atol=1e-3, rtol=1e-4)


def test_features_are_kept(tmp_path: Path) -> None:
    made = []

    def make() -> Features:
        made.append(1)
        return Features(torch.ones(2, 3), torch.zeros(2, 4), torch.tensor([0, 1]), torch.arange(2))

    file = tmp_path / "deep" / "x.safetensors"
    first, second = cached(file, make), cached(file, make)
    assert len(made) == 1
    assert torch.equal(first.feature, second.feature)
    file.write_bytes(b"spoiled")
    assert torch.equal(cached(file, make).label, first.label)
    assert len(made) == 2
    cached(None, make)
    assert len(list(tmp_path.rglob("*"))) == 2
