"""Signs that gradients hide what a model does: pure counting over the rows of `MaskingProbe`."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from scipy.stats import binom

from callbacks.adversarial.masking.checks import number_of
from callbacks.words import percent

_LEVEL = 0.01
"""Chance of a false sign, of each: of eight together, less than one model in ten."""
_LEAST = 3  # images: two may be bad luck of any kind
_SOUND = {
    # This part of the images that PGD leaves right falls to the weaker attack at most where
    # gradients hide nothing: measured 0.02 and less with FGSM; 0.17 with DLR on a linear network,
    # 0.33 where logits are so small that cross-entropy singles out no wrong class; 0.10 with more
    # steps; 0.16 with Square on MNIST trained against PGD at 0.3. Behind broken defences 0.34 to 1.
    "fgsm": 0.05,
    "scale_free": 0.35,
    "longer": 0.15,
    "square": 0.2,
}
_COMPARED = {
    "fgsm": ("one_step_beats_iterative", "FGSM, a single step, breaks"),
    "scale_free": (
        "scale_free_beats_cross_entropy",
        "A loss that the scale of the logits does not change breaks",
    ),
    "longer": ("more_steps_help", "More steps from another start break"),
    "square": ("black_box_beats_white_box", "Square, which asks for no gradient, breaks"),
}
_ZERO, _MOST = 0.05, 0.5
"""Shares of images without a gradient: worth telling, and so many that no other proof is needed."""


@dataclass(frozen=True)
class Reason:
    """A sign of gradient masking.

    Args:
        name: as the field calls it, `[a-z_]`.
        sentence: with the counts.
    """

    name: str
    sentence: str


def masking_verdict(rows: pd.DataFrame) -> list[Reason]:
    """The signs of gradient masking in the rows of one `MaskingProbe`; none is no proof of none.

    Counts are paired, image by image, and one-sided: how many images a weaker attack breaks that
    PGD leaves right at the same radius. It is a sign where it exceeds, by an exact binomial test at
    1 %, the share that sound networks show.

    Args:
        rows: of all its checks; images that the model gets wrong undisturbed do not count.

    Returns:
        Reasons named no_gradient, random_answers, zero_gradient, one_step_beats_iterative,
        scale_free_beats_cross_entropy, more_steps_help, black_box_beats_white_box or
        large_radius_survives.
    """
    seen = _Seen(rows)
    if not seen.images:
        return []
    found = [*_of_answers(seen), *_of_gradients(seen)]
    if any(reason.name == "random_answers" for reason in found):
        return found  # what is broken once and not the next time is luck, and compares nothing
    return [*found, *_of_pairs(seen), *_of_the_box(seen)]


def broken_at_headline(rows: pd.DataFrame) -> pd.Series:
    """Whether any check broke each image at the headline radius itself, by index; bool.

    Args:
        rows: of `MaskingProbe`; images that the model gets wrong undisturbed are left out.
    """
    right = rows[rows["clean_correct"] == 1]
    broken = (right["success"] == 1) & (right["epsilon"] == right["headline"])
    return broken.groupby(right["index"]).any()


class _Seen:
    """The rows of the images that the model gets right, by check."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.constant = rows["label"].nunique() > 1 == rows["prediction"].nunique()
        """Whether images of several classes, attacked or not, all get one answer: then it is true
        that none of it changes, and a gradient of zero hides nothing."""
        self.right = rows[rows["clean_correct"] == 1].set_index("index")
        self.images = int(self.right.index.nunique())

    def __contains__(self, check: str) -> bool:
        return bool((self.right["severity"] == number_of(check)).any())

    def __getitem__(self, check: str) -> pd.DataFrame:
        return self.right[self.right["severity"] == number_of(check)]

    def count(self, check: str, column: str) -> int:
        """Of how many images a column is 1 in the rows of a check; 0 where it was not run."""
        return int((self[check][column] == 1).sum())

    @property
    def standing(self) -> pd.Series:
        """Whether PGD leaves each image right, if only at a quarter of the radius."""
        return self["pgd_quarter"]["success"] != 1

    @property
    def broken_later(self) -> pd.Series:
        """Whether a check after PGD broke each image, where PGD did not."""
        later = self.right[self.right["severity"].isin([number_of(name) for name in _COMPARED])]
        return (later["success"] == 1).groupby(level=0).any()


def _more_than(count: int, images: int, share: float) -> bool:
    """Whether a count is more than a share of `share` would give by chance."""
    return count >= _LEAST and bool(binom.sf(count - 1, images, share) < _LEVEL)


def _of_answers(seen: _Seen) -> Iterator[Reason]:
    """What concerns the model itself."""
    if not seen.right["differentiable"].all():
        yield Reason(
            "no_gradient",
            "The model cannot be differentiated: attacks along a gradient were left out here.",
        )
    moved = seen.count("gradient", "moved")
    if _more_than(moved, seen.images, _ZERO):
        yield Reason(
            "random_answers",
            f"Asked again, the model answers {moved:,} of {seen.images:,} images otherwise: an "
            "attack must average over many answers (autoattack_rand).",
        )


def _of_gradients(seen: _Seen) -> Iterator[Reason]:
    """Images that an attack on cross-entropy cannot move, and therefore leaves right."""
    if "gradient" not in seen or "pgd_quarter" not in seen:
        return
    none = (seen["gradient"]["zero_margin"] == 1) & seen.standing
    zero = (seen["gradient"]["zero_gradient"] == 1) & seen.standing | none
    count, proven = int(zero.sum()), int((zero & seen.broken_later).sum())
    cut = _more_than(int(none.sum()), seen.images, _ZERO / 5)
    said = not seen.constant and (cut or count >= max(_LEAST, _MOST * seen.images))
    if said or _more_than(proven, seen.images, _ZERO):
        why = "also of the margin: rounding or a cut inside" if cut else "the softmax is exactly 1"
        yield Reason(
            "zero_gradient",
            f"The gradient is zero or no number for {count:,} of {seen.images:,} images "
            f"({why}), so that PGD leaves them right whatever they are.",
        )


def _of_pairs(seen: _Seen) -> Iterator[Reason]:
    """What a weaker attack breaks and PGD does not; each of its images at its own radius."""
    if "pgd_quarter" not in seen:
        return
    for check, (name, breaks) in _COMPARED.items():
        asked, count = seen.count(check, "asked"), seen.count(check, "success")
        if _more_than(count, asked, _SOUND[check]):
            but = "no attack along the gradient breaks" if check == "square" else "PGD leaves right"
            yield Reason(name, f"{breaks} {count:,} of {asked:,} images that {but} at that radius.")


def _of_the_box(seen: _Seen) -> Iterator[Reason]:
    """What stays right where any image whatsoever may be shown."""
    if "box" not in seen or seen.constant:
        return
    survive = seen.images - seen.count("box", "success")
    chance = float(seen.right["chance"].iloc[0])
    if _more_than(survive, seen.images, chance):
        yield Reason(
            "large_radius_survives",
            f"{survive:,} of {seen.images:,} images stay right where PGD may change every pixel as "
            f"it likes; chance leaves {percent(chance, 0)} %.",
        )
