"""Finds files that are no images before a long run meets them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import torch

from datamodules.errors import UserError
from datamodules.images import FileImages, decoded


def readable(
    images: FileImages, on_corrupt: Literal["refuse", "skip"]
) -> tuple[FileImages, tuple[str, ...]]:
    """Decodes every file once and leaves out, or refuses, those that cannot be read.

    Args:
        images: files to be read.
        on_corrupt: "refuse" raises, "skip" leaves out.

    Returns:
        The readable images, with their old indices, and the names of the others.

    Raises:
        UserError: a file is missing, empty or corrupt, and is not to be skipped.
    """
    with ThreadPoolExecutor() as threads:
        reasons = list(threads.map(_reason, images.files))
    bad = [(file, reason) for file, reason in zip(images.files, reasons, strict=True) if reason]
    if not bad:
        return images, ()
    names = tuple(file.relative_to(images.root).as_posix() for file, _ in bad)
    if on_corrupt == "refuse":
        shown = "\n".join(
            f"  {name}: {reason}" for name, (_, reason) in zip(names[:5], bad, strict=False)
        )
        more = f"\n  and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise UserError(
            f"{len(bad)} of {len(images)} files in {str(images.root)!r} are no images:\n{shown}{more}\n"
            "Mend them, or leave them out with `--data.on_corrupt skip` (they are recorded)."
        )
    good = torch.tensor([reason is None for reason in reasons])
    return images.subset(good.nonzero().squeeze(1)), names


def _reason(file: Path) -> str | None:
    """What is wrong with a file; None when it decodes."""
    try:
        if file.stat().st_size == 0:
            return "empty"
        decoded(file)
    except FileNotFoundError:
        return "missing"
    except (RuntimeError, OSError, ValueError):
        return "corrupt"
    return None
