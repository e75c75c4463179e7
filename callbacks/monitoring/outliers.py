"""Anomalous input: seven scores from one fit on training features."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from callbacks.monitoring.confidence import energy, max_logit, msp
from callbacks.monitoring.gaussians import Gaussians, mahalanobis, relative_mahalanobis
from callbacks.monitoring.neighbours import nearest_neighbour, unit_length
from callbacks.monitoring.virtual_logit import VirtualLogit, linear_head
from callbacks.rows import is_answer
from datamodules.errors import UserError

SCORES = ("msp", "max_logit", "energy", "mahalanobis", "rmds", "knn", "vim")
"""In every one, higher means more like the training data."""
_TITLES = {
    "msp": "MSP", "max_logit": "max logit", "energy": "energy", "mahalanobis": "Mahalanobis",
    "rmds": "RMDS", "knn": "kNN", "vim": "ViM",
}  # fmt: skip


def score_title(name: str) -> str:
    """The field's name of a score."""
    return _TITLES.get(name, name)


@dataclass(frozen=True)
class OutlierFit:
    """What training images look like to the model, enough to score any other image.

    Args:
        classes: Gaussians of the classes.
        background: one Gaussian of everything.
        bank: `(M, D)` training features of unit length.
        neighbour: which of them counts.
        virtual: ViM.
    """

    classes: Gaussians
    background: Gaussians
    bank: Tensor
    neighbour: int
    virtual: VirtualLogit

    @classmethod
    def fit(
        cls,
        features: Tensor,
        logits: Tensor,
        labels: Tensor,
        *,
        head: tuple[Tensor, Tensor] | None = None,
        neighbour: int = 50,
        dimension: int | None = None,
    ) -> "OutlierFit":
        """Fits all scores.

        Args:
            features: `(N, D)` what goes into the model's last layer, of training images.
            logits: `(N, K)` what comes out; minus infinity rules a class out. Of classes that are
                ruled out for any image the head is not used.
            labels: `(N,)` true classes.
            head: weight `(K, D)` and bias `(K,)` of the last layer; None solves for them.
            neighbour: k of kNN; 50 is usual for CIFAR, 1,000 for ImageNet; at most N.
            dimension: principal space of ViM, see `principal_dimension`.

        Raises:
            UserError: shapes that do not fit, fewer than two images, or what is not finite.
        """
        if features.ndim != 2 or len({len(features), len(logits), len(labels)}) != 1:
            raise UserError(
                "Expected `features` (N, D), `logits` (N, K) and `labels` (N,), but got "
                f"{tuple(features.shape)}, {tuple(logits.shape)} and {tuple(labels.shape)}."
            )
        if len(features) < 2 or neighbour < 1:
            raise UserError(
                f"Expected at least 2 training images and `neighbour` >= 1, but got {len(features)}"
                f" and {neighbour}."
            )
        if not (features.isfinite().all() and is_answer(logits).all()):
            raise UserError("Expected finite `features` and largest logits, but some are not.")
        always = logits.isfinite().all(0)
        if not always.any():
            raise UserError(
                "Expected a class that no training image rules out by a logit of minus infinity: "
                "without one there is no head to place the origin of ViM by."
            )
        weight, bias = linear_head(features, logits[:, always]) if head is None else head
        if head is not None:
            weight, bias = weight[always], bias[always]
        return cls(
            Gaussians.fit(features, labels),
            Gaussians.fit(features, torch.zeros_like(labels)),
            unit_length(features),
            min(neighbour, len(features)),
            VirtualLogit.fit(features, logits, weight, bias, dimension),
        )

    def to(self, device: torch.device | str) -> "OutlierFit":
        """The same fit on a device."""

        def moved(of: Gaussians) -> Gaussians:
            return Gaussians(of.means.to(device), of.whitening.to(device))

        virtual = self.virtual
        return replace(
            self,
            classes=moved(self.classes),
            background=moved(self.background),
            bank=self.bank.to(device),
            virtual=replace(
                virtual,
                origin=virtual.origin.to(device),
                residual=virtual.residual.to(device),
            ),
        )

    def scores(self, features: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Every score by name, `(N,)` each; see `SCORES`.

        Args:
            features: `(N, D)` on any device; on another one the whole fit is copied there in each
                call, which `to` does once.
            logits: `(N, K)` on the same device.
        """
        here = self.to(features.device)
        return {
            "msp": msp(logits.double()),  # float32 saturates above logits of about 17
            "max_logit": max_logit(logits),
            "energy": energy(logits.double()),
            "mahalanobis": mahalanobis(here.classes, features),
            "rmds": relative_mahalanobis(here.classes, here.background, features),
            "knn": nearest_neighbour(here.bank, features, here.neighbour),
            "vim": here.virtual.score(features, logits),
        }

    def save(self, file: Path) -> Path:
        """Writes the fit: tensors as safetensors, the numbers as JSON in its header."""
        tensors = {
            "classes/means": self.classes.means,
            "classes/whitening": self.classes.whitening,
            "background/means": self.background.means,
            "background/whitening": self.background.whitening,
            "bank": self.bank,
            "virtual/origin": self.virtual.origin,
            "virtual/residual": self.virtual.residual,
        }
        facts = {"neighbour": self.neighbour, "alpha": self.virtual.alpha}
        file.parent.mkdir(parents=True, exist_ok=True)
        plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        save_file(plain, str(file), {"format": "assay-outliers-1", "facts": json.dumps(facts)})
        return file

    @classmethod
    def load(cls, file: Path) -> "OutlierFit":
        """Reads what `save` wrote, onto the CPU; see `to`.

        Raises:
            UserError: the file is no such fit.
        """
        try:
            with safe_open(str(file), "pt") as opened:
                facts = json.loads(opened.metadata()["facts"])
                part = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            return cls(
                Gaussians(part["classes/means"], part["classes/whitening"]),
                Gaussians(part["background/means"], part["background/whitening"]),
                part["bank"],
                facts["neighbour"],
                VirtualLogit(part["virtual/origin"], part["virtual/residual"], facts["alpha"]),
            )
        except Exception as error:  # safetensors raises its own, and OSError
            raise UserError(f"Expected an outlier fit in {str(file)!r}, but: {error}.") from error
