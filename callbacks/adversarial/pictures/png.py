"""Pictures as PNG files, which lose nothing of 8 bits."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CHANNELS = (1, 3)
"""That a picture can have: grey or RGB."""


def write_png(picture: np.ndarray, file: Path) -> str:
    """Writes `(C, H, W)` uint8, of one or three channels, and returns the file's SHA-256."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)).save(file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def read_png(files: Sequence[Path]) -> Tensor:
    """Reads files of one size as images `(N, C, H, W)` float32 in [0, 1]."""
    pictures = [np.array(Image.open(file)) for file in files]
    stacked = torch.from_numpy(np.stack(pictures))
    stacked = stacked[:, None] if stacked.ndim == 3 else stacked.movedim(-1, 1)
    return stacked.float() / 255
