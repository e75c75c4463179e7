"""Each finding against what was planted, a closed form, or another library."""

import io

import numpy as np
import pandas as pd
import pytest
import scipy.fft
import torch
from PIL import Image
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor

from datamodules.errors import UserError
from datamodules.images import MemoryImages
from lightning_modules.features import Features
from pipelines.audit.duplicates import NearRule, find_duplicates
from pipelines.audit.feature_twins import find_feature_twins
from pipelines.audit.fingerprints import fingerprints
from pipelines.audit.imbalance import count, difference
from pipelines.audit.label_errors import cross_validated, find_suspects
from pipelines.audit.odd_images import find_odd
from pipelines.audit.perceptual_hash import TURNS, hamming, hashed, position, spectrum, turned
from pipelines.audit.shift import find_shift
from pipelines.audit.twins import accuracy_with_twins, independent_difference


def scenes(n: int, seed: int) -> Tensor:
    """Unrelated colour images `(n, 3, 48, 48)` uint8 with edges at all scales."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 6, 6, generator=draw)
    fine = torch.rand(n, 3, 24, 24, generator=draw)
    layers = [torch.nn.functional.interpolate(p, (48, 48), mode="bilinear") for p in (coarse, fine)]
    return (255 * (0.75 * layers[0] + 0.25 * layers[1])).byte()


def encoded(image: Tensor, quality: int) -> Tensor:
    """The image as it comes out of a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image.movedim(0, -1).numpy()).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(buffer)).copy()).movedim(-1, 0)


def test_a_spectrum_is_that_of_scipy_and_turns_with_its_image() -> None:
    image = torch.rand(5, 32, 32, dtype=torch.float64)
    low = spectrum(image)
    expected = scipy.fft.dctn(image.numpy(), axes=(1, 2))[:, :8, :8] / 4
    np.testing.assert_allclose(low.numpy(), expected)
    for turn, by in enumerate(turned(low)):
        torch.testing.assert_close(spectrum(position(image, turn)), by, msg=TURNS[turn])
    quarter = torch.rot90(image, -1, (1, 2))
    torch.testing.assert_close(position(image, TURNS.index("turned by 90°")), quarter)
    one, other = hashed(low[:1]), hashed(low[1:2])
    assert hamming(one, other).item() == (one != other).sum()
    assert int((one > 0).sum()) == 31, "bits above the median of 63"


CHANGES = {
    "JPEG 75": lambda image: encoded(image, 75),
    "JPEG 30": lambda image: encoded(image, 30),
    "brighter": lambda image: (image.float() * 1.15).clamp(max=255).byte(),
    "mirrored": lambda image: image.flip(2),
    "a quarter turn": lambda image: image.rot90(1, (1, 2)),
    "resized": lambda image: Tensor(
        np.asarray(Image.fromarray(image.movedim(0, -1).numpy()).resize((40, 40)).resize((48, 48)))
        .astype("float32")
    ).movedim(-1, 0).byte(),
}  # fmt: skip


def test_planted_twins_are_found_and_no_others() -> None:
    """Within the radius that is stated; partners, files' indices and labels are those planted."""
    train, test = scenes(150, 0), scenes(60, 1)
    test[0] = train[7]
    for row, change in enumerate(CHANGES.values(), 1):
        test[row] = change(train[10 + row])
    label = {"train": torch.arange(150) % 5, "test": torch.arange(60) % 5}
    label["test"][0] = (label["train"][7] + 1) % 5
    train[149] = train[3]
    splits = {
        "train": fingerprints(MemoryImages(train, label["train"], torch.arange(150) + 1000)),
        "test": fingerprints(MemoryImages(test, label["test"])),
    }
    found = find_duplicates(splits, NearRule())
    between = found.pairs.loc[found.pairs["split"] == "test"]
    planted = [(0, 1007), *((row, 1010 + row) for row in range(1, 1 + len(CHANGES)))]
    assert list(zip(between["index"], between["partner_index"], strict=True)) == planted
    assert between["finding"].tolist() == ["exact"] + ["near"] * len(CHANGES)
    exact = between.iloc[0]
    assert (exact["label"], exact["partner_label"]) == (label["test"][0], label["train"][7])
    turns = dict(zip(CHANGES, between["turn"][1:], strict=True))
    assert turns["mirrored"] == "mirrored"
    assert turns["a quarter turn"] == "turned by 90°", "what undoes it"
    within = found.pairs.loc[found.pairs["partner_split"] == found.pairs["split"]]
    assert within[["index", "partner_index"]].to_numpy().tolist() == [[1149, 1003]]
    apart = sum(int((own[:, None] != own).triu().sum()) for own in label.values())
    assert found.unrelated == apart + int((label["test"][:, None] != label["train"]).sum())
    upright = find_duplicates(splits, NearRule(turned=False)).pairs
    assert {4, 5} & set(upright.loc[upright["split"] == "test", "index"]) == set()
    with pytest.raises(UserError, match=r"near\.radius` from 0 to 63"):
        NearRule(radius=64)


