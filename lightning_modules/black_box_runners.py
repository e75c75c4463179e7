"""What runs a sealed network: one class a kind of file."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from datamodules.errors import UserError
from lightning_modules.architectures import imported
from lightning_modules.checkpoint_files.exported import read_export_header
from lightning_modules.checkpoint_files.kinds import Kind
from lightning_modules.checkpoint_files.onnx_header import read_onnx_header

Side = int | None
_TYPES = {"uint8": torch.uint8, "float16": torch.float16, "float64": torch.float64}


class Contract(NamedTuple):
    """What a network says of its input; None is open or unknown.

    Args:
        batch: images that every call must have.
        image: channels, height and width.
        dtype: of the images; uint8 are sent as 0 to 255.
        channels_last: as TensorFlow has them.
    """

    batch: int | None = None
    image: tuple[Side, Side, Side] = (None, None, None)
    dtype: torch.dtype = torch.float32
    channels_last: bool = False

    @classmethod
    def of(cls, shape: tuple[Side, ...], dtype: torch.dtype, what: str) -> "Contract":
        """Reads the shape `(N, C, H, W)` or `(N, H, W, C)` of an input.

        Raises:
            UserError: it is no batch of images.
        """
        if len(shape) != 4:
            raise UserError(f"{what} takes {shape}, which is no batch of images (N, C, H, W).")
        batch, *rest = shape
        last = rest[2] in (1, 3) and rest[0] not in (1, 3)
        channels, height, width = (rest[2], rest[0], rest[1]) if last else rest
        return cls(batch, (channels, height, width), dtype, last)

    def candidates(self, sides: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
        """Shapes of images to try, those that the file fixes first."""
        channels, height, width = self.image
        for side in sides if height is None or width is None else (0,):
            for depth in (3, 1) if channels is None else (channels,):
                yield depth, height or side, width or side

    def sent(self, image: Tensor) -> Tensor:
        """Converts images in [0, 1] to what the network takes."""
        image = image.movedim(1, 3) if self.channels_last else image
        if self.dtype == torch.uint8:
            return (image * 255).round().clamp(0, 255).to(torch.uint8)
        return image.to(self.dtype)


class TorchScript:
    """torch.jit.load."""

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated, its files are not gone
            self._module = torch.jit.load(path, map_location="cpu")
        self._module.eval()
        weights = [value.requires_grad_(False) for value in self._module.parameters()]
        first = next((value for value in weights if value.ndim == 4), None)
        channels = None if first is None or first.shape[1] not in (1, 3) else first.shape[1]
        kinds = {value.dtype for value in weights if value.is_floating_point()}
        dtype = kinds.pop() if len(kinds) == 1 else torch.float32
        self.contract = Contract(image=(channels, None, None), dtype=dtype)

    def __call__(self, image: Tensor) -> Any:
        """Runs without the optimiser, which after two calls would round differently."""
        self._module.to(image.device)
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return self._module(self.contract.sent(image))


class Exported:
    """torch.export.load."""

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._program = torch.export.load(path)
        shapes = read_export_header(path).inputs
        if len(shapes) != 1:
            raise UserError(f"{str(path)!r} takes {len(shapes)} inputs, but images are one.")
        nodes = {node.name: node for node in self._program.graph.nodes}
        self._name = str(next(iter(self._program.graph_signature.user_inputs)))
        dtype = nodes[self._name].meta["val"].dtype
        self.contract = Contract.of(shapes[0], dtype, repr(str(path)))
        layout = self._program.call_spec.in_spec  # of positional and of named arguments
        self._by_name = layout is not None and bool(layout.unflatten(range(layout.num_leaves))[1])
        self._place(torch.device("cpu"))

    def __call__(self, image: Tensor) -> Any:
        """Moves the graph, the devices inside of it too, when the images have moved."""
        if image.device != self._device:
            self._place(image.device)
        sent = self.contract.sent(image)
        return self._module(**{self._name: sent}) if self._by_name else self._module(sent)

    def _place(self, device: torch.device) -> None:
        from torch.export.passes import move_to_device_pass

        self._program = move_to_device_pass(self._program, device)
        self._module = self._program.module().requires_grad_(False)
        self._device = device


class Onnx:
    """onnxruntime, which keeps to known operations; it answers on the CPU or its own GPU."""

    def __init__(self, path: Path) -> None:
        inputs = read_onnx_header(path).inputs
        runtime = imported("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors, which are raised anyway
        known = runtime.get_available_providers()
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        self._session = runtime.InferenceSession(
            str(path), options, providers=[name for name in wanted if name in known]
        )
        if len(inputs) != 1:
            raise UserError(f"{str(path)!r} takes {len(inputs)} inputs, but images are one.")
        name, shape, dtype = inputs[0]
        self._name = name
        self.contract = Contract.of(shape, _TYPES.get(dtype, torch.float32), repr(str(path)))
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, image: Tensor) -> Any:
        """Answers with all outputs by name; they carry no gradient."""
        sent = self.contract.sent(image.detach()).cpu().contiguous().numpy()
        answers = self._session.run(None, {self._name: sent})
        return {
            name: torch.from_numpy(answer) if hasattr(answer, "dtype") else answer
            for name, answer in zip(self._names, answers, strict=True)
        }


RUNNERS: dict[Kind, Callable[[Path], Any]] = {
    Kind.TORCHSCRIPT: TorchScript,
    Kind.EXPORT: Exported,
    Kind.ONNX: Onnx,
}
