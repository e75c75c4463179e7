"""Gaps between accuracy and confidence, bin by bin, and answers drawn under other gaps."""

import numpy as np

_NORMAL_FROM = 12


class BinnedGaps:
    """The bins of a calibration error that hold samples.

    How many samples fall into each is drawn once, and the numbers behind every draw are the same,
    so that the errors drawn change smoothly with the gaps.

    Args:
        confidence: `(N,)`.
        correct: `(N,)`.
        place: `(N,)` bin of each.
        seed: of the resampling.
        resamples: how many.
    """

    def __init__(
        self,
        confidence: np.ndarray,
        correct: np.ndarray,
        place: np.ndarray,
        seed: int,
        resamples: int,
    ) -> None:
        size = np.bincount(place)
        held = size > 0
        size, hits = size[held], np.bincount(place, correct)[held]
        self.n, self.seed = len(confidence), seed
        self.share = size / self.n
        self.confidence = np.bincount(place, confidence)[held] / size
        smooth = (hits + 0.5) / (size + 1)
        self.variance = self.share * smooth * (1 - smooth)
        self._point(hits / self.n - self.share * self.confidence)
        # Counts of many answers are normal enough, and drawn much faster.
        self.many = size * smooth * (1 - smooth) > _NORMAL_FROM
        generator = np.random.default_rng(seed)
        self.sizes = generator.multinomial(self.n, self.share, resamples)
        self.noise = generator.standard_normal(self.sizes.shape)

    @property
    def largest(self) -> float:
        """The largest calibration error that bins of these confidences can have."""
        return float(self.room.sum())

    def shrunk(self, error: float) -> np.ndarray:
        """Calibration errors drawn when the true one is `error`, on one threshold for all bins."""
        return self._drawn(error, np.ones_like(self.share))

    def grown(self, error: float) -> np.ndarray:
        """The same when each bin's gap changes by its variance, the likeliest way."""
        return self._drawn(error, self.variance)

    def _point(self, gap: np.ndarray) -> None:
        """Which way each bin errs, how far it did, and how far it can."""
        sign = np.where(gap < 0, -1.0, 1.0)
        # Noise points nowhere: towards over-confidence there is more room where it matters.
        noise = np.abs(gap) < np.sqrt(self.variance / self.n)
        self.sign = np.where(noise, np.where(self.confidence > 0.5, -1.0, 1.0), sign)
        top = np.where(self.sign > 0, 1 - self.confidence, self.confidence)
        self.room = top * self.share
        self.gap = np.minimum(np.abs(gap), self.room)

    def _drawn(self, error: float, step: np.ndarray) -> np.ndarray:
        """`(resamples,)` calibration errors of answers drawn under gaps that add up to `error`."""
        shift = self.sign * self._gaps(error, step) / self.share
        right = np.clip(self.confidence + shift, 0, 1)
        many, few = self.many, ~self.many
        spread = np.sqrt(self.sizes[:, many] * right[many] * (1 - right[many]))
        total = np.abs(self.sizes[:, many] * shift[many] + spread * self.noise[:, many]).sum(1)
        sizes, generator = self.sizes[:, few], np.random.default_rng(self.seed + 1)
        hits = generator.binomial(sizes, right[few])
        return (total + np.abs(hits - sizes * self.confidence[few]).sum(1)) / self.n

    def _gaps(self, error: float, step: np.ndarray) -> np.ndarray:
        """The gaps seen, moved by a multiple of `step` within what can be, to add up to `error`."""
        # Their sum is piecewise linear in the multiple; it turns where a gap reaches an end.
        turns = np.sort(np.concatenate([-self.gap, self.room - self.gap]) / np.tile(step, 2))
        sums = np.clip(self.gap + turns[:, None] * step, 0, self.room).sum(1)
        return np.clip(self.gap + np.interp(error, sums, turns) * step, 0, self.room)