def test_candidates_in_features_stand_out() -> None:
    draw = torch.Generator().manual_seed(0)
    learnt, own = (torch.randn(n, 64, generator=draw) for n in (300, 40))
    own[4] = 3 * learnt[250] + 0.01  # of another length: the direction counts
    own[9] = learnt[31] + 0.02 * torch.randn(64, generator=draw)
    parts = {"train": learnt[:200], "val": learnt[200:], "test": own}
    features = {
        name: Features(part, part, torch.zeros(len(part)).long(), torch.arange(len(part)))
        for name, part in parts.items()
    }
    images = {
        name: MemoryImages(scenes(len(p), 0), torch.zeros(len(p))) for name, p in parts.items()
    }
    prints = {name: fingerprints(part) for name, part in images.items()}
    known = pd.DataFrame({"index": [9], "split": ["test"], "partner_split": ["val"]})
    found = find_feature_twins(features, prints, NearRule(), known)
    assert found[["index", "partner_split", "partner_index"]].to_numpy().tolist() == [
        [4, "val", 50]
    ]
    cosine = torch.cosine_similarity(own[4], learnt[250], dim=0)
    assert found["score"].item() == pytest.approx(cosine.item())
    nothing = find_feature_twins(features, prints, NearRule(), known.iloc[:0])
    assert nothing["index"].tolist() == [4, 9], "what is known already is left out"


def test_planted_label_errors_are_found() -> None:
    """3 % of the digits' labels flipped: most are found, and most of what is found was flipped."""
    digits = load_digits()
    feature = torch.tensor(digits.data[:900], dtype=torch.float32)
    label = torch.tensor(digits.target[:900])
    index = torch.arange(len(label))
    draw = np.random.default_rng(3)
    flipped = torch.from_numpy(np.sort(draw.choice(len(label), 27, replace=False)))
    noisy = label.clone()
    noisy[flipped] = (label[flipped] + torch.from_numpy(draw.integers(1, 10, 27))) % 10
    ask = cross_validated(feature, 10, True, 0)
    found = find_suspects(ask, noisy, index, "train", "a probe")
    hits = np.isin(found.rows["index"], flipped).sum()
    assert hits / 27 > 0.8
    assert hits / len(found.rows) > 0.85
    first = found.rows.iloc[:10]
    assert np.isin(first["index"], flipped).all(), "the worst come first"
    assert first["partner_label"].tolist() == label[first["index"].tolist()].tolist()
    assert found.recall.low < hits / 27 < found.recall.high, "as it says of itself"
    assert found.precision.value < hits / len(found.rows) + 0.05


def test_who_knows_nothing_is_no_judge() -> None:
    """A probe of noise marks most labels; of those few were planted, so none is told."""
    draw = torch.Generator().manual_seed(0)
    feature = torch.randn(300, 5, generator=draw)
    label = torch.arange(300) % 3
    found = find_suspects(cross_validated(feature, 3, False, 0), label, label, "test", "a probe")
    assert found.accuracy.low < 1 / 3 < found.accuracy.high + 0.05
    assert not found.believed


