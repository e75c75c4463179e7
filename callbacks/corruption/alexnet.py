"""Errors in units of AlexNet's on ImageNet-C, as the field tells them."""

import numpy as np

from callbacks.statistics import Interval, mean

ERRORS: dict[str, tuple[float, float, float, float, float]] = {
    "gaussian_noise": (0.69528, 0.82542, 0.93554, 0.98138, 0.99452),
    "shot_noise": (0.71224, 0.85108, 0.93574, 0.98182, 0.99146),
    "impulse_noise": (0.78374, 0.89808, 0.94870, 0.98720, 0.99548),
    "defocus_blur": (0.65624, 0.73202, 0.85036, 0.91364, 0.94714),
    "glass_blur": (0.64308, 0.75054, 0.88806, 0.91622, 0.93344),
    "motion_blur": (0.58430, 0.70048, 0.82108, 0.89750, 0.92638),
    "zoom_blur": (0.70008, 0.76992, 0.80784, 0.84198, 0.87198),
    "snow": (0.71726, 0.88392, 0.86468, 0.91870, 0.94952),
    "frost": (0.61390, 0.79734, 0.88790, 0.89942, 0.93430),
    "fog": (0.67474, 0.76050, 0.84378, 0.87260, 0.94500),
    "brightness": (0.45140, 0.48502, 0.54048, 0.62166, 0.72440),
    "contrast": (0.64548, 0.76150, 0.88874, 0.97760, 0.99270),
    "elastic_transform": (0.52596, 0.70116, 0.55686, 0.64076, 0.80554),
    "pixelate": (0.52218, 0.54620, 0.73728, 0.87092, 0.91262),
    "jpeg_compression": (0.51002, 0.54718, 0.57294, 0.65458, 0.74778),
}
"""Top-1 error of torchvision's AlexNet at severities 1 to 5, on 50,000 images."""
CLEAN_ERROR = 0.4348
SIDE = 224
"""Image side in pixels whose constants ImageNet-C was made with."""
CLASSES = 1000


def mean_corruption_error(wrong: np.ndarray) -> Interval:
    """Mean corruption error (mCE) in units of AlexNet's, 1 = AlexNet.

    CE of a corruption is the sum of the errors over severities over that of AlexNet, mCE the mean
    of the CE (Hendrycks & Dietterich 2019, 1903.12261). It is linear in the answers, so every image
    has a share and the interval is that of their mean.

    Args:
        wrong: `(15, 5, N)` whether the answer is wrong, corruptions in the order of `ERRORS`.
    """
    weight = 1 / np.array([sum(errors) for errors in ERRORS.values()]) / len(ERRORS)
    shares = np.einsum("c,csn->n", weight, wrong)
    return mean(shares, bounds=(0.0, float(5 * weight.sum())))


def relative_corruption_error(wrong: np.ndarray, clean_wrong: np.ndarray) -> Interval:
    """Relative mCE: how much the error grows, in units of how much AlexNet's does.

    Args:
        wrong: `(15, 5, N)`, see `mean_corruption_error`.
        clean_wrong: `(N,)` whether the answer to the undisturbed image is wrong.
    """
    growth = np.array([sum(errors) - 5 * CLEAN_ERROR for errors in ERRORS.values()])
    weight = 1 / growth / len(ERRORS)
    shares = np.einsum("c,csn->n", weight, wrong - clean_wrong)
    most = float(5 * weight.sum())
    return mean(shares, bounds=(-most, most))
