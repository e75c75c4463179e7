"""`assay explain --image`: the maps of the user's own images, as arrays and pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from datamodules.errors import UserError
from pipelines.explain.command import explain
from pipelines.explain.own_images import OwnImage
from pipelines.tracking import Tracking


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    ).eval()  # fmt: skip


def photo(folder: Path, name: str = "photo.png") -> str:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return str(folder / name)


def explained(folder: Path, **options: Any) -> list[OwnImage]:
    options = {"mean": "none", "std": "none", "classes": ["ant", "bee", "cat"], **options}
    found = explain(network(), root=folder, tracking=Tracking(enabled=False), **options)
    assert isinstance(found, list)
    return found


def test_maps_come_as_arrays_and_pictures(tmp_path: Path) -> None:
    methods = ["gradient", "integrated_gradients", "deeplift"]
    (one,) = explained(tmp_path, image=[photo(tmp_path)], target="bee", methods=methods)
    (folder,) = (tmp_path / "mlruns" / "results").iterdir()
    with Image.open(tmp_path / "photo.png") as opened:
        pixels = np.asarray(opened)
    image = torch.tensor(pixels).movedim(2, 0)[None].float().div(255).requires_grad_()
    logits = network()(image)
    (slope,) = torch.autograd.grad(logits[0, 1], image)
    arrays = np.load(folder / "photo.npz")
    np.testing.assert_array_equal(arrays["image"], pixels)
    np.testing.assert_allclose(arrays["gradient"], slope[0].abs().amax(0), rtol=1e-4, atol=1e-7)
    assert one.probability == pytest.approx(float(logits.softmax(1)[0, 1]), rel=1e-5)
    gain = float(logits[0, 1] - network()(0 * image)[0, 1])
    for name in methods[1:]:  # 50 points of a function with bends: a few per mille
        assert arrays[name].sum() == pytest.approx(gain, rel=0.02)
        assert one.gaps[name][1] == pytest.approx(gain, rel=1e-4)
    (facts,) = json.loads((folder / "images.json").read_text())
    assert facts["target"] == "bee"
    assert (folder / "photo.png").stat().st_size > 5000


MISTAKES = {
    "class": ({"target": "dog"}, "no class 'dog'.*from 0 to 2"),
    "method": ({"methods": ["grad_camm"]}, "no explainer 'grad_camm'.*grad_cam"),
    "others": ({"methods": ["permutation"]}, "permutation compares an image with others"),
    "file": ({"image": ["missing.png"]}, "Expected an image in 'missing.png'"),
    "nothing": ({"image": None, "methods": ["rise"]}, "Expected `data`.* or `image`"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_one_sentence(kind: str, tmp_path: Path) -> None:
    options, said = MISTAKES[kind]
    with pytest.raises(UserError, match=said):
        explained(tmp_path, **{"image": [photo(tmp_path)], **options})
