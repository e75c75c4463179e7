"""Rotation and translation: a set of images round each one that is no ball."""

from callbacks.adversarial.spatial.probe import SpatialProbe
from callbacks.adversarial.spatial.search import Spatial
from callbacks.adversarial.spatial.turns import Turns, turned

__all__ = ["Spatial", "SpatialProbe", "Turns", "turned"]
