"""What a monitor has seen: windows, alarms, delay, and layers now against then."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from callbacks.monitoring.histogram_drift import equally_filled, jensen_shannon_distance, psi
from callbacks.monitoring.streaming import LayerStatistics
from callbacks.statistics import Interval, rate


@dataclass(frozen=True)
class Window:
    """A complete window of watched images.

    Args:
        end: images served when it was complete.
        score: of drift.
        alarm: the score exceeds the threshold.
        layers: score by layer; the largest is the window's.
    """

    end: int
    score: float
    alarm: bool
    layers: Mapping[str, float]

    @property
    def layer(self) -> str:
        """The layer that drifted most."""
        return max(self.layers, key=lambda name: self.layers[name]) if self.layers else ""


@dataclass(frozen=True)
class MonitorReport:
    """The state of a monitor.

    Args:
        served: images that passed the model.
        watched: images that were looked at.
        window: watched images in a window.
        every: k-th batch.
        false_alarms: stated rate for clean windows.
        order: what the rate is stated for: `shuffled` images, or a `stream` in its own order.
        problems: what could not be watched, and how often.
        threshold: of a window's score.
        windows: complete ones, in order.
        profile: clean statistics by layer.
        profile_images: images they are of.
        seen: statistics of the complete windows by layer.
    """

    served: int
    watched: int
    window: int
    every: int
    false_alarms: float
    order: str
    problems: Mapping[str, int]
    threshold: float
    windows: tuple[Window, ...]
    profile: Mapping[str, LayerStatistics]
    profile_images: int
    seen: Mapping[str, LayerStatistics]

    @property
    def sampling_rate(self) -> float:
        """Share of the served images that were looked at."""
        return self.watched / self.served if self.served else 1 / self.every

    @property
    def alarm_rate(self) -> Interval:
        """Share of windows with an alarm, with its interval."""
        return rate(sum(window.alarm for window in self.windows), len(self.windows))

    @property
    def images_between_false_alarms(self) -> float:
        """Served images from one false alarm to the next, on average, if nothing drifts."""
        return self.window * self.every / self.false_alarms

    @property
    def shortest_delay(self) -> int:
        """Served images that a drift needs to fill one window: the least delay there can be."""
        return self.window * self.every

    def detection_delay(self, onset: int = 0) -> int | None:
        """Served images from `onset` to the first alarm after it; None if there was none.

        Args:
            onset: images served when the drift began.
        """
        later = [window.end for window in self.windows if window.alarm and window.end > onset]
        return later[0] - onset if later else None

    def timeline(self) -> pd.DataFrame:
        """One line a window: `end score alarm layer`."""
        lines = [
            {"end": one.end, "score": one.score, "alarm": one.alarm, "layer": one.layer}
            for one in self.windows
        ]
        return pd.DataFrame(lines, columns=["end", "score", "alarm", "layer"])

    def layers(self) -> pd.DataFrame:
        """One line a layer: clean statistics and, once a window is complete, those since then."""
        return pd.DataFrame(
            [
                {"layer": name, **_summary(then), **_against(then, self.seen.get(name))}
                for name, then in self.profile.items()
            ]
        )


def _summary(statistics: LayerStatistics, suffix: str = "") -> dict[str, float]:
    return {
        f"mean{suffix}": float(statistics.mean.mean()),
        f"std{suffix}": float(statistics.variance.mean().sqrt()),
        f"zero_rate{suffix}": float(statistics.zero_rate.mean()),
        f"q01{suffix}": statistics.quantile(0.01),
        f"q50{suffix}": statistics.quantile(0.5),
        f"q99{suffix}": statistics.quantile(0.99),
    }


def _against(then: LayerStatistics, now: LayerStatistics | None) -> dict[str, float]:
    if now is None:
        return {}
    device = then.histogram.device
    old, new = (
        equally_filled(then.histogram, h) for h in (then.histogram, now.histogram.to(device))
    )
    return {
        **_summary(now, "_now"),
        "psi": psi(old, new),
        "js_distance": jensen_shannon_distance(old, new),
    }
