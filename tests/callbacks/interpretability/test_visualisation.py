"""Images that excite units, feature maps and the images in the data that do so most."""

import numpy as np
import pytest
import torch
from torch import nn

from callbacks import Draw, Queries
from callbacks.interpretability import ActivationMaximisation, TopImages
from callbacks.interpretability.visualisation.feature_maps import channel_activations, feature_maps
from callbacks.interpretability.visualisation.fourier_image import (
    fourier_image,
    fourier_start,
    moved,
)
from datamodules.errors import UserError

PICTURE = torch.rand(9, 1, 28, 28, generator=torch.Generator().manual_seed(0))
NATURAL = PICTURE * 0.2 + 0.4


def test_a_single_wave_is_a_cosine() -> None:
    coefficient = torch.zeros(1, 1, 8, 5, 2)
    coefficient[0, 0, 0, 1, 0] = 1.0
    found = fourier_image(coefficient, 8).logit()[0, 0]
    # scale 1 / frequency = 8; orthonormal: 2 / sqrt(64); divided by 4
    truth = 8 * 2 / 8 / 4 * np.cos(2 * np.pi * np.arange(8) / 8)
    np.testing.assert_allclose(found, np.broadcast_to(truth, (8, 8)), atol=1e-5)


def test_beginnings_are_grey_and_colours_go_together() -> None:
    draw = Draw(0, torch.arange(20))
    image = fourier_image(fourier_start(draw, 3, 32, 32), 32)
    assert image.shape == (20, 3, 32, 32)
    assert abs(float(image.mean()) - 0.5) < 0.02
    red, green, blue = image.transpose(0, 1).flatten(1)
    correlation = np.corrcoef(torch.stack([red, green, blue]))
    assert correlation.min() > 0.5  # natural images: about 0.9


def test_movements_of_nothing_are_nothing_and_shifts_are_shifts() -> None:
    draw = Draw(0, torch.arange(9))
    torch.testing.assert_close(moved(PICTURE, draw, 0, 0, 0, 0), PICTURE, rtol=0, atol=1e-5)
    shifted = moved(PICTURE, draw, 0, 0.1, 0, 0)
    assert not torch.allclose(shifted, PICTURE)
    grey = torch.full_like(PICTURE, 0.5)
    torch.testing.assert_close(moved(grey, draw, 0, 0.5, 0.1, 10), grey)


def test_units_are_excited_beyond_natural_images(network: nn.Module) -> None:
    model = Queries(network, 4)
    found = ActivationMaximisation(steps=30, held_out=2)(model, "4", NATURAL)
    assert found.image.shape == (6, 1, 28, 28)
    assert found.beats.all()
    assert (found.activation > found.best).all()
    assert model.forwards == 9 + 6 * 32
    assert model.backwards == 6 * 30
    again = ActivationMaximisation(steps=30, held_out=2)(model, "4", NATURAL, torch.tensor([2]))
    torch.testing.assert_close(again.image[0], found.image[2], rtol=1e-4, atol=1e-4)
    assert not any(part._forward_hooks for part in network.modules())


def test_classes_are_units_too_and_constants_beat_nothing(network: nn.Module) -> None:
    found = ActivationMaximisation(steps=40, held_out=2)(Queries(network, 8), "8", NATURAL)
    assert found.beats.float().mean() > 0.5
    network[8].weight.zero_()
    found = ActivationMaximisation(steps=2, held_out=1)(Queries(network, 8), "8", PICTURE)
    assert not found.beats.any()
    with pytest.raises(UserError, match="Expected `channels` between 0 and 4"):
        ActivationMaximisation()(Queries(network), "8", PICTURE, torch.tensor([5]))


def test_feature_maps_are_what_the_layer_answers(network: nn.Module) -> None:
    truth = network[:6](PICTURE)
    found = feature_maps(Queries(network, 4), PICTURE, "5")
    torch.testing.assert_close(found, truth, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(channel_activations(found), truth.mean((2, 3)))
    with pytest.raises(UserError, match="answers in maps"):
        feature_maps(Queries(network, 4), PICTURE, "8")


def test_top_images_in_one_pass(network: nn.Module) -> None:
    top, model = TopImages("5", 3), Queries(network, 4)
    for start in (0, 4, 8):
        top.update(model, PICTURE[start : start + 4], torch.arange(9)[start : start + 4])
    truth = network[:6](PICTURE).mean((2, 3)).topk(3, 0)
    torch.testing.assert_close(top.activation, truth.values.T, rtol=1e-5, atol=1e-6)
    assert (top.activation.diff(dim=1) <= 0).all()
    assert top.index.shape == (6, 3)
