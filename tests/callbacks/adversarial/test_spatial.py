"""Rotations and translations against torchvision, and their search against brute force."""

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine

from callbacks.adversarial.spatial import Spatial, SpatialProbe, Turns, turned
from callbacks.adversarial.spatial.search import _AT_ONCE
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

WHOLE = Turns()


def network(scale: float = 1.0) -> Queries:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 48, generator=generator) * scale
    return Queries(lambda image: (image.flatten(1) @ weight.T).sin(), chunk=8)


def samples(n: int = 11) -> tuple[Tensor, Tensor, Draw]:
    image = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    label = network()(image).argmax(1)
    return image, torch.where(torch.arange(n) < 9, label, (label + 1) % 3), Draw(0, torch.arange(n))


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (33, 20)])
@pytest.mark.parametrize("turn", [(30, 3, -2), (-17.5, 0, 0), (0, 0, 4), (90, -1, 1), (180, 2, 2)])
def test_turns_as_torchvision_does(size: tuple[int, int], turn: tuple[float, int, int]) -> None:
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    angle, right, down = turn
    expected = affine(image, angle, [right, down], 1.0, [0.0], InterpolationMode.BILINEAR)
    # Both round coordinates in float32: 1e-6 of 33 pixels.
    got = turned(image, torch.tensor([turn] * 2))
    torch.testing.assert_close(got, expected, rtol=0, atol=5e-5)


def test_no_turn_is_the_image_and_a_pixel_is_a_pixel() -> None:
    image = torch.rand(2, 1, 5, 5)
    assert torch.equal(turned(image, torch.zeros(2, 3)), image)
    right = turned(image, torch.tensor([[0.0, 1.0, 0.0]] * 2))
    torch.testing.assert_close(right, F.pad(image, (1, 0))[..., :5], rtol=0, atol=1e-5)
    mirrored = turned(image, torch.tensor([[0.0, 1.0, 0.0]] * 2), "reflection")
    torch.testing.assert_close(
        mirrored, torch.cat([image[..., :1], image[..., :4]], 3), rtol=0, atol=1e-5
    )


def test_the_grid_is_the_published_one() -> None:
    grid = WHOLE.grid(torch.zeros(1, 3, 32, 32), 31, 5)
    published = itertools.product(range(-30, 31, 2), *[(-3, -1.5, 0, 1.5, 3)] * 2)
    ours = {tuple(round(float(x), 4) for x in turn) for turn in grid}
    assert ours == {tuple(map(float, turn)) for turn in published}
    assert len(grid) == Spatial().queries == 775


@pytest.mark.parametrize("objective", ["verdict", "loss"])
def test_the_worst_turn_is_that_of_brute_force(objective: str) -> None:
    model, (image, label, draw) = network(), samples()
    attack = Spatial(angles=7, shifts=3)
    found = attack(model, image, label, WHOLE, draw, objective)  # type: ignore[arg-type]
    for i in range(len(image)):
        answers = []
        for turn in WHOLE.grid(image, 7, 3).tolist():
            moved = turned(image[i : i + 1], torch.tensor([turn]))
            answers.append(model.model(moved)[0])
        logits = torch.stack(answers)
        wrong = logits.argmax(1) != label[i]
        judged = model.model(WHOLE.apply(image[i : i + 1], found.turn[i : i + 1]))
        assert (judged.argmax() != label[i]) == wrong.any()
        if objective == "loss":
            worst = model.model(WHOLE.apply(image[i : i + 1], found.worst[i : i + 1]))
            losses = F.cross_entropy(logits, label[i].expand(len(logits)), reduction="none")
            torch.testing.assert_close(F.cross_entropy(worst, label[i : i + 1]), losses.max())
        first = int(wrong.nonzero()[0]) if wrong.any() else len(wrong) - 1
        groups = len(wrong) if objective == "loss" else -(-(first + 1) // _AT_ONCE) * _AT_ONCE
        assert int(found.forwards[i]) == min(groups, len(wrong))


@pytest.mark.parametrize("attack", [Spatial(angles=5, shifts=3), Spatial(draws=30)])
def test_what_is_found_is_in_the_set_counted_and_owes_nothing_to_others(attack: Spatial) -> None:
    model, (image, label, draw) = network(), samples()
    found = attack(model, image, label, WHOLE, draw)
    assert WHOLE.contains(found.turn, image).all()
    assert model.forwards == int(found.forwards.sum())
    rows = torch.tensor([10, 2, 3])
    alone = attack(network(), image[rows], label[rows], WHOLE, draw.select(rows))
    assert torch.equal(alone.turn, found.turn[rows])
    assert torch.equal(alone.forwards, found.forwards[rows])


def test_answers_that_are_no_numbers_are_errors() -> None:
    image, label, draw = samples()
    model = Queries(lambda x: x.flatten(1)[:, :3] * torch.nan, 8)
    found = Spatial(angles=3, shifts=1)(model, image, label, WHOLE, draw)
    assert WHOLE.contains(found.turn, image).all()
    assert (found.forwards == 3).all()


def test_turns_outside_of_the_set_are_not_admitted() -> None:
    image = torch.zeros(1, 1, 32, 32)
    inside = torch.tensor([[30.0, 3, -3], [30.1, 0, 0], [0, 3.1, 0], [0, 0, torch.nan]])
    admitted = [bool(WHOLE.contains(turn[None], image)) for turn in inside]
    assert admitted == [True, False, False, False]


def test_rows_tell_the_turn_and_stay_below_the_undisturbed(one_pass: Callable) -> None:
    probe = SpatialProbe(Spatial(angles=5, shifts=3), [10, 30], chunk=16)
    (rows,) = one_pass(probe).values()
    wrong = rows["clean_correct"] == 0
    assert (rows.loc[wrong, ["angle", "forwards"]] == 0).all(axis=None)
    assert (rows["angle"].abs() <= rows["value"] + 1e-4).all()
    assert (rows["shift_right"].abs() <= rows["value"] / 30 * 3 / 32 * 8 + 1e-4).all()
    assert (rows["success"] == ~rows["correct"].astype(bool)).all()
    assert rows.loc[~wrong & (rows["value"] == 30), "success"].any()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Spatial(angles=0), "`angles` of at least 1"),
        (lambda: Spatial(shift=1.0), "`shift` to be a share"),
        (lambda: Spatial(fill="mirror"), "`fill` to be zeros or reflection"),  # type: ignore[arg-type]
        (lambda: SpatialProbe(epsilons=["8/255"]), "angles in degrees, but got '8/255'"),
        (lambda: SpatialProbe(epsilons=[200]), "at most 180, but got 200"),
        (lambda: SpatialProbe(epsilons=[]), "at least one angle"),
    ],
)
def test_bad_arguments(made: Callable, message: str) -> None:
    with pytest.raises(UserError, match=message):
        made()
