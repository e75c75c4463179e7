"""The part of a network before the first damaged layer is computed once for all variants."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Prefix:
    """Modules whose outputs no damaged weight can change; replayed instead of computed.

    What they are is observed in one undamaged forward: the largest modules that are called once and
    end before the first damaged module begins. Any network will do; what it computes between
    modules is computed again. `verify` compares outputs with and without, bit by bit.

    Args:
        model: in evaluation mode.
        damaged: names of the parameters that some variant changes.
        image: one image or more, to observe the calls.
    """

    def __init__(self, model: nn.Module, damaged: Sequence[str], image: Tensor) -> None:
        self.model = model
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
        """Whether an undamaged forward is bit-equal with and without; keeps nothing otherwise.

        Outputs that later layers change in place are found here too, and handed out as copies.
        """
        expected = self.record(image)
        versions = {name: output._version for name, output in self._stored.items()}
        with self.replayed():
            self.model(image)
        self._copied = {
            name for name, output in self._stored.items() if output._version != versions[name]
        }
        self.record(image)
        with self.replayed():
            same = all(torch.equal(self.model(image), expected) for _ in range(2))
        if not same:
            self.names = []
        return same

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


def _before(model: nn.Module, damaged: set[str], image: Tensor) -> list[str]:
    """The largest modules that end before the first damaged one begins."""
    begun: list[str] = []
    ended: list[str] = []
    tensors: set[str] = set()

    def enter(name: str) -> Callable[..., None]:
        return lambda module, inputs: begun.append(name)

    def leave(name: str) -> Callable[..., None]:
        def left(module: nn.Module, inputs: Any, output: Any) -> None:
            if not damaged & set(begun):
                ended.append(name)
            if isinstance(output, Tensor):
                tensors.add(name)

        return left

    with ExitStack() as stack, torch.no_grad():
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(enter(name)).remove)
            stack.callback(module.register_forward_hook(leave(name)).remove)
        model(image)
    calls = Counter(begun)
    whole = {name for name in ended if calls[name] == 1 and name in tensors and name}
    return [name for name in whole if not any(name.startswith(f"{one}.") for one in whole)]


@contextmanager
def _hooked(module: nn.Module, hook: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
