"""What keeps adversarial images in a pass, writes them as PNG, and judges what was written."""

import json
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from callbacks.adversarial.minimum_norm.nearest import measure
from callbacks.adversarial.minimum_norm.probe import MinimumNormProbe
from callbacks.adversarial.pictures.eight_bit import eight_bit
from callbacks.adversarial.pictures.png import CHANNELS, read_png, write_png
from callbacks.adversarial.pictures.store import PictureStore
from callbacks.adversarial.probe import AdversarialProbe
from callbacks.adversarial.spatial.probe import SpatialProbe
from callbacks.adversarial.universal.probe import UniversalProbe
from callbacks.leave_no_trace import leave_no_trace
from callbacks.measurement import Samples, Setting
from callbacks.probe import Probe
from callbacks.results import records
from callbacks.rows import outcome_columns
from datamodules.errors import UserError
from lightning_modules.classifier import Classifier

_SHOWN = 4
"""Pictures of an attack that its gallery has at most."""


class AdversarialPictures(L.Callback):
    """Keeps of every attack and radius the first images that it broke, by sample index.

    They are caught while the attack runs; those that are not at hand, because their rows are of an
    earlier run, are attacked again, which gives the same. At the end they are rounded to 8 bit, see
    `eight_bit`, written as PNG, read back from disk, and the model is asked again. The originals
    are rounded, written and judged too: what errs there errs by rounding alone.

    Args:
        probes: of any kind; those that attack images are watched. They stand before this.
        count: images of every attack and radius at most; 0 keeps none.
        folder: for the files and `index.json`; what is in it goes.
    """

    def __init__(self, probes: Sequence[Probe], count: int, folder: Path) -> None:
        if count < 0:
            raise UserError(f"Expected `adversarials` to be at least 0, but got {count}.")
        attacks = (AdversarialProbe, MinimumNormProbe)
        self.probes = [probe for probe in probes if count and isinstance(probe, attacks)]
        self.count, self.folder = count, folder
        self.tables: dict[str, pd.DataFrame] = {}
        """One line a picture, by the name of the probe."""
        self.shown: dict[str, dict[str, np.ndarray]] = {}
        """Of each probe some that still fool the model, `(n, H, W, C)` uint8 `clean` and
        `adversarial`, in the order of the lines whose `shown` is 1."""
        self.notes: list[str] = _said_of_others(probes) if count else []
        self._stores: dict[tuple[str, Setting], PictureStore] = {}

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Opens what earlier runs have kept, and listens."""
        for probe in self.probes:
            for setting in probe.settings():
                store = PictureStore(self.count, probe.kept_in(setting))
                store.load()
                self._stores[probe.name, setting] = store
            probe.listen(partial(self._take, probe))

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes and judges on the first process what all of them have caught."""
        assert isinstance(pl_module, Classifier)
        for store in self._stores.values():
            store.save(str(trainer.global_rank))
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            self._write(trainer, pl_module)

    def _write(self, trainer: L.Trainer, pl_module: Classifier) -> None:
        """All files, tables and galleries."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for probe in self.probes:
            self._finish(probe, trainer, pl_module)
        if self.tables:
            lines = pd.concat(self.tables.values()).to_dict("records")
            (self.folder / "index.json").write_text(json.dumps(lines, indent=1))

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listens no longer."""
        for probe in self.probes:
            probe.listen(None)

    def _take(
        self, probe: Probe, setting: Setting, samples: Samples, image: Tensor, logits: Tensor
    ) -> None:
        """Keeps, of the images that an attack returned, the first that it broke."""
        columns = outcome_columns(logits, samples.label)
        broken = (samples.correct & ~columns["correct"]).nonzero().squeeze(1)
        store, index = self._stores[probe.name, setting], samples.index[broken].tolist()
        places = store.wanted(index)
        if not places or image.shape[1] not in CHANNELS:
            return
        rows = broken[places]
        assert isinstance(probe, AdversarialProbe | MinimumNormProbe)
        rounded = eight_bit(image[rows], samples.image[rows], probe.norm, setting.value)
        store.add([index[place] for place in places], rounded)

    def _finish(
        self, probe: AdversarialProbe | MinimumNormProbe, trainer: L.Trainer, module: Classifier
    ) -> None:
        """The files, table and gallery of one probe."""
        lines: list[dict[str, Any]] = []
        for setting in probe.settings():
            store = self._stores[probe.name, setting]
            wanted = _first_broken(probe.rows, setting, self.count)
            store.load()
            if missing := [index for index in wanted["index"] if index not in store.found]:
                probe.measure_again(trainer, module, missing, setting)
                store.save(str(trainer.global_rank))
            there = wanted.loc[wanted["index"].isin(list(store.found))]
            if lost := len(wanted) - len(there):
                self.notes.append(
                    f"{probe.title}, {setting}: {lost} of {len(wanted)} adversarial images could "
                    "not be saved (pictures have 1 or 3 channels, and a model that answers at "
                    "random may not err again)."
                )
            lines += [self._written(probe, setting, row, store) for row in records(there)]
        if not lines:
            return
        table = pd.DataFrame(lines)
        table = pd.concat([table, self._judged(probe, trainer, module, table)], axis=1)
        self.tables[probe.name], self.shown[probe.name] = self._gallery(probe, table)

    def _written(
        self,
        probe: AdversarialProbe | MinimumNormProbe,
        setting: Setting,
        row: dict[str, Any],
        store: PictureStore,
    ) -> dict[str, Any]:
        """Writes one picture and its original; returns what is known of them so far."""
        index = int(row["index"])
        picture = store.found[index]
        file = f"{probe.name}/{setting.severity}/{index}.png"
        clean = f"clean/{index}.png"
        changed, origin = (torch.from_numpy(part)[None] / 255.0 for part in picture[:2])
        return {
            "probe": probe.name, "setting": setting.name, "severity": setting.severity,
            "epsilon": setting.value, "norm": probe.norm, "index": index,
            "file": file, "sha256": write_png(picture.image, self.folder / file),
            "clean_file": clean, "clean_sha256": write_png(picture.origin, self.folder / clean),
            "distance": float(measure(changed, origin, probe.norm)),
            "distance_before": float(row.get("minimum_distance", row["distance"])),
            "drawn": int(picture.drawn), "clean_rounded": int(picture.rounded),
            "label": int(row["label"]), "prediction": int(row["prediction"]),
            "confidence": float(row["confidence"]),
        }  # fmt: skip

    def _judged(
        self, probe: Probe, trainer: L.Trainer, module: Classifier, table: pd.DataFrame
    ) -> pd.DataFrame:
        """Asks the model again at what is on disk; whoever errs at the original was not fooled."""
        label = torch.tensor(table["label"].to_numpy())
        answers = {}
        for stem in ("clean_", ""):
            image = read_png([self.folder / file for file in table[f"{stem}file"]])
            with leave_no_trace(module, "Judging adversarial images again"):
                logits = probe.ask(image.to(module.device)).cpu()
            columns = outcome_columns(logits, label)
            for name in ("prediction", "confidence", "correct"):
                answers[f"png_{stem}{name}"] = columns[name].numpy()
        found = pd.DataFrame(answers)
        fools = found["png_clean_correct"] & ~found["png_correct"]
        named = {
            f"{name}_class": [module.classes[i] for i in classes]
            for name, classes in (
                ("true", table["label"]),
                ("png_clean", found["png_clean_prediction"]),
                ("png", found["png_prediction"]),
            )
        }
        flags = {name: found[name].astype(int) for name in ("png_clean_correct", "png_correct")}
        return found.assign(**flags, **named, fools=fools.astype(int))

    def _gallery(
        self, probe: AdversarialProbe | MinimumNormProbe, table: pd.DataFrame
    ) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
        """Marks the pictures that are shown: the first that fool, at the usual radius or below."""
        usual = probe.headline if probe.headline is not None else np.inf
        inside = table["epsilon"] <= usual * (1 + 1e-6)
        fools = table.loc[(table["fools"] == 1) & (inside if inside.any() else True)]
        largest = fools.loc[fools["epsilon"] == fools["epsilon"].max()].head(_SHOWN)
        table = table.assign(shown=table.index.isin(largest.index).astype(int))
        pictures = list(self._read(largest))
        if not pictures:
            return table, {}
        clean, changed = (np.stack(side) for side in zip(*pictures, strict=True))
        return table, {"clean": clean, "adversarial": changed}

    def _read(self, table: pd.DataFrame) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for clean, changed in zip(table["clean_file"], table["file"], strict=True):
            images = 255 * read_png([self.folder / clean, self.folder / changed])
            both = images.round().byte().movedim(1, -1).numpy()
            yield both[0], both[1]


def _said_of_others(probes: Sequence[Probe]) -> list[str]:
    """Names the attacks whose images are not saved, although somebody may look for them."""
    others = [one.title for one in probes if isinstance(one, SpatialProbe | UniversalProbe)]
    told = "adversarial images are saved of attacks within a ball round each image alone."
    return [f"{', '.join(others)}: {told}"] if others else []


def _first_broken(rows: pd.DataFrame, setting: Setting, count: int) -> pd.DataFrame:
    """The rows of the first images that are right undisturbed and wrong under a setting."""
    here = (rows["severity"] == setting.severity) & (rows["value"] == setting.value)
    broken = here & (rows["clean_correct"] == 1) & (rows["correct"] == 0)
    return rows.loc[broken].sort_values("index").head(count)
