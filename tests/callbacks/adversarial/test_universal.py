"""Universal perturbations and patches against closed forms on linear models."""

import itertools
from collections.abc import Callable

import pandas as pd
import pytest
import torch
from scipy.ndimage import rotate
from torch import Tensor

from callbacks.adversarial import L2, Linf, Patch, Universal, UniversalProbe
from callbacks.adversarial.universal import Placement, pasted
from callbacks.adversarial.universal.learning import BATCH, learn
from callbacks.adversarial.universal.placement import side_of
from callbacks.adversarial.universal.summary import against_control
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.results import ProbeResult
from datamodules import Digits
from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules import Classifier

SHAPE = (1, 4, 4)


def linear(classes: int = 2) -> tuple[Queries, Tensor]:
    weight = torch.randn(classes, 16, generator=torch.Generator().manual_seed(0))
    return Queries(lambda image: image.flatten(1) @ weight.T, BATCH), weight


def batch(n: int = 100) -> Batch:
    """Images far inside the box, all of class 0."""
    image = 0.45 + 0.1 * torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))
    return Batch(image, torch.zeros(n, dtype=torch.long), torch.arange(n))


@pytest.mark.parametrize(("norm", "threat"), [("linf", Linf(0.1)), ("l2", L2(0.3))])
@pytest.mark.parametrize("target", [None, 1])
def test_on_a_linear_model_the_best_pattern_has_a_closed_form(
    norm: str, threat: Linf | L2, target: int | None
) -> None:
    """Of one class and two logits: eps · sign(w1 - w0), or eps · (w1 - w0)/||w1 - w0||."""
    model, weight = linear()
    learnt = learn(Universal(40), model, batch(), norm, threat.epsilon, 0, target)
    best = threat.epsilon * threat.ascent((weight[1] - weight[0]).reshape(1, *SHAPE))[0]
    # The gradient has one direction everywhere, so each step goes there: float32 rounding is left.
    torch.testing.assert_close(learnt.pattern, best, rtol=0, atol=1e-6)
    assert learnt.gradients == model.backwards == 40 * 100


def test_several_targets_of_a_linear_model() -> None:
    """Towards class 2 of 5 the pattern raises the logit more than any other direction tried."""
    model, weight = linear(5)
    learnt = learn(Universal(40), model, batch(), "linf", 0.1, 0, 2)
    gain = (learnt.pattern.flatten() @ weight.T).softmax(0)[2]
    others = (0.1 * (torch.rand(500, 16) * 2 - 1).sign() @ weight.T).softmax(1)[:, 2]
    assert gain >= others.max()


@pytest.mark.parametrize("attack", [Universal(3), Patch(3)], ids=["universal", "patch"])
def test_learning_hangs_on_seed_and_images_alone(attack: Universal | Patch) -> None:
    model, _ = linear(5)
    norm, size = attack.about.norms[-1], 0.2
    one = learn(attack, model, batch(), norm, size, 0).pattern
    again = learn(attack, Queries(model.model, BATCH), batch(), norm, size, 0).pattern
    assert torch.equal(one, again)
    assert not torch.equal(one, learn(attack, model, batch(), norm, size, 1).pattern)
    backwards = Batch(*(part.flip(0) for part in batch()))
    # The passes' order belongs to the images, whatever order they come in.
    torch.testing.assert_close(learn(attack, model, backwards, norm, size, 0).pattern, one)


def test_a_patch_learns_the_pixels_that_count() -> None:
    """A logit that is the mean brightness: the best patch is white, whatever its place."""
    model = Queries(
        lambda image: torch.stack([0 * image.mean((1, 2, 3)), image.mean((1, 2, 3))], 1)
    )
    learnt = learn(Patch(40), model, batch(), "patch", 0.5, 0)
    assert (learnt.pattern > 0.95).all()


@pytest.mark.parametrize("angle", [0.0, 90.0])
def test_a_patch_lies_where_it_is_told_to(angle: float) -> None:
    """Exactly, by hand: four pixels by four, turned clockwise, two to the right, one up."""
    image, patch = torch.zeros(1, 1, 10, 10), torch.rand(1, 4, 4)
    place = Placement(*(torch.tensor([x]) for x in (angle, 4.0, 2.0, -1.0)))
    shown, covered = pasted(image, patch, place)
    expected = torch.zeros(10, 10)
    turned = rotate(patch[0].numpy(), -angle, reshape=False, order=1)  # scipy: counterclockwise
    expected[2:6, 5:9] = torch.from_numpy(turned)
    torch.testing.assert_close(shown[0, 0], expected, rtol=0, atol=1e-5)
    assert covered.tolist() == pytest.approx([16 / 100])


