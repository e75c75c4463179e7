"""TensorBoard as a second logger: what goes into MLflow, as event files below `mlruns/`."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from datamodules.errors import UserError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_PNG = b"\x89PNG\r\n\x1a\n"
_SAMPLED = 10_000
"""Weights of a parameter that its histogram is drawn of, at most, so that it costs nothing."""
_BINS = 64


def require_tensorboard() -> None:
    """Looks for the package, which is an extra.

    Raises:
        UserError: it is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"`--tracking.tensorboard true` needs a package that is not installed ({error}): "
            "pip install 'assay[tensorboard]'."
        ) from error


@dataclass
class _Past:
    """What a folder's event files hold: points, pictures in all their versions, other tags."""

    points: set[tuple[str, int]] = field(default_factory=set)
    pictures: dict[str, list[bytes]] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)


class TensorBoard:
    """Event files of one run; a run that is resumed leaves alone what its files hold already.

    Scalars keep MLflow's keys and steps (TensorBoard stores values in 32 bits). PNG files become
    images, parameters a line of the HPARAMS table, the run's description a text, and weights one
    histogram a parameter.

    Args:
        folder: of the run, below `mlruns/tensorboard`.
        facts: about the run, shown beside its parameters.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path, facts: dict[str, str] | None = None) -> None:
        self.folder, self.facts = folder, facts or {}
        self._params: dict[str, Any] = {}
        self._note, self._ended = "", False
        self._open: SummaryWriter | None = None
        self._past: _Past | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"The folder {str(folder)!r} cannot be written ({error.strerror or error}): start "
                "from another folder, or leave out `--tracking.tensorboard`."
            ) from error

    def log_batch(
        self,
        metrics: Sequence[tuple[str, float, int]] = (),
        params: dict[str, Any] | None = None,
        tags: dict[str, Any] | None = None,
    ) -> None:
        """Writes points at once, and keeps parameters and description for the end.

        Args:
            metrics: key, value, step.
            params: flat, dotted names.
            tags: as for MLflow; of them only the description is shown.
        """
        self._params = {**(params or {}), **self._params}
        self._note = (tags or {}).get("mlflow.note.content", self._note)
        new = [one for one in metrics if (one[0], one[2]) not in self._known().points]
        for key, value, step in new:
            self._writer().add_scalar(key, value, step)
        self._settle()

    def log_folder(self, folder: Path) -> None:
        """Shows the PNG files below a folder; one that has changed gets the next step."""
        pictures = self._known().pictures
        for file in sorted(folder.rglob("*.png")):
            tag = file.relative_to(folder).with_suffix("").as_posix()
            data, versions = file.read_bytes(), pictures.setdefault(tag, [])
            if data.startswith(_PNG) and data not in versions:
                self._summarise(_picture(tag, data), len(versions))
                versions.append(data)
        self._settle()

    def log_weights(self, model: nn.Module) -> None:
        """Draws the distribution of every parameter, of a sample where it is large."""
        for name, parameter in model.named_parameters():
            tag, values = f"weights/{name}", _sample(parameter)
            if tag not in self._known().tags and values.numel():
                self._writer().add_histogram(tag, values, 0, bins=_BINS)  # pyright: ignore
        self._settle()

    def end(self, status: str) -> None:
        """Writes the parameters and, of a finished run, the description; closes the files."""
        from torch.utils.tensorboard.summary import hparams

        if self._params:  # at the end, because TensorBoard keeps only the first that it reads
            _, shown, _ = hparams(_plain({**self.facts, **self._params}), {})
            self._summarise(shown, 0)
        if self._note and status == "FINISHED":
            self._writer().add_text("note", self._note, 0)
        self._params, self._note, self._ended = {}, "", True
        self._settle()

    def _settle(self) -> None:
        """Lets readers see what was written; what comes after the end is closed at once."""
        if self._open is not None and self._ended:
            self._open.close()
            self._open = None
        elif self._open is not None:
            self._open.flush()

    def _summarise(self, summary: Any, step: int) -> None:
        writer = self._writer().file_writer
        assert writer is not None, "closed writers are dropped"
        writer.add_summary(summary, step)

    def _writer(self) -> "SummaryWriter":
        """Opened late: a run of which nothing is logged has no file."""
        from torch.utils.tensorboard import SummaryWriter

        if self._open is None:
            self._known()
            self._open = SummaryWriter(str(self.folder))
        return self._open

    def _known(self) -> _Past:
        """What the files held when this run first asked."""
        if self._past is None:
            self._past = _read(self.folder)
        return self._past


def folder_name(name: str, key: str) -> str:
    """Returns a run's name and the beginning of its id, as a folder can be called."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)[:100]}-{key[:8]}"


def _read(folder: Path) -> _Past:
    """Reads a run's event files, if it has any."""
    if not any(folder.glob("events.out.tfevents*")):
        return _Past()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), {"scalars": 0, "images": 0, "histograms": 1})
    tags = events.Reload().Tags()
    return _Past(
        {(tag, point.step) for tag in tags["scalars"] for point in events.Scalars(tag)},
        {tag: [one.encoded_image_string for one in events.Images(tag)] for tag in tags["images"]},
        set(tags["histograms"]),
    )


def _picture(tag: str, data: bytes) -> Any:
    """A PNG file as it is: size from its header, not encoded again."""
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore

    width, height = struct.unpack(">II", data[16:24])
    image = Summary.Image(
        width=width, height=height, colorspace=3, encoded_image_string=data
    )  # 3: RGB, which nothing reads: viewers look into the file
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def _sample(parameter: Tensor) -> Tensor:
    """Finite values of a parameter, `(n,)` on the CPU, evenly spaced if there are too many."""
    flat = parameter.detach().flatten()
    if len(flat) > _SAMPLED:
        flat = flat[torch.linspace(0, len(flat) - 1, _SAMPLED, device=flat.device).long()]
    values = flat.float().cpu()
    return values[values.isfinite()]


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    """Numbers and texts stay; everything else becomes a text as in MLflow."""
    plain = (bool, int, float, str)
    return {k: v if isinstance(v, plain) else str(v)[:6000] for k, v in params.items()}
