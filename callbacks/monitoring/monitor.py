"""Watches a deployed network: what its layers do, and whether that is still what they did."""

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from callbacks.monitoring.drift_test import DriftTest, Order
from callbacks.monitoring.layers import checked_layers, watchable
from callbacks.monitoring.monitor_file import INPUT, OUTPUT, read_monitor, write_monitor
from callbacks.monitoring.monitor_report import MonitorReport, Window
from callbacks.monitoring.sampling import channels_last, sampled
from callbacks.monitoring.streaming import LayerStatistics
from callbacks.monitoring.watched_batches import Watched, WatchedBatches
from callbacks.monitoring.watching import Hook, answer_of, fitted_root, transformed
from datamodules.errors import UserError

_OPTIONS = ("every", "places", "window", "false_alarms")


class Monitor:
    """Hooks into a torch model, learns its clean activations and tells when they drift.

    A hook copies a few values of a layer, which never changes what the model answers. Everything
    else happens once a window; there is one synchronisation with the device a window, none a batch.
    No error here reaches the model's caller: it is told in the report's `problems`. The model may
    be called from several threads, with images of several sizes, copied and pickled; copies are not
    watched, nor are calls under `vmap`, `torch.export` or inside of what torch compiles.

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
        self.left_out: tuple[str, ...] = ()
        """Layers that were not learnt: they answered the clean images with what is no number."""
        self.test: DriftTest | None = None
        """What windows are judged by."""
        self.calibrations: dict[Order, DriftTest] = {}
        """Of the same images, by what the rate is stated for."""
        self.problems: dict[str, int] = {}
        """What could not be watched, and how often."""
        self._handles: list[Any] = []
        self._recording: WatchedBatches | None = None
        self._share()
        self.reset()

    def _share(self) -> None:
        self._lock, self._own = threading.RLock(), threading.local()

    def __getstate__(self) -> dict[str, Any]:
        """A copy is not attached."""
        return {**self.__dict__, "_handles": [], "_lock": None, "_own": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._share()

    # -- watching --------------------------------------------------------------------------------

    def attach(self) -> "Monitor":
        """Adds the hooks; `remove` or leaving the `with` block takes every one away."""
        if not self._handles:
            parts = dict(self.model.named_modules())
            begin, end = Hook(self._begin, self._told), Hook(self._end, self._told)
            self._handles = [
                self.model.register_forward_pre_hook(begin, with_kwargs=True),
                *(parts[name].register_forward_hook(self._hook(name)) for name in self.layers),
                self.model.register_forward_hook(end),
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
        self.problems = {}
        self._pending = WatchedBatches()

    # -- learning --------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(
        self,
        batches: Iterable[Tensor],
        seed: int = 0,
        order: Order = "shuffled",
        through: Callable[[Tensor], Any] | None = None,
    ) -> "Monitor":
        """Learns the profile and the alarm threshold from clean images, which it sends forward.

        Args:
            batches: of images, as the model wants them; use images it was not trained on where
                there are enough.
            seed: of the windows that are drawn.
            order: what the stated rate of false alarms is to hold for; see `DriftTest.fit`. Of a
                `stream` both calibrations are kept in `calibrations`.
            through: sends images to the model, for instance what normalises them first; None: the
                model itself.

        Raises:
            UserError: fewer than four windows of images, or nothing could be watched.
        """
        attached, every, recorded = bool(self._handles), self.every, WatchedBatches()
        self.reset()
        self._recording, self.every = recorded, 1
        try:
            with self:
                for image in batches:
                    (through or self.model)(image)
        finally:
            self._recording, self.every = None, every
        self._learn(recorded, seed, order)
        return self.attach() if attached else self

    def _learn(self, recorded: WatchedBatches, seed: int, order: Order) -> None:
        if not (images := len(recorded)):
            why = "; ".join(self.problems) or "got none"
            raise UserError(f"Expected at least one batch to learn a profile from, but {why}.")
        with torch.inference_mode(False):
            whole, _ = recorded.take(images)
            finite = {n: part for n, part in whole.items() if bool(part.means.isfinite().all())}
            if not finite:
                raise UserError(
                    f"Expected finite activations to learn from, but those of {', '.join(whole)} "
                    "are not: look at the images and the weights."
                )
            self.left_out = tuple(name for name in whole if name not in finite)
            means = {name: part.means for name, part in finite.items()}
            orders: dict[Order, None] = dict.fromkeys((order, "shuffled"))
            self.calibrations = {
                one: DriftTest.fit(means, self.window, self.false_alarms, seed, one)
                for one in orders
            }
            self.profile = {name: LayerStatistics.of(part.rows) for name, part in finite.items()}
        self.profile_images, self.test = images, self.calibrations[order]
        self.reset()

    # -- what it found ---------------------------------------------------------------------------

    def report(self) -> MonitorReport:
        """What was seen since the last `reset`, as far as windows are complete."""
        return MonitorReport(
            served=self.served,
            watched=self.watched,
            window=self.window,
            every=self.every,
            false_alarms=self.false_alarms,
            order=self.test.order if self.test else "shuffled",
            problems=dict(self.problems),
            threshold=self.test.threshold if self.test else float("nan"),
            windows=tuple(self.windows),
            profile=self.profile,
            profile_images=self.profile_images,
            seen=self.seen,
        )

    # -- hooks -----------------------------------------------------------------------------------

    def _told(self, error: Exception | str) -> None:
        """Keeps the first line of what went wrong."""
        kind = "" if isinstance(error, str) else f"{type(error).__name__}: "
        text = kind + str(error).partition("\n")[0]
        with self._lock:
            self.problems[text] = self.problems.get(text, 0) + 1

    def _begin(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        self._own.batch = None
        image = next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)), None)
        if image is None or image.ndim < 2 or len(image) == 0 or transformed(image):
            return
        with self._lock:
            self.batches += 1
            self.served += len(image)
            watched = (self.batches - 1) % self.every == 0
        if watched:
            self._own.images, self._own.batch = len(image), {}
            self._keep(INPUT, None, image)

    def _hook(self, name: str) -> Hook:
        def keep(module: nn.Module, args: Any, value: Any) -> None:
            if getattr(self._own, "batch", None) is not None:
                self._keep(name, module, value)

        return Hook(keep, self._told)

    def _keep(self, name: str, module: nn.Module | None, value: Any) -> None:
        """Copies some values now, because an in-place layer may overwrite them next."""
        batch, value = self._own.batch, answer_of(value)
        if value is None:
            return
        taken = sampled(value, self._own.images, channels_last(module, value), self.places)
        if taken is None:
            return
        key, call = name, 1
        while key in batch:  # a layer that is used again gets a line of its own
            call += 1
            key = f"{name}:{call}"
        batch[key] = taken

    def _end(self, model: nn.Module, args: Any, value: Any) -> None:
        batch = getattr(self._own, "batch", None)
        if batch is None:
            return
        self._keep(OUTPUT, None, value)
        self._own.batch = None
        with self._lock:
            if self._recording is not None:
                self._recording.add(self._own.images, batch)
                return
            self.watched += self._own.images
            self._pending.add(self._own.images, batch)
            try:
                while len(self._pending) >= self.window:
                    self._close()
            except Exception:  # what waits must not grow for ever
                self._pending = WatchedBatches()
                raise

    @torch.no_grad()
    def _close(self) -> None:
        """Tests one complete window and adds it to the statistics."""
        with torch.inference_mode(False):
            seen, others = self._pending.take(self.window)
            if self.test is not None and seen:  # a loaded one moves once, with the first window
                self.test = self.test.to(next(iter(seen.values())).means.device)
            for name in [*others, *(n for n, part in seen.items() if not self._fits(n, part))]:
                seen.pop(name, None)
                self._told(f"{name} has other channels than it was learnt with, or not always any")
            for name, part in seen.items():
                now = LayerStatistics.of(part.rows)
                self.seen[name] = self.seen[name] + now if name in self.seen else now
            means = {name: part.means.mean(0) for name, part in seen.items()}
        window = _judged(self.test, means, self.served - len(self._pending) * self.every)
        self.windows.append(window)
        if window.alarm and self.on_alarm:
            self.on_alarm(window)

    def _fits(self, name: str, part: Watched) -> bool:
        """Whether a layer has as many channels as it was learnt with, and as it had before."""
        learnt = self.profile.get(name) or self.seen.get(name)
        return learnt is None or len(learnt.mean) == part.rows.shape[1]

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
        """Reads what `save` wrote, for the same network, bare or inside of another module.

        Where the file was learnt on something round the network, such as what normalises its
        images, and the network alone is given, images and answers are not compared.

        Raises:
            UserError: the file is no monitor, or the network lacks one of its layers.
        """
        learnt = read_monitor(file)
        root, names, bare = fitted_root(model, learnt.facts["layers"])
        learnt = learnt.renamed(names, without=(INPUT, OUTPUT) if bare else ())
        options = {name: learnt.facts[name] for name in _OPTIONS}
        made = cls(root, [names[name] for name in learnt.facts["layers"]], **options)
        made.profile_images = learnt.facts["profile_images"]
        made.test, made.profile = learnt.test, dict(learnt.profile)
        return made


def _judged(test: DriftTest | None, means: dict[str, Tensor], end: int) -> Window:
    """Compares one window with the profile; the one place where the host waits for the device."""
    if test is None:
        return Window(end, float("nan"), False, {})
    shifts = test.shifts(means)
    names = list(shifts)
    if not names:
        return Window(end, float("nan"), False, {})
    values = torch.stack([shifts[name] for name in names]).tolist()
    scores = {n: v if v == v else float("inf") for n, v in zip(names, values, strict=True)}
    score = max(scores.values())
    return Window(end, score, score > test.threshold, scores)
