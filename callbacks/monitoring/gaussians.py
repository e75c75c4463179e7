"""Class-conditional Gaussians with one covariance, for Mahalanobis distances."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussians:
    """Means with a shared covariance, kept as what whitens.

    Args:
        means: `(K, R)` whitened class means.
        whitening: `(D, R)`; directions without any variance are left out.
    """

    means: Tensor
    whitening: Tensor

    @classmethod
    def fit(cls, features: Tensor, labels: Tensor) -> "Gaussians":
        """Fits the mean of each class that occurs and the covariance round them (divided by N).

        Args:
            features: `(N, D)`.
            labels: `(N,)` integers; all the same fits one Gaussian to everything.
        """
        exact = features.double()
        _, place = labels.unique(return_inverse=True)
        counts = place.bincount().double()
        sums = exact.new_zeros(len(counts), exact.shape[1]).index_add(0, place, exact)
        means = sums / counts[:, None]
        centred = exact - means[place]
        whitening = _whitening(centred.T @ centred / len(exact), features.dtype)
        return cls(means @ whitening, whitening)

    def distances(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis distances `(N, K)` to every class mean."""
        white = features.double() @ self.whitening
        return torch.cdist(white, self.means, compute_mode="donot_use_mm_for_euclid_dist").square()


def mahalanobis(classes: Gaussians, features: Tensor) -> Tensor:
    """Minus the squared distance to the nearest class mean, `(N,)` <= 0.

    Lee et al. 1807.03888, 2018, on one layer, without input perturbation and without the factor ½.
    """
    return -classes.distances(features).amin(1)


def relative_mahalanobis(classes: Gaussians, background: Gaussians, features: Tensor) -> Tensor:
    """Mahalanobis score minus that of one Gaussian for all classes, `(N,)`.

    RMDS, Ren et al. 2106.09022, 2021.
    """
    return background.distances(features)[:, 0] - classes.distances(features).amin(1)


def _whitening(covariance: Tensor, given: torch.dtype) -> Tensor:
    """`(D, R)` matrix W with W Wᵀ the pseudo-inverse.

    A variance counts as none where rounding of the features could have made it: a unit that is
    dead on the training data must not divide by zero.
    """
    values, vectors = torch.linalg.eigh(covariance)
    floor = values[-1] * (len(values) * torch.finfo(given).eps) ** 2
    real = values > floor.clamp(min=0)
    return (vectors[:, real] / values[real].sqrt()).contiguous()
