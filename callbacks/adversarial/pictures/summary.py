"""How many adversarial images are still so as 8-bit PNG files, as a number and a sentence."""

import zlib
from collections.abc import Sequence

import pandas as pd

from callbacks.family import Number
from callbacks.results import ProbeResult
from callbacks.statistics import mean, rate
from callbacks.words import percent, with_interval


def saved_as_png(results: Sequence[ProbeResult]) -> tuple[dict[str, Number], list[str]]:
    """Over all attacks and radii: how many of the saved pictures still fool the model.

    Args:
        results: of the adversarial family; those without pictures are passed over.

    Returns:
        The number `adversarial_png_fooled` and a sentence; nothing where nothing was saved.
    """
    tables = [result.pictures for result in results if len(result.pictures)]
    if not tables:
        return {}, []
    table = pd.concat(tables)
    n, k = len(table), int(table["fools"].sum())
    # The pictures of one image go together.
    of_images = pd.Series(table.groupby("index")["fools"].mean())
    # As the table of single attacks has it, where there is nothing to average.
    share = rate(k, n) if n == len(of_images) else mean(of_images, bounds=(0, 1))
    alone = int((table["png_clean_correct"] == 0).sum())
    told = (
        f"Of {n:,} adversarial images that were saved as 8-bit PNG and read back, {k:,} still fool "
        f"the model: {percent(share.value)} % on average over {len(of_images):,} images "
        f"({with_interval(share)})."
    )
    if alone:
        told += f" {alone:,} do not count, because their originals are wrong once rounded."
    note = f"{k:,} of {n:,} pictures of {len(of_images):,} images"
    asked = f"{zlib.crc32(of_images.index.to_numpy('int64').tobytes()):08x}"
    number = Number("Still adversarial as PNG", share, "%", note, asked, card=False)
    return {"adversarial_png_fooled": number}, [told]
