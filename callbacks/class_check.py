"""Are a model's answers those of other classes, of one class, or of chance?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.optimize import linear_sum_assignment

from callbacks.statistics import mcnemar

ALPHA = 0.01
_GAIN, _AT_LEAST = 0.1, 0.5
"""A permutation is told where it gains so much, and is right so often: what random weights answer
can be permuted too, but not to that."""
_FEWEST = 20


@dataclass(frozen=True)
class ClassCheck:
    """What the answers for some labelled images look like.

    Args:
        accuracy: share that is right, in [0, 1].
        n: images.
        order: output that answers for each class, if the answers are permuted; else None.
        permuted: accuracy under that permutation, on the images that it was not found by.
        sentences: what must be told; empty where all is well.
    """

    accuracy: float
    n: int
    order: tuple[int, ...] | None
    permuted: float
    sentences: list[str]


def check_classes(
    prediction: ArrayLike,
    label: ArrayLike,
    classes: Sequence[str],
    outputs: Sequence[int] | None = None,
) -> ClassCheck:
    """Looks for permuted classes, for one answer to everything, and for chance.

    The permutation is the best assignment in the confusion matrix of one half of the images (Kuhn
    1955, as in scipy) and is tested on the other half by an exact paired test.

    Args:
        prediction: `(N,)` answers.
        label: `(N,)`.
        classes: names by label.
        outputs: the network's own output of each class, where they were put into another order.
    """
    answers, truth = np.asarray(prediction), np.asarray(label)
    n, right = len(truth), answers == truth
    accuracy = float(right.mean()) if n else float("nan")
    if n < _FEWEST:
        return ClassCheck(accuracy, n, None, float("nan"), [])
    mixed = np.random.default_rng(0).permutation(n)
    one, other = mixed[::2], mixed[1::2]
    order = _assigned(answers[one], truth[one], len(classes))
    moved = answers[other] == np.asarray(order)[truth[other]]
    plain, permuted = right[other], float(moved.mean())
    permuted_wins = (
        permuted >= max(_AT_LEAST, plain.mean() + _GAIN)
        and mcnemar(plain, moved) < ALPHA
        and order != tuple(range(len(classes)))
    )
    sentences = []
    if permuted_wins:
        own = list(range(len(classes)) if outputs is None else outputs)
        rates = f"{permuted:.1%} of {len(plain)} images instead of {plain.mean():.1%}"
        sentences.append(_permutation([own[output] for output in order], classes, rates))
    elif len(set(answers.tolist())) == 1 and len(set(truth.tolist())) > 1:
        sentences.append(f"All answers for {n} images are {classes[int(answers[0])]!r}.")
    elif (chance := _no_better(int(right.sum()), n, len(classes))) is not None:
        sentences.append(
            f"The model is right for {accuracy:.1%} of {n} images, which guessing among "
            f"{len(classes)} classes ({chance:.1%}) may well reach."
        )
    return ClassCheck(accuracy, n, order if permuted_wins else None, permuted, sentences)


def _assigned(answers: np.ndarray, truth: np.ndarray, classes: int) -> tuple[int, ...]:
    """The output of each class that is right most often; ties stay as they are."""
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (truth, answers), 1)
    _, order = linear_sum_assignment(confusion + np.eye(classes) / (2 * classes), maximize=True)
    return tuple(int(output) for output in order)


def _no_better(right: int, n: int, classes: int) -> float | None:
    """The accuracy of guessing, where this is not significantly more; None where it is."""
    p = stats.binomtest(right, n, 1 / classes, alternative="greater").pvalue
    return 1 / classes if p > ALPHA else None


def _permutation(own: Sequence[int], classes: Sequence[str], rates: str) -> str:
    """What to say of a permutation: `own` output of the network for each class, in fact."""
    said = (
        f"The outputs stand in another order than the classes: permuted they are right for {rates}."
    )
    if sorted(own) != list(range(len(own))):  # some outputs are left out, and have no name here
        return said
    named = [classes[int(label)] for label in np.argsort(own)]
    shown = " ".join(map(_quoted, named[:20])) + (" ..." if len(named) > 20 else "")
    text = ", which is the order of text" if named == sorted(classes) != list(classes) else ""
    return f"{said} If so, say `--classes {shown}`{text}."


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name
