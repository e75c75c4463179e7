"""Accuracy under our corruptions and `imagecorruptions`': `python peer_corruptions.py [folder]`.

The peer's images of the lossless CIFAR-10 test images are written in the layout of CIFAR-10-C, and
read as any prepared set is. ResNet-20 answers them and those that are made here with the same
constants, ImageNet's (the peer has no others); each cell is paired image by image (exact McNemar
test, Holm over the cells). Bar, set before the first run: among corruptions whose operators are
comparable no cell differs significantly, and the mean over cells is within 1 point. The peer's
motion blur (and snow, which uses it), elastic transform, pixelate and frost are other operators
than those of the published sets, which ours follow: they are shown and not counted.
"""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
from corruption_speed import peer
from models import CACHE, SHARED

from callbacks import Budget, CorruptionProbe, Probe
from callbacks.corruption import CORRUPTIONS
from callbacks.corruption.stored import stored_probes
from callbacks.reductions import compare
from datamodules import CIFAR10, Prepared
from lightning_modules import Classifier, load_classifier

OTHER_OPERATORS = ("motion_blur", "snow", "elastic_transform", "pixelate", "frost")


def written(folder: Path) -> Path:
    """Writes what is not there yet of the peer's images."""
    folder.mkdir(parents=True, exist_ok=True)
    images = CIFAR10(root=SHARED / "cifar10").images("test")
    assert images.index.tolist() == list(range(len(images)))  # a row is the official number
    batch = images.__getitems__(list(range(len(images))))
    np.save(folder / "labels.npy", batch.label.numpy())
    missing = [name for name in CORRUPTIONS if not (folder / f"{name}.npy").is_file()]
    corrupt = peer() if missing else None
    for name in missing:
        np.random.seed(0)  # the peer draws from the global generator
        pictures = batch.image.movedim(1, -1).numpy()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it works round
            made = [corrupt(one, s, name) for s in range(1, 6) for one in pictures]  # type: ignore[misc]
        np.save(folder / f"{name}.npy", np.stack(made).astype(np.uint8))
    return folder


def rows(data: Prepared, classifier: Classifier, probes: list[Probe]) -> pd.DataFrame:
    """Of one pass."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = L.Trainer(accelerator="cpu", devices=1, callbacks=[*probes], **quiet)  # type: ignore[arg-type]
    trainer.test(classifier, data, verbose=False)
    return pd.concat([probe.rows for probe in probes])


def table(folder: Path) -> pd.DataFrame:
    """One line a cell: accuracies in per cent, their difference and its p-value."""
    (file,) = (SHARED / "weights").glob("resnet20-*.th")
    data = Prepared(folder, clean=CIFAR10(root=SHARED / "cifar10"))
    classifier = load_classifier(f"checkpoint:{file}", arch="cifar_resnet20")
    data.adopt(classifier.preprocessing)
    theirs = rows(data, classifier, stored_probes(data, Budget()))
    here: list[Probe] = [CorruptionProbe(CORRUPTIONS[n](), constants_for=224) for n in CORRUPTIONS]
    ours = rows(data, classifier, here)
    counted = ~ours["setting"].isin(OTHER_OPERATORS)
    parts = [compare(theirs, pd.DataFrame(ours[those])) for those in (counted, ~counted)]
    return pd.concat([parts[0].assign(counted=True), parts[1].assign(counted=False)])


def lines(cells: pd.DataFrame) -> Iterator[str]:
    """A line a corruption: points that ours leaves more at each severity, `*` where p < .05."""
    for name, part in cells.groupby("setting", sort=False):
        points = [
            f"{100 * d:+.1f}{'*' if p < 0.05 else ''}"
            for d, p in zip(part["difference"], part["p_holm"], strict=True)
        ]
        told = " (other operator)" if name in OTHER_OPERATORS else ""
        mean = 100 * part["difference"].mean()
        yield f"| {name}{told} | {' | '.join(points)} | {mean:+.2f} | {part['p_holm'].min():.2g} |"


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else CACHE / "CIFAR-10-imagecorruptions"
    cells = table(written(folder))
    print("| points, ours - imagecorruptions | 1 | 2 | 3 | 4 | 5 | mean | least p (Holm) |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print(*lines(cells), sep="\n")
    same = cells[cells["counted"]]
    print(
        f"\n{len(same)} comparable cells of {same['n'].min():,} images: "
        f"{int((same['p_holm'] < 0.05).sum())} significant, mean difference "
        f"{100 * same['difference'].mean():+.2f} points, largest "
        f"{100 * np.abs(same['difference']).max():.1f}"
    )
