"""What knowing images by their bytes costs: `content_hash_speed.py [files] [bytes a file]`.

Files of noise are hashed once, then again with nothing changed; the bar is one second for 10,000
unchanged files. Beside it what else a data set of folders does before its first batch. Predictions,
written before the first run: 0.1 s for 10,000 unchanged files (a stat and a look-up each, 10 us),
and the same whatever their size.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules import ImageFolder
from datamodules.content_hashes import content_hashes


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Median of the times."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def noise(folder: Path, count: int, size: int) -> list[Path]:
    """Writes files of random bytes."""
    folder.mkdir()
    files = [folder / f"{number:06}.bin" for number in range(count)]
    for file in files:
        file.write_bytes(os.urandom(size))
    return files


def thumbnails(folder: Path, count: int) -> None:
    """Writes PNG files of 32x32 noise in two class folders."""
    random = np.random.RandomState(0)
    for number in range(count):
        file = folder / "test" / "ab"[number % 2] / f"{number:06}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.randint(0, 256, (32, 32, 3), dtype=np.uint8)).save(file)


def main(count: int = 10_000, size: int = 20_000) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        files = noise(root / "noise", count, size)
        thumbnails(root / "folder", count)
        time.sleep(2.1)  # younger files are not remembered
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")

        def hashed() -> object:
            return content_hashes(files, root / "noise")

        print(f"{count:,} files of {size:,} bytes")
        print(f"  first time      {seconds(hashed):6.3f} s")
        print(f"  nothing changed {seconds(hashed, 5):6.3f} s  (bar: 1 s for 10,000)")
        listed = ImageFolder(root / "folder").load("test")
        print(f"{count:,} PNG files of 32x32 in an ImageFolder")
        load = seconds(lambda: ImageFolder(root / "folder").load("test"), 3)
        print(f"  listed          {load:6.3f} s")
        print(f"  digest, first   {seconds(listed.digest):6.3f} s")
        print(f"  digest, again   {seconds(listed.digest, 5):6.3f} s")
        setup = seconds(lambda: ImageFolder(root / "folder").setup("test"), 3)
        print(f"  set up          {setup:6.3f} s  (with every file decoded once)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
