"""Measures a model whose weights or neurons are damaged, in the one pass over the test data."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar, Literal

import lightning as L
import torch
from torch import Tensor, nn
from typing_extensions import Self  # Python 3.10 has none

from callbacks.budget import Budget
from callbacks.damage.activation_fault import ActivationFault, FaultyNeurons
from callbacks.damage.bit_flip import BitDamage
from callbacks.damage.bit_flip_attack import BitFlipAttack
from callbacks.damage.exchange import check_exchangeable
from callbacks.damage.formats import format_of
from callbacks.damage.kind import Damage, is_drawn, steps
from callbacks.damage.prefix import Prefix
from callbacks.damage.pruning import Pruned
from callbacks.damage.reach import reach_note
from callbacks.damage.record import Record
from callbacks.damage.selection import Selection, owner_of
from callbacks.damage.silent_errors import SilentErrors
from callbacks.damage.variant import answered_with, with_aliases
from callbacks.damage.zero import Zero
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from lightning_modules.black_box import require_layers
from lightning_modules.chunks import padded
from lightning_modules.classifier import Classifier

_KEPT = 2**30
"""Bytes of damaged weights that are kept between pools of images; beyond, they are made again."""


class DamageProbe(Probe):
    """Accuracy, loss and silent errors of K damaged variants, drawn once, on the same images.

    Variants go through `functional_call`: the model itself is never edited. Layers before the first
    damaged one are computed once for all variants (where that is verified to be bit-equal).

    Columns of its own: `draw`, `sdc` (top class differs from the undamaged model's), `sdc5` (is not
    among its first five), `due` (an answer that is not finite), `confidence_shift`.

    Args:
        damage: what is done.
        severities: in the damage's unit; default: its usual ones.
        draws: variants of each severity; one where nothing is drawn.
        by: "severity" draws a curve; "layer" damages one layer at a time with the first severity,
            "bit" one bit position at a time.
        label: name in tables and metric keys; default: the damage's.
        limit: see `Probe`.
        chunk: see `Probe`.
        pool: see `Probe`.
        seed: see `Probe`.
    """

    family: ClassVar[str] = "damage"
    extras: ClassVar[tuple[str, ...]] = ("draw", "sdc", "sdc5", "due", "confidence_shift")

    def __init__(
        self,
        damage: Damage | ActivationFault,
        severities: Sequence[float] | None = None,
        draws: int = 3,
        by: Literal["severity", "layer", "bit"] = "severity",
        label: str | None = None,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        if draws < 1:
            raise UserError(f"Expected `draws` to be at least 1, but got {draws}.")
        if by == "bit" and not isinstance(damage, BitDamage):
            raise UserError(f"Only damage of bits can be measured by bit, not {damage.name!r}.")
        self.damage, self.by, self.label = damage, by, label
        self.draws = draws if is_drawn(damage) else 1
        asked = damage.severities if severities is None else severities
        self.severities = tuple(dict.fromkeys(asked))  # named twice it is measured once
        self.layers: list[str] = []
        self.note = ""
        self._made: dict[Setting, Any] = {}
        self._prefix: tuple[tuple[str, ...], Prefix | None] | None = None
        self._example: tuple[Tensor, Tensor] | None = None

    @classmethod
    def within(cls, budget: Budget, damage: type = Zero, **options: Any) -> Self:
        """Makes a probe of a damage with a preset's draws.

        Args:
            budget: of a preset.
            damage: its class.
            **options: of the constructor, such as `severities` and `by`.
        """
        return super().within(budget, **{"draws": budget.draws, **options, "damage": damage()})

    @property
    def name(self) -> str:
        """The label, or the damage's name."""
        of = {"severity": "", "layer": "_by_layer", "bit": "_by_bit"}[self.by]
        return self.label or f"{self.damage.name}{of}"

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        return self.damage.title + {"severity": "", "layer": " by layer", "bit": " by bit"}[self.by]

    @property
    def unit(self) -> str:  # type: ignore[override]
        """Of the horizontal axis."""
        where = {"layer": "layer, first to last", "bit": "bit, 0 = least significant"}
        return where.get(self.by, self.damage.unit)

    @property
    def headline(self) -> float | None:
        """The middle severity, mild to severe; layers and bits are no severities."""
        return self.severities[len(self.severities) // 2] if self.by == "severity" else None

    @property
    def places(self) -> dict[str, str]:
        """The layers, or the bits, where these are what is damaged one at a time."""
        if self.by == "bit":
            return {f"{bit}": f"{bit}" for bit, _ in self._grid()}
        names = [layer.removeprefix("model.") for layer in self.layers]
        return {f"{place}": name for place, name in enumerate(names, 1)}

    @property
    def algorithm(self) -> str:
        """The damage with its parameters, and the grid where steps are positions in it."""
        grid = f", {len(self.layers)} layers: {' '.join(self.layers)}" if self.layers else ""
        at = f", severity {self.severities[0]:g}" if self.by != "severity" else ""
        return f"{self.damage!r}{at}, {self.draws} draws{grid}"

    @property
    def reported(self) -> tuple[str, ...]:
        """Rates of silent and of detected errors."""
        return ("sdc", "due")

    def settings(self) -> tuple[Setting, ...]:
        """Every severity (or layer, or bit) with every draw."""
        return tuple(
            Setting(self.name, step, value, draw)
            for step, value in self._grid()
            for draw in range(self.draws)
        )

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Learns the layers, and takes images for damage that is aimed."""
        require_layers(classifier, f"The damage {self.name!r}")
        names = Selection().names(classifier) if self.by == "layer" else []
        self.layers = list(dict.fromkeys(map(owner_of, names)))
        self._made, self._prefix = {}, None
        if isinstance(data, ImageDataModule):
            batch = data.taken("test", 256)
            self._example = batch.image, batch.label
        one = None if self._example is None else self._example[0][:1].to(classifier.device)
        if one is not None and not isinstance(self.damage, ActivationFault):
            check_exchangeable(classifier, one)
        self.note = reach_note(classifier, self.damage, one)
        for step, value in self._grid():  # mistakes are told before anything runs
            if isinstance(self.damage, BitFlipAttack):
                self.damage.check(classifier, value)
            elif not isinstance(self.damage, ActivationFault):
                self._record(classifier, Setting(self.name, step, value))

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Asks every variant about every chunk; see `Probe`."""
        start, before = time.perf_counter(), model.forwards
        answers = self._answers(model, samples.image, settings)
        seconds = (time.perf_counter() - start) / len(settings) / max(len(samples), 1)
        one = samples.label.new_ones(len(samples))
        assert model.forwards - before == len(samples) * len(settings)
        errors = SilentErrors(samples.logits)
        for setting in settings:
            logits = answers[setting]
            extras = {
                "draw": one * setting.draw, "forwards": one, "backwards": 0 * one,
                **errors(logits), "seconds": one * seconds,
            }  # fmt: skip
            yield Measurement(setting, logits, extras)

    # -- variants --------------------------------------------------------------------------------

    def _answers(
        self, model: Queries, image: Tensor, settings: Sequence[Setting]
    ) -> dict[Setting, Tensor]:
        """Logits of every variant; chunk by chunk, so that the prefix is kept for one only."""
        classifier, parts = model.model, {setting: [] for setting in settings}
        assert isinstance(classifier, nn.Module)
        variants = {setting: self._variant(classifier, setting, image) for setting in settings}
        prefix = self._shared_prefix(model, classifier, variants, image)
        for chunk in image.split(self.chunk):
            if prefix:
                with model.context():
                    prefix.record(padded(chunk, self.chunk))
            with prefix.replayed() if prefix else nullcontext():
                for setting, variant in variants.items():
                    with _asked(model, variant, classifier):
                        parts[setting].append(model(chunk))
        return {setting: torch.cat(answers) for setting, answers in parts.items()}

    def _variant(self, classifier: nn.Module, setting: Setting, image: Tensor) -> Any:
        """A damaged state or faulty neurons; made once, kept while there is room."""
        if setting not in self._made:
            record = self._record(classifier, setting)
            record = record.record if isinstance(record, Pruned) else record
            if isinstance(record, Record):
                states = [one for one in self._made.values() if isinstance(one, dict)]
                if sum(tensor.nbytes for one in states for tensor in one.values()) > _KEPT:
                    self._made.clear()
                record = with_aliases(classifier, record.damaged(classifier.state_dict()))
            self._made[setting] = record
        return self._made[setting]

    def _record(self, classifier: nn.Module, setting: Setting) -> Record | Pruned | FaultyNeurons:
        damage, severity = self.damage, setting.value
        if self.by != "severity":
            severity = self.severities[0]
        if self.by == "layer":
            selection = Selection(layers=(self.layers[setting.severity - 1],), own=True)
            damage = replace(damage, selection=selection)  # type: ignore[type-var]
        if self.by == "bit":
            damage = replace(damage, bit=setting.severity)  # type: ignore[type-var]
        image, label = self._example or (None, None)
        device = next(classifier.parameters()).device
        if image is not None and label is not None:
            image, label = image.to(device), label.to(device)
        with torch.no_grad():
            return damage(classifier, severity, self.seed * 1000 + setting.draw, image, label)

    def _shared_prefix(
        self, model: Queries, classifier: nn.Module, variants: dict[Setting, Any], image: Tensor
    ) -> Prefix | None:
        """The cached prefix, if the damage leaves one and it is bit-equal."""
        if not all(isinstance(one, dict) for one in variants.values()):
            return None
        damaged = tuple(sorted({name for one in variants.values() for name in one}))
        if not damaged:
            return None
        if self._prefix is None or self._prefix[0] != damaged:
            self._prefix = damaged, self._verified(model, classifier, damaged, image)
        return self._prefix[1]

    def _verified(
        self, model: Queries, classifier: nn.Module, damaged: Sequence[str], image: Tensor
    ) -> Prefix | None:
        """A prefix for these parameters, once it is found to change nothing."""
        probe = padded(image[: self.chunk], self.chunk)
        with model.context():
            prefix = Prefix(classifier, damaged, probe[:1])
            if len(prefix) and not prefix.verify(probe):
                told = f"{self.name}: the layers before the damage were computed every time."
                self.note = f"{self.note} {told}".strip()
        return prefix if len(prefix) else None

    def _grid(self) -> list[tuple[int, float]]:
        if self.by == "layer":
            return [(i + 1, float(i + 1)) for i in range(len(self.layers))]
        if self.by == "bit":
            bits = format_of(self.damage.format).bits  # type: ignore[union-attr]
            return [(bit, float(bit)) for bit in range(bits)]
        return list(zip(steps(self.severities, self.damage.unit), self.severities, strict=True))


def _asked(model: Queries, variant: Any, classifier: nn.Module) -> AbstractContextManager:
    """Lets queries go to a variant."""
    if isinstance(variant, FaultyNeurons):
        return variant.installed(classifier)
    return model.answered_by(lambda image: answered_with(classifier, variant, image))
