"""A decision tree that imitates the model, with how well it does."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import cohen_kappa_score
from sklearn.tree import DecisionTreeClassifier, export_text, plot_tree
from torch import Tensor

from callbacks.interpretability.regions.segments import grid_segments, sum_by_segment
from datamodules.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TreeFidelity(NamedTuple):
    """How far a tree of one depth gives the model's answers, on data it was not fitted to.

    Args:
        depth: reached, which may be less than allowed.
        leaves: how many.
        agreement: share of samples where it answers as the model does, in [0, 1].
        majority: the same for always answering the commonest class: what is free.
        kappa: Cohen's (1960), agreement beyond chance; 0 is chance, 1 is perfect.
    """

    depth: int
    leaves: int
    agreement: float
    majority: float
    kappa: float


class Surrogate(NamedTuple):
    """A fitted tree.

    Args:
        tree: scikit-learn's.
        fidelity: on held-out samples.
    """

    tree: DecisionTreeClassifier
    fidelity: TreeFidelity

    def text(self, names: Sequence[str], classes: Sequence[str], digits: int = 3) -> str:
        """The tree as indented rules; `classes` are those of the whole model."""
        present = [classes[int(label)] for label in self.tree.classes_]
        return export_text(
            self.tree, feature_names=list(names), class_names=present, decimals=digits
        )

    def figure(self, names: Sequence[str], classes: Sequence[str], depth: int = 3) -> "Figure":
        """The tree drawn, down to `depth`."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        present = [classes[int(label)] for label in self.tree.classes_]
        figure = Figure(figsize=(3 + 2.2 * 2**depth, 2 + 1.6 * depth), layout="constrained")
        FigureCanvasAgg(figure)  # scikit-learn measures the boxes with it
        boxes = plot_tree(
            self.tree, max_depth=depth, feature_names=list(names), class_names=present,
            filled=True, impurity=False, proportion=True, rounded=True, precision=2,
            ax=figure.add_subplot(), fontsize=8,
        )  # fmt: skip
        for box in boxes:  # a line with a number for every class would make boxes overlap
            box.set_text(re.sub(r"value = \[.*?\]\n", "", box.get_text(), flags=re.DOTALL))
        return figure


def tree_surrogates(
    feature: ArrayLike,
    answer: ArrayLike,
    depths: Iterable[int] = range(1, 9),
    held_out: float = 0.3,
    seed: int = 0,
) -> list[Surrogate]:
    """Fits a tree of every depth to what the model answers (Craven & Shavlik 1996).

    Args:
        feature: `(N, F)` what a human may read: patch means, or activations.
        answer: `(N,)` the model's class, not the label.
        depths: largest depth of each tree.
        held_out: share of samples to measure fidelity on, drawn once for all depths.
        seed: of the draw and of ties between splits.

    Raises:
        UserError: there are too few samples to fit and to judge.
    """
    x, y = np.asarray(feature), np.asarray(answer)
    judged = round(held_out * len(x))
    if judged < 2 or len(x) - judged < 2:
        raise UserError(
            f"Expected at least 2 samples to fit a tree and 2 to judge it, but got "
            f"{len(x) - judged} and {judged}: give more samples or another `held_out`."
        )
    order = np.random.default_rng(seed).permutation(len(x))
    fresh, fitted = order[:judged], order[judged:]
    found = []
    for depth in depths:
        tree = DecisionTreeClassifier(max_depth=depth, random_state=seed)
        tree.fit(x[fitted], y[fitted])
        common = int(np.bincount(y[fitted].astype(int)).argmax())
        found.append(Surrogate(tree, _fidelity(tree, x[fresh], y[fresh], common)))
    return found


def patch_means(image: Tensor, grid: int = 7) -> tuple[np.ndarray, list[str]]:
    """Mean of every channel over every patch, and their names.

    Args:
        image: `(N, C, H, W)`.
        grid: patches along each side.

    Returns:
        `(N, C·grid²)` and names such as "row 2 column 3", with the colour if there are several.
    """
    segment = grid_segments(image, grid)
    area = segment.flatten().bincount()
    n, channels = image.shape[:2]
    means = sum_by_segment(image.flatten(0, 1)[:, None], segment) / area
    colours = [" red", " green", " blue"]
    named = {1: [""], 3: colours}
    of = named.get(channels, [f" channel {channel}" for channel in range(channels)])
    places = [f"row {i // grid + 1} column {i % grid + 1}" for i in range(grid**2)]
    return means.reshape(n, -1).cpu().numpy(), [place + c for c in of for place in places]


def _fidelity(
    tree: DecisionTreeClassifier, feature: np.ndarray, answer: np.ndarray, common: int
) -> TreeFidelity:
    guess = np.asarray(tree.predict(feature))
    with np.errstate(invalid="ignore"):
        same = len(np.union1d(answer, guess)) == 1
        kappa = 1.0 if same else cohen_kappa_score(answer, guess)
    return TreeFidelity(
        depth=int(tree.get_depth()),
        leaves=int(tree.get_n_leaves()),
        agreement=float((guess == answer).mean()),
        majority=float((answer == common).mean()),
        kappa=float(kappa),
    )