def test_shares_of_classes_against_scipy() -> None:
    one, other = [300, 200, 100], [80, 70, 90]
    found = difference(one, other)
    expected = stats.chi2_contingency(np.array([one, other]), correction=False)
    assert found.p == pytest.approx(expected.pvalue)
    v = stats.contingency.association(np.array([one, other]), method="cramer")
    assert found.effect.low < v < found.effect.high
    few = difference([3, 1, 0, 2], [40, 12, 20, 31])
    assert 0 < few.p < 1
    assert difference([10, 20], [10, 20]).effect.low == 0
    table = count({"train": np.repeat([0, 1, 2], [60, 30, 10])}, ["a", "b", "c", "d"])
    assert table.missing("train") == ["d"]
    shares = np.array([0.6, 0.3, 0.1])
    assert table.effective("train").value == pytest.approx(np.exp(stats.entropy(shares)))
    two = count({"train": np.repeat([0, 1], [60, 20])}, ["a", "b"])
    low, high = stats.binomtest(60, 80).proportion_ci(method="wilson")
    assert two.ratio("train") == pytest.approx((3.0, low / (1 - low), high / (1 - high)), rel=1e-6)


def test_random_resplits_are_no_shift_and_a_shift_is_found() -> None:
    """At p < 0.05 about one resplit in twenty; the level is exact, so 120 give 1 to 13."""
    draw = np.random.default_rng(0)
    values = draw.normal(size=(400, 12)) ** 3
    alarms = [0, 0]
    for seed in range(120):
        order = draw.permutation(400)
        one, other = values[order[:200]], values[order[200:]]
        frames = [pd.DataFrame(part[:, :3]) for part in (one, other)]
        found = find_shift(one, other, *frames, seed)
        alarms[0] += found.p < 0.05
        alarms[1] += bool((found.moved["p"] < 0.05).any())
    assert stats.binomtest(alarms[0], 120, 0.05).pvalue > 0.01, alarms
    assert alarms[1] <= 13, "Holm's correction keeps the statistics together below the level"
    moved = find_shift(values[:200], values[200:] + 1.0, *frames)
    assert moved.p < 1e-6
    assert moved.apart.low > 0.6
    assert find_shift(values[:5], values[5:10], *frames).images == 5


def test_images_that_are_hardly_any() -> None:
    image = scenes(12, 2)
    image[3], image[4], image[5] = 128, 5, 250
    image[4, 0, 0, 0], image[5, 0, 0, 0] = 6, 251
    found = find_odd(fingerprints(MemoryImages(image, torch.arange(12))), "test")
    assert dict(zip(found["index"], found["finding"], strict=True)) == {
        3: "constant", 4: "nearly black", 5: "nearly white"
    }  # fmt: skip


def test_accuracy_with_and_without_twins() -> None:
    """Newcombe's own example (1998, table II, a): 56/70 and 48/80 are .2 apart, .0524 to .3339."""
    correct = np.repeat([True, False, True, False], [56, 14, 48, 32])
    twin = np.repeat([True, False], [70, 80])
    table = accuracy_with_twins(correct, twin).set_index("images")["value"]
    assert table["twins minus rest"] == pytest.approx(0.2)
    lines = accuracy_with_twins(correct, twin).set_index("images")
    ends = lines.loc["twins minus rest", ["value_low", "value_high"]].to_numpy(float)
    assert ends == pytest.approx([0.0524, 0.3339], abs=5e-5)
    assert table["change without twins"] == pytest.approx(48 / 80 - 104 / 150)
    from callbacks.statistics import rate

    same = independent_difference(rate(5, 10), rate(5, 10))
    assert same.value == 0
    assert -1 < same.low < 0 < same.high < 1


@pytest.mark.parametrize("count", [1, 3])
def test_a_few_labels_are_asked_about_one_by_one(count: int) -> None:
    label = torch.arange(count)
    found = cross_validated(torch.randn(count, 2), 3, False, 0)(label)
    assert found.shape == (count, 3)
    assert found.sum(1).tolist() == pytest.approx([1] * count)
