"""The part of a network before the first damaged layer is computed once for all variants."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from callbacks.damage.record import copied
from callbacks.damage.variant import answered_with, with_aliases


class Prefix:
    """Modules whose outputs no damaged weight can change; replayed instead of computed.

    What they are is observed in one undamaged forward: the largest modules that are called once and
    end before the first damaged module begins. A damaged module that is not called itself, as the
    projection inside torch's attention, begins where the nearest module around it does. Any network
    will do; what it computes between modules is computed again. `verify` compares outputs with and
    without, bit by bit, undamaged and damaged: a weight may be used from anywhere.

    Args:
        model: in evaluation mode.
        damaged: names of the parameters that some variant changes.
        image: one image or more, to observe the calls.
    """

    def __init__(self, model: nn.Module, damaged: Sequence[str], image: Tensor) -> None:
        self.model, self.damaged = model, list(damaged)
        self.names = _before(model, {name.rpartition(".")[0] for name in damaged}, image)
        self._stored: dict[str, Tensor] = {}
        self._copied: set[str] = set()

    def __len__(self) -> int:
        """How many modules are skipped."""
        return len(self.names)

    @torch.no_grad()
    def record(self, image: Tensor) -> Tensor:
        """Computes an undamaged forward and keeps the outputs; returns the model's answer."""
        with ExitStack() as stack:
            for name in self.names:
                stack.enter_context(_hooked(self.model.get_submodule(name), self._keeper(name)))
            return self.model(image)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Lets the modules return what was kept instead of computing it."""
        modules = [self.model.get_submodule(name) for name in self.names]
        for name, module in zip(self.names, modules, strict=True):
            module.forward = self._player(name)
        try:
            yield
        finally:
            for module in modules:
                del module.forward  # the class's own method shows again

    @torch.no_grad()
    def verify(self, image: Tensor) -> bool:
        """Whether forwards are bit-equal with and without it; nothing is kept otherwise.

        Outputs that later layers change in place are found here too, and handed out as copies.

        Args:
            image: `(N, C, H, W)`.
        """
        expected = self.record(image)
        versions = {name: _version(output) for name, output in self._stored.items()}
        with self.replayed():
            self.model(image)
        self._copied = {
            name for name, output in self._stored.items() if _version(output) != versions[name]
        }
        self.record(image)
        other = self._all_changed()
        changed = answered_with(self.model, other, image)
        with self.replayed():
            same = all(torch.equal(self.model(image), expected) for _ in range(2))
            same &= equal_bits(answered_with(self.model, other, image), changed)
        if not same:
            self.names = []
        return same

    def _all_changed(self) -> dict[str, Tensor]:
        """Every damaged parameter far from where it was, so that any use of it shows."""
        state = {name: copied(self.model.get_parameter(name)) for name in self.damaged}
        return with_aliases(self.model, {name: t.neg_().add_(0.5) for name, t in state.items()})

    def _keeper(self, name: str) -> Callable[..., None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            # In-place layers right behind would write into it while this forward still runs.
            self._stored[name] = output.clone() if name in self._copied else output

        return keep

    def _player(self, name: str) -> Callable[..., Tensor]:
        def play(*inputs: Any, **options: Any) -> Tensor:
            output = self._stored[name]
            return output.clone() if name in self._copied else output

        return play


def equal_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two answers agree; what is not a number agrees with itself."""
    return torch.equal(one, other) or torch.equal(one.nan_to_num(), other.nan_to_num())


def _before(model: nn.Module, damaged: set[str], image: Tensor) -> list[str]:
    """The largest modules that end before the first damaged one begins."""
    begun: list[str] = []
    ended: dict[str, int] = {}
    tensors: set[str] = set()

    def enter(name: str) -> Callable[..., None]:
        return lambda module, inputs: begun.append(name)

    def leave(name: str) -> Callable[..., None]:
        def left(module: nn.Module, inputs: Any, output: Any) -> None:
            ended[name] = len(begun)
            if isinstance(output, Tensor):
                tensors.add(name)

        return left

    with ExitStack() as stack, torch.no_grad():
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(enter(name)).remove)
            stack.callback(module.register_forward_hook(leave(name)).remove)
        model(image)
    calls = Counter(begun)
    first = min(begun.index(_called(name, calls)) for name in damaged)
    whole = {
        name
        for name, place in ended.items()
        if name and place <= first and calls[name] == 1 and name in tensors
    }
    return [name for name in whole if not any(name.startswith(f"{one}.") for one in whole)]


def _version(output: Tensor) -> float:
    """Counts what was done in place; a tensor of inference mode does not, and equals nothing."""
    return float("nan") if output.is_inference() else output._version


def _called(name: str, calls: Counter[str]) -> str:
    """The module, or the nearest one around it that is called; the model itself always is."""
    while name and not calls[name]:
        name = name.rpartition(".")[0]
    return name


@contextmanager
def _hooked(module: nn.Module, hook: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
