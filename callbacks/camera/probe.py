"""Measures a model on what cameras do besides the nineteen corruptions, in the one pass."""

from collections.abc import Mapping
from typing import ClassVar

from callbacks.camera.registry import CAMERAS
from callbacks.corruption import Corruption, CorruptionProbe


class CameraProbe(CorruptionProbe):
    """Accuracy, loss and calibration against severity under one corruption of a camera's.

    As `CorruptionProbe`, but of a family of its own: these corruptions are no part of ImageNet-C
    and never enter its means.
    """

    family: ClassVar[str] = "camera"
    kinds: ClassVar[Mapping[str, type[Corruption]]] = CAMERAS

    @property
    def name(self) -> str:
        """The label, or `camera_rotation`."""
        return self.label or f"camera_{self.corruption.name}"
