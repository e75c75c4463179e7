"""Measures whether an answer stays the same over frames that hardly differ."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.budget import Budget
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from callbacks.rows import is_answer
from callbacks.stability import sequence as frames_of
from callbacks.stability.sequences import Translate
from datamodules.errors import UserError


class StabilityProbe(Probe):
    """Flip rate and accuracy over the frames of a sequence, against the size of its steps.

    A row is an image in one frame. Columns of its own: `draw`, the number of the frame, and `flip`,
    how often the answer to the image changes over the sequence, equal in all of its rows.

    Args:
        sequence: how frames differ.
        strengths: sizes of the step between frames, as multiples of the sequence's own.
        frames: of a sequence; the image itself is the middle one.
        label: name in tables and metric keys; default: `stability_` and the sequence's.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "stability"
    unit: ClassVar[str] = "steps between frames"
    extras: ClassVar[tuple[str, ...]] = ("draw", "flip")

    def __init__(
        self,
        sequence: frames_of.Sequence,
        strengths: Sequence[float] = (1.0, 2.0, 4.0),
        frames: int = 11,
        label: str | None = None,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        if frames < 3 or frames % 2 == 0:
            raise UserError(
                f"Expected `frames` to be odd and at least 3, so that the image is the middle one, "
                f"but got {frames}."
            )
        self.strengths = tuple(sorted(set(strengths)))
        if not self.strengths or not all(0 < s < float("inf") for s in self.strengths):
            raise UserError(f"Expected `strengths` above 0, but got {[*strengths]}.")
        if not 0 < sequence.step < float("inf"):
            raise UserError(f"Expected a finite `step` above 0, but got {sequence!r}.")
        self.sequence, self.frames, self.label = sequence, frames, label

    @classmethod
    def within(
        cls, budget: Budget, sequence: type[frames_of.Sequence] = Translate, **options: Any
    ) -> Self:
        """Makes a probe of a sequence.

        Args:
            budget: of a preset.
            sequence: its class.
            **options: of the constructor, such as `frames`.
        """
        return super().within(budget, **{**options, "sequence": sequence()})

    @property
    def name(self) -> str:
        """The label, or `stability_translate`."""
        return self.label or f"stability_{self.sequence.name}"

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        return f"{self.sequence.title} ({self.sequence.step:g} {self.sequence.unit})"

    @property
    def headline(self) -> float:
        """The sequence's own steps, or those closest to it."""
        return min(self.strengths, key=lambda strength: abs(strength - 1))

    @property
    def reported(self) -> tuple[str, ...]:
        """The flip rate."""
        return ("flip",)

    @property
    def algorithm(self) -> str:
        """The sequence with its step, and how many frames."""
        return f"{self.sequence!r}, {self.frames} frames"

    def settings(self) -> tuple[Setting, ...]:
        """Every strength with every frame, with step 1000·strength."""
        return tuple(
            Setting(self.name, round(1000 * strength), strength, frame)
            for strength in self.strengths
            for frame in range(self.frames)
        )

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Asks about every frame; a sequence of which some are known is asked about whole."""
        for strength in dict.fromkeys(setting.value for setting in settings):
            logits = self._film(model, samples, strength)
            # What is no answer differs from every class, and so does not pass for the first.
            answer = logits.argmax(2).where(
                is_answer(logits.flatten(0, 1)).view(len(logits), -1), -1
            )
            flip = frames_of.flip_rate(answer, self.sequence.independent)
            for setting in settings:
                if setting.value == strength:
                    frame = torch.full_like(samples.label, setting.draw)
                    yield Measurement(setting, logits[setting.draw], {"draw": frame, "flip": flip})

    def _film(self, model: Queries, samples: Samples, strength: float) -> Tensor:
        """Answers `(frames, N, K)`, chunk by chunk, so that one frame of one is in memory."""
        parts = []
        for start in range(0, len(samples), self.chunk):
            chunk = samples.select(slice(start, start + self.chunk))
            parts.append(torch.stack([model(image) for image in self._images(chunk, strength)]))
        return torch.cat(parts, 1)

    def _images(self, samples: Samples, strength: float) -> Iterator[Tensor]:
        steps = frames_of.amounts(self.frames, strength, self.sequence.independent)
        for frame, amount in enumerate(steps):
            still = amount == 0  # the image itself, not looked up anew
            yield (
                samples.image
                if still
                else self.sequence(samples.image, amount, samples.draw, frame)
            )
