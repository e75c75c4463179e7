"""What corrupting costs, and how near it is: `python tests/benchmarks/corruption_speed.py [name]`.

Processor time per image of all five severities, beside `imagecorruptions`, which makes one image at
a time, in one process with one thread. Predictions, written before the first run: 5 times as fast
on 32 px, twice on 224 px, glass blur 50 times; the noises and JPEG no faster (numpy and libjpeg are
compiled, and here every number belongs to its sample).
"""

import contextlib
import importlib.util
import io
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch

from callbacks.corruption import CORRUPTIONS
from callbacks.randomness import Draw

_SIZES = {32: 128, 224: 8}
"""Images a batch."""
_PEERS = 2
"""Images that the peer is timed on."""
_SAME = (
    "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression",
    "gaussian_blur", "saturate",
)  # fmt: skip


def peer() -> Callable[..., np.ndarray]:
    """`imagecorruptions.corrupt`, with the names that it misses in newer numpy, scipy, skimage."""
    import skimage.filters

    def gaussian(image: np.ndarray, sigma: float, multichannel: bool = False, **more: object):  # noqa: ANN202
        axis = -1 if multichannel else None
        return skimage.filters.gaussian(image, sigma=sigma, channel_axis=axis, **more)

    np.float_ = np.float64  # type: ignore[attr-defined]
    gone = types.ModuleType("scipy.ndimage.interpolation")
    gone.map_coordinates = scipy.ndimage.map_coordinates  # type: ignore[attr-defined]
    sys.modules[gone.__name__] = gone
    files = types.ModuleType("pkg_resources")
    files.resource_filename = lambda name, path: str(  # type: ignore[attr-defined]
        Path(importlib.util.find_spec(name).origin).parent / path  # type: ignore[union-attr,arg-type]
    )
    sys.modules.setdefault("pkg_resources", files)
    import cv2
    from imagecorruptions import corrupt, corruptions

    cv2.setNumThreads(1)
    corruptions.gaussian = gaussian
    return corrupt


def seconds(work: Callable[[], object], images: int) -> float:
    """Processor time per image: other programs on the machine do not count."""
    start = time.process_time()
    work()
    return (time.process_time() - start) / images


def case(corrupt: Callable[..., np.ndarray], name: str, side: int) -> tuple[float, float, str]:
    """Seconds an image of both, and the share of values that agree where nothing is random."""
    count = _SIZES[side]
    picture = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    image = torch.from_numpy(picture).movedim(-1, 1).float() / 255
    corruption, draw = CORRUPTIONS[name](), Draw(0, torch.arange(count))

    def ours() -> list[torch.Tensor]:
        return [corruption(image, severity, draw, 224) for severity in range(1, 6)]

    def theirs(pictures: np.ndarray) -> list[np.ndarray]:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it works round
            return [corrupt(one, severity, name) for one in pictures for severity in range(1, 6)]

    near = f"{_near(ours(), theirs(picture[:1])):.2%}" if name in _SAME else "random"
    return seconds(ours, count), seconds(lambda: theirs(picture[:_PEERS]), _PEERS), near


def rows(wanted: str) -> None:
    corrupt = peer()
    for side in _SIZES:
        total = np.zeros(2)
        for name in CORRUPTIONS:
            if wanted in name:
                took, peers, near = case(corrupt, name, side)
                total += took, peers
                print(_line(f"{name}, {side} px", took, peers, near), flush=True)
        print(_line(f"**all, {side} px**", *total, ""), flush=True)


def _near(ours: list[torch.Tensor], theirs: list[np.ndarray]) -> float:
    """Share of the first image's values that are within one grey level."""
    pairs = zip(ours, theirs, strict=True)
    apart = [abs((255 * o[0]).round().movedim(0, -1).numpy() - t.astype(int)) for o, t in pairs]
    return float(np.mean(np.stack(apart) <= 1))


def _line(what: str, ours: float, theirs: float, near: str) -> str:
    ratio = theirs / ours
    return f"| {what} | {1000 * ours:.2f} | {1000 * theirs:.2f} | {ratio:.1f} | {near} |"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"CPU, 1 thread, torch {torch.__version__}\n")
    print("| five severities | ms an image | imagecorruptions | times as fast | within 1 level |")
    print("| --- | --- | --- | --- | --- |")
    rows(sys.argv[1] if len(sys.argv) > 1 else "")
