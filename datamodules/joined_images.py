"""The images of several data sets as those of one."""

import copy
import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.batch import Batch
from datamodules.errors import UserError
from datamodules.images import Images
from datamodules.preprocessing import Preprocessing, in_unit_range


class JoinedImages(Dataset):
    """The images of several splits, one behind the other; any batch may hold images of all.

    Of P splits the image i of split p has the index i · P + p, so that it tells where it is from,
    whatever part of the images is used.

    Args:
        parts: the splits by the name of their data set.
        classes: how many each has; labels of a split count from behind those of the ones before.
        equally_often: repeat the images of smaller splits until there are as many of each.
    """

    def __init__(
        self, parts: dict[str, Images], classes: Sequence[int], equally_often: bool = False
    ) -> None:
        self.parts, most = parts, max(map(len, parts.values()))
        rows = [torch.arange(most if equally_often else len(one)) for one in parts.values()]
        sizes = map(len, parts.values())
        self.row = torch.cat([own % size for own, size in zip(rows, sizes, strict=True)])
        self.part = torch.cat([torch.full_like(own, p) for p, own in enumerate(rows)])
        index, label = torch.empty_like(self.row), torch.empty_like(self.row)
        for p, images in enumerate(parts.values()):
            own = self.part == p
            index[own] = images.index[self.row[own]] * len(parts) + p
            label[own] = images.label[self.row[own]] + sum(classes[:p])
        self.index, self.label = index, label

    @property
    def preprocessing(self) -> Preprocessing:
        """Of all parts."""
        return next(iter(self.parts.values())).preprocessing

    @preprocessing.setter
    def preprocessing(self, wanted: Preprocessing) -> None:
        for images in self.parts.values():
            images.preprocessing = wanted

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: list[int]) -> Batch:
        chosen = torch.as_tensor(rows)
        shown, places = [], []
        for p, images in enumerate(self.parts.values()):
            own = (self.part[chosen] == p).nonzero()[:, 0]
            if len(own):
                batch = images.__getitems__(self.row[chosen[own]].tolist())
                shown.append(in_unit_range(batch.image))  # some are uint8, some are not
                places.append(own)
        image = torch.cat(shown)[torch.cat(places).argsort()]
        return Batch(image, self.label[chosen], self.index[chosen])

    def subset(self, rows: Tensor) -> "JoinedImages":
        """Returns some of the images, with their indices."""
        part = copy.copy(self)
        for name in ("row", "part", "index", "label"):
            setattr(part, name, getattr(self, name)[rows])
        return part

    def digest(self) -> str:
        """Hashes what the parts are, and which of their images there are in which order."""
        hashed = hashlib.sha256()
        for name, images in self.parts.items():
            hashed.update(f"{name} {images.digest()}\n".encode())
        for tensor in (self.part, self.row, self.index, self.label):
            hashed.update(tensor.numpy().tobytes())
        return hashed.hexdigest()

    def check(self) -> None:
        """Refuses parts whose images come out in different sizes.

        Raises:
            UserError: names two of them.
        """
        shapes: dict[tuple[int, ...], str] = {}
        for name, images in self.parts.items():
            images.check()
            shapes.setdefault(tuple(images.__getitems__([0]).image.shape[-2:]), name)
        if len(shapes) > 1:
            (one, first), (other, second), *_ = shapes.items()
            raise UserError(
                f"Expected data sets of one image size, but got {one[0]}x{one[1]} ({first}) and "
                f"{other[0]}x{other[1]} ({second}, height x width): give `--data.resize`, e.g. "
                f"[{one[0]}, {one[1]}], and none is resized unasked."
            )
