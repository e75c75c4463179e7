"""Networks that only answer: TorchScript, torch.export and ONNX files, whose layers are sealed."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.black_box_runners import RUNNERS, Contract
from lightning_modules.checkpoint_files.kinds import Kind, file_kind
from lightning_modules.chunks import in_chunks

_BATCHES = (1, 4, 8, 16, 32, 64, 128, 256)
"""Tried where a traced network takes one number of images only, which it does not say."""
_SIDES = (32, 28, 224, 64, 8, 16, 96, 128, 256, 299, 384)
_PIXELS = 2**18
_FAILURES = (RuntimeError, ValueError, TypeError, AssertionError, IndexError)


class BlackBox(nn.Module):
    """Runs a network that is sealed, hidden from whoever lists modules and parameters.

    A hash of what it is opened from is a buffer: two files never have the same digest of weights.

    Args:
        told: what it is, for a sentence.
        runner: from a batch to its answer.
        content: what it is opened from.
        reopen: makes it again in another process, and with what.
        path: of its file, where it has one.
    """

    digest: Tensor

    def __init__(
        self,
        told: str,
        runner: Any,
        content: bytes,
        reopen: tuple[Callable[..., "BlackBox"], tuple[Any, ...]],
        path: Path | None = None,
    ) -> None:
        super().__init__()
        self.path, self._told, self._reopen = path, told, reopen
        self.contract: Contract = runner.contract
        self._runner = [runner]  # in a list, so that torch does not register it as a submodule
        self._batch = self.contract.batch
        numbers = list(hashlib.sha256(content).digest())
        self.register_buffer("digest", torch.tensor(numbers, dtype=torch.uint8))
        self.outputs, self.differentiable = self._tried()

    def forward(self, image: Tensor) -> Tensor:
        """From `(N, C, H, W)` in [0, 1] to logits `(N, K)`.

        Raises:
            UserError: the network takes images of another shape.
        """
        self._check(image)
        if self._batch is None:
            try:
                return self._answer(image)
            except torch.OutOfMemoryError:
                raise
            except _FAILURES as error:
                self._batch = self._batch_for(image, error)
        return in_chunks(self._answer, image, self._batch)

    def __deepcopy__(self, _: dict[int, Any]) -> "BlackBox":
        """It has no state that could change, and what runs cannot be copied."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens it itself; consent was given in this one."""
        return self._reopen

    def __str__(self) -> str:
        """For a sentence."""
        return self._told

    def described(self) -> str:
        """What it can and cannot do, in a sentence."""
        can = "gradients come through" if self.differentiable else "it gives no gradients"
        batch = f"; it takes {self._batch} images a call" if self._batch else ""
        return f"{self}, run as a black box: {can}, its layers are sealed{batch}"

    def _answer(self, image: Tensor) -> Tensor:
        answer = _logits(self._runner[0](image))
        if answer.ndim < 1 or len(answer) != len(image):
            raise ValueError(f"{len(image)} images gave an answer of {tuple(answer.shape)}")
        return answer.to(image.device)

    def _check(self, image: Tensor) -> None:
        wanted = self.contract.image
        differs = [w is not None and w != n for w, n in zip(wanted, image.shape[1:], strict=True)]
        if any(differs):
            sides = "x".join("any" if n is None else str(n) for n in wanted)
            raise UserError(
                f"{self}, which takes images of {sides} (channels x height x width), but got "
                f"{'x'.join(map(str, image.shape[1:]))}: give it that size and these channels."
            )

    def _batch_for(self, image: Tensor, error: Exception) -> int:
        """Two images, where it was traced with them and takes no other number."""
        try:
            in_chunks(self._answer, image[:1], 2)
        except _FAILURES:
            size = "x".join(map(str, image.shape[1:]))
            raise UserError(
                f"{self}, which cannot answer images of {size}: {_first_line(error)}"
            ) from error
        return 2

    def _tried(self) -> tuple[int, bool]:
        """How many classes it answers, and whether gradients by the image come."""
        generator = torch.Generator().manual_seed(0)
        told = ""
        for batch, shape in self._plans():
            image = torch.rand(batch, *shape, generator=generator)
            try:
                with torch.no_grad():
                    classes = self._answer(image).shape[1]
            except _FAILURES as error:
                told = told or f": {_first_line(error)}"
                continue
            self._batch = batch if batch != 2 else self._batch
            self.contract = self.contract._replace(image=(shape[0], *self.contract.image[1:]))
            return classes, self._gives_gradients(image)
        raise UserError(
            f"{self}, which answered no images of {_listed(self.contract)}{told or '.'}"
        )

    def _plans(self) -> Iterator[tuple[int, tuple[int, int, int]]]:
        """Numbers and shapes of images to try: first two, then others as far as it is cheap."""
        shapes = list(self.contract.candidates(_SIDES))
        if self._batch is not None:
            yield from ((self._batch, shape) for shape in shapes)
            return
        yield from ((2, shape) for shape in shapes)
        for shape in shapes:
            yield from ((n, shape) for n in _BATCHES if n * shape[1] * shape[2] <= _PIXELS)

    def _gives_gradients(self, image: Tensor) -> bool:
        leaf = image.requires_grad_()
        try:
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(self.forward(leaf).sum(), leaf)
        except (*_FAILURES, UserError):
            return False
        return bool(gradient.isfinite().all())


