"""A decision tree that imitates the model, with how well it does."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import cohen_kappa_score
from sklearn.tree import DecisionTreeClassifier, export_text
from torch import Tensor

from callbacks.interpretability.regions.segments import grid_segments, sum_by_segment
from datamodules.errors import UserError


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


class Node(NamedTuple):
    """A question of a tree, or the answer where it asks nothing more.

    Args:
        parent: position of the node it hangs below, -1 of the first.
        level: questions before it.
        question: of which the child that comes first is the yes; empty of an answer.
        answer: commonest one here.
        certain: its share of the samples here, in [0, 1].
        share: of all fitted samples that come here, in [0, 1].
    """

    parent: int
    level: int
    question: str
    answer: str
    certain: float
    share: float


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

    def nodes(self, names: Sequence[str], classes: Sequence[str], depth: int = 3) -> list[Node]:
        """The tree down to `depth`, each node before those below it, the lower values first."""
        tree, order = self.tree.tree_, [(0, -1, 0)]
        nodes: list[Node] = []
        while order:
            place, parent, level = order.pop()
            share = tree.value[place][0] / tree.value[place][0].sum()
            below = [int(side[place]) for side in (tree.children_right, tree.children_left)]
            asked = below[0] >= 0 and level < depth
            name, most = (names[tree.feature[place]], tree.threshold[place]) if asked else ("", 0.0)
            question = f"{name} \N{LESS-THAN OR EQUAL TO} {most:.2g}" if asked else ""
            nodes.append(
                Node(
                    parent, level, question,
                    classes[int(self.tree.classes_[share.argmax()])], float(share.max()),
                    float(tree.weighted_n_node_samples[place] / tree.weighted_n_node_samples[0]),
                )
            )  # fmt: skip
            order += [(child, len(nodes) - 1, level + 1) for child in below if asked]
        return nodes


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
        `(N, C·grid²)` and names such as "patch (2, 3)", the second from above and the third from
        the left, with the colour if there are several; "pixel" where a patch is one.
    """
    segment = grid_segments(image, grid)
    area = segment.flatten().bincount()
    n, channels = image.shape[:2]
    means = sum_by_segment(image.flatten(0, 1)[:, None], segment) / area
    colours = [" red", " green", " blue"]
    named = {1: [""], 3: colours}
    of = named.get(channels, [f" channel {channel}" for channel in range(channels)])
    kind = "pixel" if image.shape[-2:] == (grid, grid) else "patch"
    places = [f"{kind} ({i // grid + 1}, {i % grid + 1})" for i in range(grid**2)]
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
