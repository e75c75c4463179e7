"""`assay explain --image`: the maps of the user's own images, as arrays and pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from datamodules.errors import UserError
from pipelines.explain.command import explain
from pipelines.explain.own_images import OwnImage
from pipelines.tracking import Tracking


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    ).eval()  # fmt: skip


def photo(folder: Path, name: str = "photo.png") -> str:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return str(folder / name)


def explained(folder: Path, model: nn.Module | None = None, **options: Any) -> list[OwnImage]:
    options = {"mean": "none", "std": "none", "classes": ["ant", "bee", "cat"], **options}
    found = explain(model or network(), root=folder, tracking=Tracking(enabled=False), **options)
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


def test_methods_may_be_joined_by_commas_and_images_differ_in_size(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 20), dtype=np.uint8)).convert("RGB").save(tmp_path / "dark.png")
    files = [photo(tmp_path), str(tmp_path / "dark.png")]
    found = explained(tmp_path, image=files, methods=["gradient,lrp", "rise"])
    assert [list(one.maps) for one in found] == [["gradient", "lrp", "rise"]] * 2
    assert [one.maps["rise"].shape for one in found] == [(20, 24), (30, 20)]
    (folder,) = (tmp_path / "mlruns" / "results").iterdir()
    arrays = np.load(folder / "photo.npz")
    assert arrays["rise_standard_error"].shape == (20, 24)
    assert (arrays["rise_standard_error"] > 0).all()
    assert any("top patch" in said for said in found[0].captions("rise"))
    # The logit is what LRP hands back; what is missing is what the biases take.
    gap, logit = found[0].gaps["lrp"]
    assert float(found[0].maps["lrp"].sum()) == pytest.approx(logit - gap, rel=1e-4)


@pytest.mark.parametrize("layer", ["0", "model.0"])
def test_a_layer_that_is_written_over_is_shown_as_it_answered(layer: str, tmp_path: Path) -> None:
    """The rectifier behind the convolution works in place."""
    file = photo(tmp_path)
    (one,) = explained(tmp_path, image=[file], methods=["grad_cam"], layer=layer)
    with Image.open(file) as opened:
        image = torch.tensor(np.asarray(opened)).movedim(2, 0)[None].float().div(255)
    convolved = network()[0](image).detach()
    assert float(convolved.min()) < 0
    assert one.layer is not None
    np.testing.assert_allclose(one.layer.maps, convolved[0], rtol=1e-5, atol=1e-6)
    assert one.layer.layer == "0"
    (folder,) = (tmp_path / "mlruns" / "results").iterdir()
    assert (folder / "photo-layer.png").exists()


def test_a_unit_is_maximised(tmp_path: Path) -> None:
    (one,) = explained(tmp_path, image=[photo(tmp_path)], methods=["grad_cam"], layer="0", unit=2)
    assert one.layer is not None
    assert one.layer.maps.shape == (1, 18, 22)
    (folder,) = (tmp_path / "mlruns" / "results").iterdir()
    image = torch.tensor(np.load(folder / "unit.npz")["image"]).movedim(2, 0)[None].float() / 255
    own = float(torch.tensor(one.layer.maps).mean())
    assert float(network()[0](image)[0, 2].mean()) > own
    assert (folder / "unit.png").exists()


def test_a_head_has_units_but_no_maps(tmp_path: Path) -> None:
    options = {"methods": ["gradient"], "layer": "4", "unit": 0}
    (one,) = explained(tmp_path, image=[photo(tmp_path)], **options)
    assert one.layer is None
    assert any("answers in maps" in note for note in one.notes)


class Closed(nn.Module):
    """Takes 20 x 24 pixels only, and never answers its last class."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3 * 20 * 24, 3)

    def forward(self, image: Tensor) -> Tensor:
        closed = torch.tensor([False, False, True])
        return self.head(image.flatten(1)).masked_fill(closed, -torch.inf)


def test_a_class_that_is_never_answered_has_no_map(tmp_path: Path) -> None:
    options = {"image": [photo(tmp_path)], "methods": ["gradient", "lime"], "resize": 0, "crop": 0}
    for target, maps in (("bee", ["gradient", "lime"]), ("cat", [])):
        (one,) = explained(tmp_path, Closed().eval(), target=target, **options)
        assert list(one.maps) == maps
        assert any("logit of cat is -inf" in note for note in one.notes) == (not maps)


def test_a_photo_of_another_size_than_the_model_takes_is_one_sentence(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 20, 3), dtype=np.uint8)).save(tmp_path / "large.png")
    files = [photo(tmp_path), str(tmp_path / "large.png")]
    with pytest.raises(UserError, match=r"cannot answer images of 3x30x20.*`--resize`"):
        explained(tmp_path, Closed().eval(), image=files, methods=["gradient"])


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    names = ["photo-1.png", "photo.png", "a/photo.png", "unit.png", "photo-layer.png"]
    (tmp_path / "a").mkdir()
    for i, name in enumerate(names):
        Image.fromarray(np.full((20, 24, 3), 40 * i, dtype=np.uint8)).save(tmp_path / name)
    files = [str(tmp_path / name) for name in names]
    explained(tmp_path, image=files, methods=["gradient"], layer="0", unit=0)
    (folder,) = (tmp_path / "mlruns" / "results").iterdir()
    arrays = [np.load(file)["image"] for file in folder.glob("*.npz") if file.stem != "unit"]
    assert sorted(int(image.max()) for image in arrays) == [0, 40, 80, 120, 160]
    pictures = len(list(folder.glob("*.png")))
    assert pictures == 2 * len(names) + 1, "maps and layer of each, and the unit"


MISTAKES = {
    "layer": ({"layer": "9"}, "no layer '9'"),
    "unit": ({"layer": "0", "unit": 4}, "`unit` between 0 and 3, those of '0', but got 4"),
    "unit alone": ({"unit": 1}, "Expected `layer` beside `unit`"),
    "layer without images": ({"image": None, "layer": "0"}, "belong to `image`"),
    "class": ({"target": "dog"}, "no class 'dog'.*from 0 to 2"),
    "method": ({"methods": ["grad_camm"]}, "no explainer 'grad_camm'.*grad_cam"),
    "others": ({"methods": ["permutation"]}, "permutation compares an image with others"),
    "file": ({"image": ["missing.png"]}, "Expected an image in 'missing.png'"),
    "no method": ({"methods": [","]}, "names of `methods`.*got none"),
    "data": ({"data": "Digits"}, "Expected `image` alone.*leave out `data`"),
    "what is of data": ({"forwards": 57, "window": 8}, "leave out `forwards`, `window`"),
    "nothing": ({"image": None, "methods": ["rise"]}, "Expected `data`.* or `image`"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_one_sentence(kind: str, tmp_path: Path) -> None:
    options, said = MISTAKES[kind]
    with pytest.raises(UserError, match=said):
        explained(tmp_path, **{"image": [photo(tmp_path)], **options})
