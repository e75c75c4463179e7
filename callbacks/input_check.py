"""Is there a usual way of showing images under which a model is right far more often?

Wrong mean and std cost accuracy without any error. A few hundred labelled images are answered as
they are shown now and under the usual other readings; one that is significantly better is told,
with the flag to type. Nothing is ever chosen here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from callbacks.statistics import holm, mcnemar, rate

ALPHA, MARGIN = 0.01, 0.01
"""A reading is told where Holm's adjusted p is below the first and the gain above the second."""
_LOOKS = ((64, -4), (128, -1), (256, 2), (512, 0))
"""After so many images a reading that is not ahead by so many is given up: it counts as p = 1."""
_CERTAIN, _CLOSE = 1e-8, 8
"""Below this p some reading is better for sure; then those are kept that are so near the best."""
_LIKE = 0.05
"""Above this p two readings are not told apart."""
_CHUNK = 64


@dataclass(frozen=True)
class Reading:
    """One way of turning an image in [0, 1] into what a network takes.

    Args:
        name: in words.
        mean: per channel, or one for all.
        std: the same.
        bgr: blue first.
        flag: what to type for it.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False
    flag: str = ""

    def __call__(self, image: Tensor) -> Tensor:
        """From `(N, C, H, W)` in [0, 1] to what the network takes."""
        mean, std = (image.new_tensor(x)[:, None, None] for x in (self.mean, self.std))
        shown = (image - mean) / std
        return shown.flip(1) if self.bgr else shown

    def same(self, other: "Reading", channels: int) -> bool:
        """Whether both show images of so many channels alike."""
        ours, theirs = ((*_each(r.mean, channels), *_each(r.std, channels)) for r in (self, other))
        near = all(abs(a - b) < 1e-4 for a, b in zip(ours, theirs, strict=True))
        return near and self.bgr == other.bgr


@dataclass(frozen=True)
class InputCheck:
    """What a model says of the same images under several readings.

    Args:
        table: one line a reading, the held one first: `reading flag n gained lost p` and
            `accuracy` with its interval; `n` is smaller where a reading was given up early.
        held: as the model is shown images now.
        better: the best of those that are significantly better; None where there is none.
        as_good: others that are significantly better too, and not told apart from the best.
        logits: `(n, K)` of the best reading, for the images that were used.
        label: `(n,)` of these.
        held_logits: `(n, K)` as the model is shown them now.
    """

    table: pd.DataFrame
    held: Reading
    better: Reading | None
    as_good: tuple[Reading, ...]
    logits: Tensor = field(repr=False)
    label: Tensor = field(repr=False)
    held_logits: Tensor = field(repr=False)

    @property
    def sentence(self) -> str:
        """Names the better reading and its flag; empty where there is none."""
        if self.better is None:
            return ""
        lines = self.table.set_index("reading")
        as_good = ", ".join(f"`{reading.flag}`" for reading in self.as_good)
        others = f" (as good on these images: {as_good})" if as_good else ""
        best, now = lines.loc[self.better.name], lines.loc[self.held.name]
        return (
            f"The model is right for {best['accuracy']:.1%} of {best['n']} images with "
            f"{self.better.name}, and for {now['accuracy']:.1%} as it is shown them now "
            f"({self.held.name}): if it was trained so, say `{self.better.flag}`{others}."
        )


def check_input(
    network: Callable[[Tensor], Tensor],
    held: Reading,
    readings: Sequence[Reading],
    image: Tensor,
    label: Tensor,
) -> InputCheck:
    """Compares readings by paired exact tests against the held one.

    Looks after 64, 128 and 256 images and gives up readings that are not ahead, so that a sound
    model costs little; the decision is taken once, at the end. BGR is tried for the held and for
    the best other reading. False alarms are rarer than `ALPHA` (simulated: see the tests).

    Args:
        network: from what it takes to logits `(n, K)`; in eval mode.
        held: as it is shown images now.
        readings: others, in RGB.
        image: `(N, C, H, W)` in [0, 1], of the size that the network takes; 512 are used at most.
        label: `(N,)`.
    """
    mixed = torch.randperm(len(label), generator=torch.Generator().manual_seed(0))
    image, label = image[mixed.to(image.device)], label[mixed.to(label.device)]
    channels = image.shape[1]
    others: list[Reading] = []
    for reading in readings:
        if not any(reading.same(known, channels) for known in (held, *others)):
            others.append(reading)
    race = _Race(network, image, label, held)
    colour = (
        bool(others) and channels == 3 and not torch.equal(image[:_CHUNK, 0], image[:_CHUNK, 2])
    )
    possible = len(others) * (2 if colour else 1) + int(colour)
    active = list(others)
    for look, (stop, ahead) in enumerate(_LOOKS):
        race.run(active, stop)
        if look == 0 and colour:
            best = max(active, key=race.ahead, default=held)
            turned = [_turned(reading) for reading in dict.fromkeys((held, best))]
            race.run(turned, stop)
            active += turned
        if not active or race.seen >= len(image):
            break
        if race.p_value(active, possible) < _CERTAIN:  # some are better: which of them?
            if look:
                break
            ahead = max(map(race.ahead, active)) - _CLOSE
        active = [reading for reading in active if race.ahead(reading) > ahead]
    return race.result(possible)


class _Race:
    """Answers so far, by reading."""

    def __init__(
        self, network: Callable[[Tensor], Tensor], image: Tensor, label: Tensor, held: Reading
    ) -> None:
        self.network, self.image, self.label, self.held = network, image, label, held
        self.right: dict[Reading, Tensor] = {}
        self.logits: dict[Reading, Tensor] = {}

    @property
    def seen(self) -> int:
        return len(self.right[self.held])

    def run(self, readings: Sequence[Reading], stop: int) -> None:
        """Answers the images up to `stop` that a reading has not seen."""
        for reading in (self.held, *readings):
            known = self.logits.get(reading)
            parts = [] if known is None else [known]
            for image in self.image[sum(map(len, parts)) : stop].split(_CHUNK):
                parts += [self.network(reading(image)).float().cpu()] if len(image) else []
            self.logits[reading] = torch.cat(parts)
            label = self.label[: len(self.logits[reading])].cpu()
            self.right[reading] = self.logits[reading].argmax(1) == label

    def pair(self, reading: Reading) -> tuple[Tensor, Tensor]:
        """Which images are right: as held, and under a reading."""
        return self.right[self.held][: len(self.right[reading])], self.right[reading]

    def ahead(self, reading: Reading) -> int:
        """Images won less images lost."""
        held, other = self.pair(reading)
        return int(other.sum()) - int(held.sum())

    def p_value(self, active: Sequence[Reading], possible: int) -> float:
        """Of the best reading, corrected for all possible ones (Bonferroni)."""
        tests = (mcnemar(*self.pair(reading)) for reading in active if self.ahead(reading) > 0)
        return possible * min(tests, default=1.0)

    def result(self, possible: int) -> InputCheck:
        lines: list[dict[str, Any]] = [self._line(reading) for reading in self.right]
        # Given up, or never tried: no chance left, but counted in the correction.
        raw = [line["p"] if line["n"] == self.seen else 1.0 for line in lines[1:]]
        adjusted = holm([*raw, *[1.0] * (possible - len(raw))])[: len(raw)]
        for line, p in zip(lines[1:], adjusted, strict=True):
            line["p"] = float(p)
        table = pd.DataFrame(lines)
        told = self._told(table)
        better = max(told, key=self.ahead, default=None)
        as_good = () if better is None else (x for x in told if self._as_good(x, better))
        if better is None:  # the held reading goes on, for whoever looks at its answers
            self.run([], _LOOKS[-1][0])
        logits = self.logits[better or self.held]
        label = self.label[: len(logits)].cpu()
        held = self.logits[self.held][: len(logits)]
        return InputCheck(table, self.held, better, tuple(as_good), logits, label, held)

    def _told(self, table: pd.DataFrame) -> list[Reading]:
        """Those that are significantly better by a margin worth telling."""
        gain = table["accuracy"] - table["accuracy"].iloc[0]
        told = (table["p"] < ALPHA) & (gain >= MARGIN)
        return [reading for reading, better in zip(self.right, told, strict=True) if better]

    def _as_good(self, reading: Reading, best: Reading) -> bool:
        return reading != best and mcnemar(self.right[reading], self.right[best]) > _LIKE

    def _line(self, reading: Reading) -> dict[str, Any]:
        held, other = self.pair(reading)
        gained, lost = int((other & ~held).sum()), int((held & ~other).sum())
        return {
            "reading": reading.name,
            "flag": reading.flag,
            "n": len(other),
            **rate(int(other.sum()), len(other)).columns("accuracy"),
            "gained": gained,
            "lost": lost,
            "p": mcnemar(held, other),
        }


def _turned(reading: Reading) -> Reading:
    """The same with the colours in the other order."""
    order = "rgb" if reading.bgr else "bgr"
    flag = f"{reading.flag} --channels {order}".strip()
    return replace(reading, name=f"{reading.name}, {order.upper()}", bgr=not reading.bgr, flag=flag)


def _each(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values * channels if len(values) == 1 else values
