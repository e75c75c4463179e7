"""Sequences against torchvision's and by hand; flips by hand; the probe's rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision.transforms.functional as tv
from torch import Tensor, nn

from callbacks.measurement import Samples
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.results import ProbeResult
from callbacks.stability import PROBES, SEQUENCES, StabilityProbe
from callbacks.stability.sequence import amounts, flip_rate
from callbacks.stability.sequences import Brighten, Rotate, Scale, SensorNoise, Tilt, Translate
from callbacks.stability.summary import summarise
from callbacks.warp import warped
from datamodules import Digits
from datamodules.errors import UserError
from lightning_modules import Classifier

EACH = pytest.mark.parametrize("name", SEQUENCES)
SIZES = [(1, 8, 8), (3, 31, 47), (3, 1, 1), (3, 64, 5)]


def images(n: int = 4, shape: tuple[int, ...] = (3, 33, 33)) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


def draw(n: int = 4) -> Draw:
    return Draw(0, torch.arange(n))


@EACH
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_frames_are_images(name: str, shape: tuple[int, ...]) -> None:
    image = images(4, shape)
    for amount in (-20.0, -1.0, 0.0, 3.0, 20.0):
        frame = SEQUENCES[name]()(image, amount, draw(), 3)
        assert frame.shape == image.shape
        assert frame.isfinite().all()
        assert frame.min() >= 0
        assert frame.max() <= 1
    torch.testing.assert_close(SEQUENCES[name]()(image, 0.0, draw(), 0), image, atol=1e-5, rtol=0)


@EACH
def test_frames_differ_more_the_further_they_are(name: str) -> None:
    image = torch.nn.functional.interpolate(images(8, (3, 6, 6)), (48, 48), mode="bilinear")
    one = SEQUENCES[name]()
    apart = [
        float((one(image, amount, draw(8), 1) - image).abs().mean()) for amount in (0.5, 1, 2, 4)
    ]
    assert apart == sorted(apart)
    assert apart[0] > 0
    alone = one(image[5:6], 2.0, draw(8).select(torch.tensor([5])), 1)
    torch.testing.assert_close(alone, one(image, 2.0, draw(8), 1)[5:6], rtol=0, atol=0)


def test_whole_pixels_are_moved_exactly() -> None:
    """Four steps of a pixel of 224 at a side of 56 are one pixel."""
    image = images(2, (3, 56, 56))
    moved = Translate()(image, 4.0, draw(2), 0)
    torch.testing.assert_close(moved[..., 1:], image[..., :-1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("angle", [-10.0, 3.0, 25.0])
def test_rotation_is_torchvisions(angle: float) -> None:
    image = images()
    found = Rotate(step=1.0)(image, angle, draw(), 0)
    other = tv.rotate(image, angle, tv.InterpolationMode.BILINEAR)
    inside = (slice(None), slice(None), slice(9, 24), slice(9, 24))  # where nothing is mirrored in
    torch.testing.assert_close(found[inside], other[inside], atol=1e-4, rtol=0)


def test_scale_is_torchvisions() -> None:
    image = images()
    found = Scale(step=100.0)(image, float(np.log(1.25)), draw(), 0)
    other = tv.affine(image, 0.0, [0, 0], 1.25, [0.0], tv.InterpolationMode.BILINEAR)
    torch.testing.assert_close(found, other, atol=1e-4, rtol=0)


def test_a_turn_by_a_quarter_is_a_transposition() -> None:
    image = images()
    found = Rotate(step=90.0)(image, 1.0, draw(), 0)
    torch.testing.assert_close(found, image.rot90(1, (2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(warped(image, torch.eye(3)), image, atol=1e-5, rtol=0)


def test_noise_and_light_by_hand() -> None:
    image = torch.full((1, 1, 300, 300), 0.5)
    noise = SensorNoise()(image, 2.0, draw(1), 0) - image
    assert noise.std() == pytest.approx(0.04, rel=0.02)
    assert not torch.equal(noise, SensorNoise()(image, 2.0, draw(1), 1) - image)
    torch.testing.assert_close(Brighten()(image, -3.0, draw(1), 0), image - 0.03)


@pytest.mark.parametrize(
    ("frames", "strength", "independent", "wanted"),
    [(3, 1.0, False, [-1, 0, 1]), (5, 0.5, False, [-1, -0.5, 0, 0.5, 1]), (3, 2.0, True, [2] * 3)],
)
def test_amounts(frames: int, strength: float, independent: bool, wanted: list[float]) -> None:
    assert amounts(frames, strength, independent) == wanted


def test_flips_by_hand() -> None:
    answers = torch.tensor([[1, 2, 3], [1, 2, 0], [1, 5, 3], [1, 2, 0], [1, 2, 3]])
    assert flip_rate(answers, False).tolist() == [0, 0.5, 1]
    assert flip_rate(answers, True).tolist() == [0, 0.25, 0.5]


@pytest.mark.parametrize("kind", [Translate(step=56.0), SensorNoise(step=0.3)], ids=repr)
def test_rows_are_answers_to_the_frames(
    kind: Any, one_pass: Callable, classifier: Classifier
) -> None:
    """Steps so large that answers flip; rows by hand from the frames, flips from the rows."""
    probe = StabilityProbe(kind, (1.0, 2.0), 5, chunk=16)
    rows = one_pass(probe)[probe.name]
    batch = Digits(limit=23).taken("test", 23)
    for strength, some in rows.groupby("value"):
        film = []
        steps = amounts(5, float(strength), kind.independent)  # type: ignore[arg-type]
        for frame, amount in enumerate(steps):
            image = (
                batch.image
                if amount == 0
                else kind(batch.image, amount, Draw(0, batch.index), frame)
            )
            film.append(classifier(image).argmax(1))
            part = some[some["draw"] == frame].set_index("index").loc[batch.index.tolist()]
            assert part["prediction"].tolist() == film[-1].tolist()
        flip = flip_rate(torch.stack(film), kind.independent)
        assert part["flip"].tolist() == pytest.approx(flip.tolist())
        assert flip.any()


def test_the_summary_is_a_mean_over_images(one_pass: Callable) -> None:
    probes = [StabilityProbe(Translate(step=56.0), frames=5), StabilityProbe(Brighten(step=0.2))]
    results = [
        ProbeResult(
            probe.name,
            "stability",
            probe.title,
            probe.unit,
            probe.algorithm,
            probe.headline,
            rows,
            probe.reported,
        )
        for probe, rows in zip(probes, one_pass(*probes).values(), strict=True)
    ]
    summary = summarise(results, None)
    own = [result.rows[result.rows["value"] == 1.0] for result in results]
    each = [rows.groupby("index")["flip"].mean() for rows in own]
    flip = summary.numbers["stability_flip_rate"].interval
    assert flip.value == pytest.approx(float((each[0] + each[1]).mean() / 2))
    alone = summarise(results[:1], None).numbers["stability_flip_rate"].interval
    line = results[0].line_at(1000)
    told = (line["flip"], line["flip_low"], line["flip_high"])
    assert told == pytest.approx(tuple(alone)[:3]), "one number has one interval"
    constant = summary.numbers["stability_constant"].interval
    assert constant.value == pytest.approx(float(((each[0] == 0) & (each[1] == 0)).mean()))
    assert "least stable under" in summary.sentences[1]


def test_two_probes_of_one_sequence_both_count_and_say_their_strength() -> None:
    def result(name: str, flip: float) -> ProbeResult:
        rows = pd.DataFrame(
            {"index": range(10), "severity": 2000, "value": 2.0, "setting": name, "flip": flip}
        )
        return ProbeResult(name, "stability", "Translation", "", name, 1.0, rows)

    flip = summarise([result("a", 0.0), result("b", 0.5)], None).numbers["stability_flip_rate"]
    assert flip.interval.value == 0.25
    assert flip.note.startswith("mean of 2 sequences")
    alone = summarise([result("a", 0.0)], None).numbers["stability_flip_rate"]
    assert "Translation x 2 " in alone.note


def test_no_answer_is_not_the_first_class() -> None:
    class Silent(nn.Module):
        """Class 0 of dark images, nothing of light ones."""

        def forward(self, x: Tensor) -> Tensor:
            light = x.flatten(1).mean(1, keepdim=True) > 0.5
            return torch.where(light, torch.nan, torch.tensor([[1.0, 0.0]]))

    probe = StabilityProbe(Brighten(step=0.1), (1.0,), 3)
    label = torch.zeros(4, dtype=torch.long)
    image, model = images() * 0 + 0.45, Queries(Silent())
    samples = Samples(image, label, torch.arange(4), model(image))
    for found in probe.measure(model, samples, probe.settings()):
        assert found.extras["flip"].tolist() == [0.5] * 4


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: StabilityProbe(Translate(), frames=4), "odd and at least 3"),
        (lambda: StabilityProbe(Translate(), frames=1), "odd and at least 3"),
        (lambda: StabilityProbe(Translate(), ()), "`strengths` above 0"),
        (lambda: StabilityProbe(Translate(), (0.0,)), "`strengths` above 0"),
        (lambda: StabilityProbe(Translate(float("nan"))), "finite `step` above 0"),
        (lambda: Tilt(20.0)(images(), 5.0, draw(), 0), "less than 100 %"),
    ],
)
def test_mistakes(make: Callable, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


def test_names_are_those_of_the_sequences() -> None:
    assert {f"stability_{kind().name}" for kind in SEQUENCES.values()} == set(PROBES)
