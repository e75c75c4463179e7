"""Adversarial training hardens, from Python and from YAML."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from callbacks.adversarial import PGD, AdversarialTraining, Linf
from datamodules.errors import UserError
from lightning_modules import Classifier


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_images_are_worse_and_admissible(norm: str, classifier: Classifier) -> None:
    image, label = torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    harden = AdversarialTraining(0.1, norm, PGD(steps=3))  # type: ignore[arg-type]
    worse = harden(classifier, image, label)
    before, after = (
        torch.nn.functional.cross_entropy(classifier(x), label).item() for x in (image, worse)
    )
    assert after > before
    if norm == "linf":
        assert Linf(0.1).contains(worse, image).all()
    assert not torch.equal(worse, harden(classifier, image, label)), "other starts every batch"


def test_refuses_a_radius_of_nothing() -> None:
    with pytest.raises(UserError, match="Expected `epsilon` to be positive, but got 0"):
        AdversarialTraining(0.0)


def test_from_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Callable) -> None:
    from pipelines.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "harden.yaml").write_text(
        "perturb: {class_path: callbacks.AdversarialTraining, init_args: {epsilon: 0.1, attack: "
        "{class_path: callbacks.PGD, init_args: {steps: 2}}}}"
    )
    words = "--config harden.yaml --model lenet --data Digits --trainer.max_epochs 1".split()
    quick = "--tracking.enabled false --evaluation none --data.limit 100".split()
    code = main(["fine-tune", *words, *quick])
    assert code == 0, capsys.readouterr().err  # type: ignore[attr-defined]