def open_black_box(path: Path, trust_pickle: bool = False) -> BlackBox:
    """Opens a file that holds its own network.

    ONNX files are graphs of known operations and are run as they are. TorchScript runs operations
    that can read and write files, and a file of torch.export may hold pickles, so both need
    consent.

    Args:
        path: of the file.
        trust_pickle: run it.

    Raises:
        UserError: it needs consent or a package, is broken, or answers no batch of images.
    """
    kind = file_kind(path)
    if kind is not Kind.ONNX and not trust_pickle:
        raise UserError(
            f"{str(path)!r} is {kind.a}, a program of its own that could do anything: say "
            "`--trust_pickle true` if it is yours, or give `--arch` to take its weights only."
        )
    try:
        runner = RUNNERS[kind](path)
    except UserError:
        raise
    except Exception as error:  # onnxruntime and torch raise classes of their own
        raise UserError(
            f"{str(path)!r} is {kind.a} that cannot be opened: {_first_line(error)}"
        ) from error
    told = f"{str(path)!r} is {kind.a}"
    return BlackBox(told, runner, path.read_bytes(), (open_black_box, (path, True)), path)


def black_box_in(model: Any) -> BlackBox | None:
    """The black box inside of a model, if there is one."""
    parts = model.modules() if isinstance(model, nn.Module) else ()
    return next((part for part in parts if isinstance(part, BlackBox)), None)


def require_gradients(model: Any, who: str = "This") -> None:
    """Refuses a network that only answers, where gradients are needed.

    Raises:
        UserError: it is a black box that cannot be differentiated.
    """
    box = black_box_in(model)
    if box is not None and not box.differentiable:
        raise UserError(
            f"{who} needs gradients, and {box}, which only answers: choose what asks for answers "
            "alone (score-based attacks, corruptions, missing input, perturbation-based "
            "explanation), or give the original network."
        )


def require_layers(model: Any, who: str = "This") -> None:
    """Refuses a network that only answers, where its layers or weights are needed.

    Raises:
        UserError: it is a black box.
    """
    box = black_box_in(model)
    if box is not None:
        raise UserError(
            f"{who} needs the network's layers and weights, and {box}, which only answers: give "
            "the original network, for instance its weights with `--arch`."
        )


def _logits(answer: Any) -> Tensor:
    """The tensor in an answer: itself, the one named logits, or the first with rows of numbers."""
    if isinstance(answer, Mapping):
        answer = answer.get("logits", list(answer.values()))
    if isinstance(answer, list | tuple):
        tensors = [item for item in answer if isinstance(item, Tensor)]
        answer = next((t for t in tensors if t.ndim > 1 and t.is_floating_point()), answer)
    if not isinstance(answer, Tensor):
        raise ValueError(f"the answer is a {type(answer).__name__} without a tensor of logits")
    return answer


def _listed(contract: Contract) -> str:
    """The shapes that a network was tried with."""
    shapes = ["x".join(map(str, shape)) for shape in contract.candidates(_SIDES)]
    return ", ".join(shapes[:4]) + (f" to {shapes[-1]}" if len(shapes) > 4 else "")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("RuntimeError:")] or lines
    return (told[-1] if told else type(error).__name__)[:200].rstrip(".") + "."
