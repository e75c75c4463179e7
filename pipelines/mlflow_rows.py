"""Images as MLflow evaluates models on them, a row of numbers each, and a network of such rows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from datamodules.errors import UserError, suggestion

PIXELS = {"0..1": 1, "0..255": 255}
_LAYOUTS = ("HWC", "CHW")


@dataclass(frozen=True)
class RowForm:
    """How an image is written as a row, and as what a model takes.

    Args:
        shape: `(H, W, C)`.
        layout: HWC or CHW, of the numbers of a row.
        most: value of the brightest pixel: 1 or 255.
        dtype: of the numbers; whole ones are rounded to.
        columns: of a table; None of an array.
        cells: whether a table has one column, whose cells are images.
    """

    shape: tuple[int, int, int]
    layout: str
    most: int
    dtype: np.dtype
    columns: tuple[Any, ...] | None = None
    cells: bool = False

    def images(self, rows: np.ndarray) -> Tensor:
        """From `(N, H * W * C)` to `(N, C, H, W)` uint8, or float in [0, 1]."""
        height, width, channels = self.shape
        if self.layout == "CHW":
            image = rows.reshape(-1, channels, height, width)
        else:
            image = rows.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        if self.most == 255 and self.dtype.kind in "ui":
            return torch.from_numpy(image.astype(np.uint8))
        return torch.from_numpy((image / self.most).astype(np.float32))

    def rows(self, image: Tensor) -> np.ndarray | pd.DataFrame:
        """From `(N, C, H, W)` in [0, 1] to what the model takes: the inverse of `images`."""
        shown = image if self.layout == "CHW" else image.permute(0, 2, 3, 1)
        numbers = self.most * shown.detach().cpu().double().numpy()
        numbers = np.rint(numbers) if self.dtype.kind in "ui" else numbers
        numbers = numbers.astype(self.dtype)
        if self.cells and self.columns:
            return pd.DataFrame({self.columns[0]: list(numbers)})
        flat = numbers.reshape(len(numbers), -1)
        return flat if self.columns is None else pd.DataFrame(flat, columns=list(self.columns))


def read_rows(data: Any, config: Mapping[str, Any]) -> tuple[RowForm, Tensor]:
    """Images and how they are written, as the configuration states it and the numbers confirm it.

    Args:
        data: `(N, H * W * C)` numbers, a table with a column a number, or one whose only column
            holds images `(H, W, C)`.
        config: `pixels`, 0..1 or 0..255; `shape`, `[H, W, C]`; `layout`, HWC (the default) or CHW.

    Raises:
        UserError: it is not stated, or the numbers are others.
    """
    pixels, layout = config.get("pixels"), config.get("layout", "HWC")
    if pixels not in PIXELS:
        hint = suggestion(str(pixels), PIXELS)
        raise UserError(f"Expected `pixels` of the images, but got {pixels!r}.{hint}")
    if layout not in _LAYOUTS:
        raise UserError(f"Expected `layout` to be HWC or CHW, but got {layout!r}.")
    columns = tuple(data.columns) if isinstance(data, pd.DataFrame) else None
    cells = columns is not None and len(columns) == 1 and data.iloc[0, 0] is not None
    cells = cells and np.ndim(data.iloc[0, 0]) > 0
    rows = _stacked(data) if cells else np.asarray(data)
    if rows.dtype.kind not in "uif":
        raise UserError(f"Expected numbers as pixels, but got {rows.dtype}.")
    shape = _shape(config.get("shape"), rows, layout)
    _check_range(rows, str(pixels))
    form = RowForm(shape, layout, PIXELS[str(pixels)], rows.dtype, columns, cells)
    return form, form.images(rows.reshape(len(rows), -1))


class Predicts(Protocol):
    """What MLflow hands over: a pyfunc."""

    def predict(self, data: Any) -> Any:
        """Scores of rows."""
        ...


class RowNetwork(nn.Module):
    """A model that takes rows, as a network that only answers: no gradient comes through.

    Args:
        model: of MLflow.
        form: of its rows.
        identity: what tells it from other models; rows measured of it are used again by that.
        classes: names in the order of the scores, if they are stated.
    """

    identity: Tensor

    def __init__(
        self, model: Predicts, form: RowForm, identity: str, classes: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        check_order(model, classes)
        self._held = [model, form, classes]  # in a list: neither is a part of the network's state
        numbers = list(hashlib.sha256(identity.encode()).digest())
        self.register_buffer("identity", torch.tensor(numbers, dtype=torch.uint8))

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """From `(N, C, H, W)` in [0, 1] to scores `(N, K)`.

        Raises:
            UserError: the model answers something else.
        """
        model, form, classes = self._held
        scores = np.asarray(_by_name(model.predict(form.rows(image)), classes))
        if scores.ndim != 2 or len(scores) != len(image) or scores.dtype.kind not in "uif":
            raise UserError(
                f"Expected scores (N, classes) of the model for {len(image)} images, but got "
                f"{scores.shape} of {scores.dtype}: labels alone have no loss and no confidence; "
                'log the model with pyfunc_predict_fn="predict_proba", or let it answer logits.'
            )
        return torch.from_numpy(scores.astype(np.float32)).to(image.device)

    def __deepcopy__(self, _: dict[int, Any]) -> "RowNetwork":
        """It has no state that could change."""
        return self


def check_order(model: Predicts, classes: Sequence[str] | None) -> None:
    """Refuses another order of classes than that of the model, where it tells its own.

    Args:
        model: of MLflow; one of scikit-learn has `classes_`.
        classes: as stated; None takes targets as places.

    Raises:
        UserError: scores would be read as those of other classes.
    """
    try:
        raw = model.get_raw_model()  # type: ignore[attr-defined]
    except (AttributeError, NotImplementedError):  # a function, or a model of its own kind
        raw = None
    own = [str(name) for name in getattr(raw, "classes_", ())]
    places = [str(place) for place in range(len(own))]
    meant = [*map(str, classes)] if classes is not None else places
    if own not in ([], meant, places):  # of places `classes` are the names
        raise UserError(
            f"The model's scores are of {_few(own)}, in this order, but `classes` "
            f"{f'are {_few(meant)}' if classes is not None else 'are not stated'}: give "
            "`classes` in the model's order."
        )


def _by_name(scores: Any, classes: Sequence[str] | None) -> Any:
    """A table of scores with its columns in the order of the classes."""
    names = [name for name in getattr(scores, "columns", ()) if isinstance(name, str)]
    if not names:
        return scores
    if classes is None or sorted(names) != sorted(classes):
        raise UserError(
            f"The model names its scores {_few(names)}: give these as `classes`, in any order that "
            "the report is to have."
        )
    return scores[[*classes]]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def labels_of(targets: np.ndarray | None, classes: list[str] | None) -> Tensor:
    """Labels as numbers of classes; names are looked up in `classes`.

    Raises:
        UserError: there are none, or they are neither.
    """
    if targets is None:
        raise UserError("Expected `targets`: the label of each image.")
    values = np.asarray(targets)
    if lost := int(pd.isna(values).sum()):
        raise UserError(
            f"Expected a label of each image as `targets`, but {lost} of {len(values)} are missing."
        )
    classes = None if classes is None else [*map(str, classes)]
    whole = values.dtype.kind in "uif" and bool(np.equal(np.mod(values, 1), 0).all())
    if whole and classes and all(name.isdecimal() for name in classes):
        values = values.astype(np.int64)  # the numbers are names, and not places: 1 of 1, 2, 3
    elif whole:
        return torch.from_numpy(values.astype(np.int64))
    if classes is None:
        raise UserError(
            f"Expected targets that number the classes from 0, but got {values[0]!r}: give the "
            "names as `classes`, in the order of the model's answers."
        )
    known = {name: i for i, name in enumerate(classes)}
    if strange := [str(value) for value in values if str(value) not in known]:
        raise UserError(f"There is no class {strange[0]!r}.{suggestion(strange[0], known)}")
    return torch.tensor([known[str(value)] for value in values])


def _stacked(data: pd.DataFrame) -> np.ndarray:
    images = [np.asarray(image) for image in data.iloc[:, 0]]
    if len({image.shape for image in images}) > 1:
        raise UserError("Expected images of one size in the column of images.")
    return np.stack(images)


def _shape(given: Any, rows: np.ndarray, layout: str) -> tuple[int, int, int]:
    """`(H, W, C)`, stated or that of the cells; what both say must agree."""
    found = None
    if rows.ndim == 4:
        found = rows.shape[1:] if layout == "HWC" else (*rows.shape[2:], rows.shape[1])
    said = found if given is None else given
    if said is None:
        raise UserError("Expected `shape` as [H, W, C]: each image is a row of numbers.")
    try:
        height, width, channels = (int(n) for n in said)
    except (TypeError, ValueError) as error:
        raise UserError(f"Expected `shape` as [H, W, C], but got {given!r}.") from error
    shape, count = (height, width, channels), int(np.prod(rows.shape[1:]))
    if height * width * channels != count or (found or shape) != shape or channels not in (1, 3):
        raise UserError(
            f"Expected `shape` [H, W, C] with 1 or 3 channels and {count:,} numbers in all, but "
            f"got {list(shape)}{f' for images {list(found)}' if found else ''}."
        )
    return shape


def _check_range(rows: np.ndarray, pixels: str) -> None:
    """Refuses numbers that are not of the range that is stated."""
    low, high = float(rows.min()), float(rows.max())
    dark = pixels == "0..255" and high <= 1 and rows.dtype.kind == "f"
    if not (low >= 0 and high <= PIXELS[pixels]) or dark:
        raise UserError(f"Expected `pixels` {pixels}, but they go from {low:g} to {high:g}.")
