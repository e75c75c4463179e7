"""Certified lower bounds of robust accuracy: what no attack within the radius can change.

An attack tells how many images it broke, which bounds robust accuracy from above; these bound it
from below. The truth lies between.
"""

from callbacks.adversarial.certified.margin_bounds import Crown, IntervalBounds
from callbacks.adversarial.certified.probe import CertifiedProbe, SmoothingProbe
from callbacks.adversarial.certified.smoothing import Smoothing

__all__ = ["CertifiedProbe", "Crown", "IntervalBounds", "Smoothing", "SmoothingProbe"]
