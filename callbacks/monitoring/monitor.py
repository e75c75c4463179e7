"""Watches a deployed network: what its layers do, and whether that is still what they did."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from callbacks.monitoring.drift_test import DriftTest
from callbacks.monitoring.layers import checked_layers, watchable
from callbacks.monitoring.monitor_file import read_monitor, write_monitor
from callbacks.monitoring.monitor_report import MonitorReport, Window
from callbacks.monitoring.sampling import channels_last, sampled
from callbacks.monitoring.streaming import LayerStatistics
from datamodules.errors import UserError

_OPTIONS = ("every", "places", "window", "false_alarms")
INPUT, OUTPUT = "input", "output"


class Monitor:
    """Hooks into a torch model, learns its clean activations and tells when they drift.

    A hook copies a few values of a layer, which never changes what the model answers. Everything
    else happens once a window; there is one synchronisation with the device a window, none a batch.

    Args:
        model: any module; it is called with images first and answers logits.
        layers: names as in `model.named_modules()`; None takes a few activation functions from
            first to last. The images and the logits are watched too.
        every: watch each k-th batch.
        places: of an image that are looked at in each channel of a layer, about.
        window: watched images that are tested for drift together.
        false_alarms: share of clean windows that may raise an alarm.
        on_alarm: called with the window, as soon as it is complete.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | None = None,
        *,
        every: int = 1,
        places: int = 16,
        window: int = 256,
        false_alarms: float = 0.01,
        on_alarm: Callable[[Window], None] | None = None,
    ) -> None:
        for name, number in (("every", every), ("places", places), ("window", window)):
            if number < 1:
                raise UserError(f"Expected `{name}` to be at least 1, but got {number}.")
        self.model = model
        named = watchable(model) if layers is None else list(layers)
        self.layers = checked_layers(model, named)
        self.every, self.places, self.window = every, places, window
        self.false_alarms, self.on_alarm = false_alarms, on_alarm
        self.profile: dict[str, LayerStatistics] = {}
        """Clean statistics by layer, after `fit`."""
        self.profile_images = 0
        """How many images they are of."""
        self.test: DriftTest | None = None
        self._handles: list[Any] = []
        self._recording: dict[str, list[Tensor]] | None = None
        self.reset()

    # -- watching --------------------------------------------------------------------------------

    def attach(self) -> "Monitor":
        """Adds the hooks; `remove` or leaving the `with` block takes every one away."""
        if not self._handles:
            parts = dict(self.model.named_modules())
            self._handles = [
                self.model.register_forward_pre_hook(self._begin, with_kwargs=True),
                *(parts[name].register_forward_hook(self._hook(name)) for name in self.layers),
                self.model.register_forward_hook(self._end),
            ]
        return self

    def remove(self) -> None:
        """Takes all hooks away; what was seen stays."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> "Monitor":
        return self.attach()

    def __exit__(self, *_: object) -> None:
        self.remove()

    def reset(self) -> None:
        """Forgets what was seen, not what was learnt."""
        self.batches = self.served = self.watched = 0
        self.windows: list[Window] = []
        self.seen: dict[str, LayerStatistics] = {}
        self._pending: dict[str, list[Tensor]] = {}
        self._waiting = 0
        self._batch: dict[str, Tensor] | None = None

    # -- learning --------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor], seed: int = 0) -> "Monitor":
        """Learns the profile and the alarm threshold from clean images, which it sends forward.

        Args:
            batches: of images, as the model wants them; use images it was not trained on where
                there are enough.
            seed: of the windows that are drawn.

        Raises:
            UserError: fewer than four windows of images.
        """
        attached, every = bool(self._handles), self.every
        self.reset()
        self._recording, self.every = {}, 1
        try:
            with self:
                for image in batches:
                    self.model(image)
            recorded = {name: torch.cat(parts) for name, parts in self._recording.items()}
        finally:
            self._recording, self.every = None, every
        if not recorded:
            raise UserError("Expected at least one batch to learn a profile from, but got none.")
        self.profile_images = len(recorded[OUTPUT])
        whole = {n: v for n, v in recorded.items() if len(v) == self.profile_images}
        self.profile = {name: LayerStatistics.of(v.flatten(0, 1)) for name, v in whole.items()}
        means = {name: value.double().mean(1) for name, value in whole.items()}
        self.test = DriftTest.fit(means, self.window, self.false_alarms, seed)
        self.reset()
        return self.attach() if attached else self

    # -- what it found ---------------------------------------------------------------------------

    def report(self) -> MonitorReport:
        """What was seen since the last `reset`, as far as windows are complete."""
        return MonitorReport(
            served=self.served,
            watched=self.watched,
            window=self.window,
            every=self.every,
            false_alarms=self.false_alarms,
            threshold=self.test.threshold if self.test else float("nan"),
            windows=tuple(self.windows),
            profile=self.profile,
            profile_images=self.profile_images,
            seen=self.seen,
        )

    # -- hooks -----------------------------------------------------------------------------------

    def _begin(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        image = next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)), None)
        self._batch = None
        if image is None or image.ndim < 2 or len(image) == 0:
            return
        self.batches += 1
        self.served += len(image)
        if (self.batches - 1) % self.every == 0:
            self._images, self._batch = len(image), {}
            self._keep(INPUT, None, image)

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, value: Any) -> None:
            if self._batch is not None:
                self._keep(name, module, value)

        return hook

    def _keep(self, name: str, module: nn.Module | None, value: Any) -> None:
        """Copies some values now, because an in-place layer may overwrite them next."""
        batch = self._batch
        value = value[0] if isinstance(value, tuple) else value
        if batch is None or not isinstance(value, Tensor):
            return
        taken = sampled(value, self._images, channels_last(module, value), self.places)
        if taken is None:
            return
        key, call = name, 1
        while key in batch:  # a layer that is used again gets a line of its own
            call += 1
            key = f"{name}:{call}"
        batch[key] = taken

    def _end(self, model: nn.Module, args: Any, value: Any) -> None:
        if self._batch is None:
            return
        self._keep(OUTPUT, None, value)
        kept = self._pending if self._recording is None else self._recording
        for name, taken in self._batch.items():
            kept.setdefault(name, []).append(taken)
        self._batch = None
        if self._recording is None:
            self.watched += self._images
            self._waiting += self._images
            while self._waiting >= self.window:
                self._close()

    @torch.no_grad()
    def _close(self) -> None:
        """Tests one complete window and adds it to the statistics."""
        with torch.inference_mode(False):
            joined = {name: torch.cat(parts) for name, parts in self._pending.items()}
            self._waiting -= self.window
            self._pending = {n: [v[self.window :]] for n, v in joined.items() if self._waiting}
            means = {}
            for name, value in joined.items():
                value = value[: self.window]
                now = LayerStatistics.of(value.flatten(0, 1))
                self.seen[name] = self.seen[name] + now if name in self.seen else now
                means[name] = value.double().mean(1).mean(0)
            if self.test is not None:  # a loaded one moves once, with the first window
                self.test = self.test.to(next(iter(means.values())).device)
        end = self.served - self._waiting * self.every
        window = _judged(self.test, means, end)
        self.windows.append(window)
        if window.alarm and self.on_alarm:
            self.on_alarm(window)

    # -- file ------------------------------------------------------------------------------------

    def save(self, file: Path) -> Path:
        """Writes what was learnt: tensors as safetensors, the rest as JSON in its header.

        Raises:
            UserError: nothing was learnt yet.
        """
        if self.test is None:
            raise UserError("There is no profile to save yet: call `fit` first.")
        facts = {name: getattr(self, name) for name in ("layers", *_OPTIONS, "profile_images")}
        return write_monitor(file, facts, self.test, self.profile)

    @classmethod
    def load(cls, file: Path, model: nn.Module) -> "Monitor":
        """Reads what `save` wrote, for the same network.

        Raises:
            UserError: the file is no monitor, or the network lacks one of its layers.
        """
        facts, test, profile = read_monitor(file)
        made = cls(model, facts["layers"], **{name: facts[name] for name in _OPTIONS})
        made.profile_images, made.test, made.profile = facts["profile_images"], test, profile
        return made


def _judged(test: DriftTest | None, means: dict[str, Tensor], end: int) -> Window:
    """Compares one window with the profile; the one place where the host waits for the device."""
    if test is None:
        return Window(end, float("nan"), False, {})
    shifts = test.shifts(means)
    names = list(shifts)
    values = torch.stack([shifts[name] for name in names]).tolist()
    scores = {n: v if v == v else float("inf") for n, v in zip(names, values, strict=True)}
    score = max(scores.values())
    return Window(end, score, score > test.threshold, scores)