def test_placements_are_random_and_inside() -> None:
    draw = Draw(0, torch.arange(500))
    place = Placement.drawn(draw, 3, 6.0, 0.8, (1, 20, 30))
    assert (place.angle.abs() <= 22.5).all()
    assert place.angle.abs().max() > 22
    assert ((place.side >= 4.8) & (place.side <= 6)).all()
    for (x, y), sign in itertools.product([(1, 1), (1, -1)], (1, -1)):  # every corner
        turn = place.angle.deg2rad()
        right = place.right + sign * place.side / 2 * (x * turn.cos() - y * turn.sin())
        down = place.down + sign * place.side / 2 * (x * turn.sin() + y * turn.cos())
        assert (right.abs() <= 15 + 1e-4).all()
        assert (down.abs() <= 10 + 1e-4).all()
    white, black = torch.ones(1, 6, 6), torch.zeros(500, 1, 20, 30)
    _, covered = pasted(black, white, place)
    assert covered.mean().item() == pytest.approx((place.side**2 / 600).mean().item(), rel=0.02)
    assert side_of(0.06, (20, 30)) == pytest.approx(6.0)


@pytest.fixture
def rows(one_pass: Callable) -> Callable[..., pd.DataFrame]:
    def run(attack: Universal | Patch, **options: object) -> pd.DataFrame:
        probe = UniversalProbe(attack, chunk=16, images=40, **options)  # type: ignore[arg-type]
        (found,) = one_pass(probe, limit=60).values()
        return found

    return run


def test_learnt_patterns_beat_random_ones(rows: Callable) -> None:
    for attack, sizes in ((Universal(40), [0.3]), (Patch(40), [0.3])):
        found = rows(attack, epsilons=sizes)
        assert (found["success"] == ~found["correct"].astype(bool)).all()
        right = found["clean_correct"] == 1
        assert found.loc[right, "correct"].mean() < found.loc[right, "control_correct"].mean() - 0.2
        assert (found.loc[~right, "control_correct"] == 0).all()
        assert (found["learning_gradients"] == 40 * 40).all()
        assert (found["forwards"] == 2).all()
    assert found["covered"].between(0.1, 0.4).all()


def test_a_target_is_reached_and_its_own_images_do_not_count(rows: Callable) -> None:
    found = rows(Patch(40), epsilons=[0.5], targeted=3)
    own = found["label"] == 3
    assert (found.loc[own, "success"] == 0).all()
    other = found[~own]
    assert (other["success"] == (other["prediction"] == 3)).all()
    assert other["success"].mean() > 0.3
    assert found["worst_loss"].isna().all()


class WithoutOthers(Digits):
    """No images but those for testing."""

    def load(self, split: str) -> object:  # type: ignore[override]
        if split != "test":
            raise UserError("There are test images only.")
        return super().load(split)


def test_images_that_were_learnt_from_are_not_judged(one_pass: Callable) -> None:
    probe = UniversalProbe(Universal(2), epsilons=[0.3], chunk=16, images=100)
    (found,) = one_pass(probe, data=WithoutOthers, limit=23).values()
    assert len(found) == 12
    assert "learnt on 11 test images in 2 passes, because there are no others" in probe.note
    assert not set(found["index"]) & set(probe._of_learning().held_back.tolist())


def test_the_summary_tells_the_attack_from_the_occlusion(rows: Callable) -> None:
    probe = UniversalProbe(Patch(10), epsilons=[0.2])
    found = rows(Patch(10), epsilons=[0.2])
    told = ProbeResult(
        probe.name, "adversarial", probe.title, probe.unit, probe.algorithm, 0.2, found
    )
    numbers, (sentence,) = against_control([told])
    expected = (found["control_correct"] - found["correct"] * found["clean_correct"]).mean()
    assert numbers["patch_over_control"].interval.value == pytest.approx(expected)
    assert f"{100 * expected:.1f} points are its own doing" in sentence


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": Universal(), "norm": "l1"}, "one of linf, l2 for Universal"),
        ({"attack": Patch(), "norm": "linf"}, "one of patch for Adversarial patch"),
        ({"attack": Patch(), "epsilons": [1.5]}, "shares of the image, above 0 and at most 1"),
        ({"attack": Patch(), "epsilons": [0]}, "shares of the image, above 0 and at most 1"),
        ({"attack": Patch(), "targeted": "next"}, "One pattern for all images has one target"),
        ({"images": 0}, "`images` to be at least 1"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        UniversalProbe(**options)


def test_a_patch_that_covers_no_pixel_is_refused(classifier: Classifier) -> None:
    """Of 8 x 8 pixels, at the least scale of .8: .8² · share · 64 pixels."""
    with pytest.raises(UserError, match=r"covers a pixel of 8x8 .* but a share of 0.02 does not"):
        UniversalProbe(Patch(), epsilons=[0.02, 0.5]).prepare(classifier, Digits(limit=5))
    UniversalProbe(Patch(), epsilons=[0.025]).prepare(classifier, Digits(limit=5))


def test_targets_that_are_no_class_are_refused(classifier: Classifier) -> None:
    with pytest.raises(UserError, match="between 0 and 9, but got 10"):
        UniversalProbe(targeted=10).prepare(classifier, Digits(limit=5))
