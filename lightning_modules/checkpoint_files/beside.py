"""What a file says beside its weights: how images were normalised, and what the classes are."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from lightning_modules.checkpoint_files.inert_pickle import Unknown
from lightning_modules.checkpoint_files.weight_sets import KEYS

_MEAN = re.compile(r"(?:\w+_)?means?", re.IGNORECASE)
_OF_IMAGES = re.compile(
    r".*(?:norm|transform|prepro|image|img|pixel|input|data|stat|rgb|config|cfg|args|hparams"
    r"|hyper_parameters|meta).*",
    re.IGNORECASE,
)
"""Of containers and keys in which a mean and a std are of pixels, and not of a score."""
_CLASSES = ("classes", "class_names", "classnames", "idx_to_class", "id2label", "class_to_idx")
_CLASSES += ("label2id", "label_names", "categories", "labels")
_DEPTH = 5

Numbers = tuple[float, ...]


class Beside(NamedTuple):
    """What a file says of its network besides the weights.

    Args:
        mean: of images in [0, 1]; None where the file says none, or several.
        std: of the same.
        classes: names of the outputs, in order; None where the file says none, or several.
        notes: where they were read, and what was seen and not used, a clause each.
    """

    mean: Numbers | None = None
    std: Numbers | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def beside_weights(content: Any) -> Beside:
    """Reads what is known of images and classes in a file that holds weights too.

    A pair of a mean and a std of 1 or 3 numbers is taken if it is the only one and stands beside
    the weights or where images are spoken of; of another place it is only told. Numbers of 0 to
    255 are brought to images in [0, 1]. The same holds for one list of names of classes.

    Args:
        content: dicts, lists and placeholders as a file holds them.

    >>> beside_weights({"state_dict": {}, "mean": 0.5, "std": [0.5], "classes": ["ant", "bee"]})
    Beside(mean=(0.5,), std=(0.5,), classes=('ant', 'bee'), notes=('mean, std: read there',
    'classes: read there'))
    """
    nodes = list(_nodes(content, "", _DEPTH))
    seen = [pair for path, node in nodes for pair in _normalisations(path, node)]
    usable = [pair for pair in seen if pair.scaled is not None]
    names = [named for path, node in nodes for named in _class_names(path, node)]
    normalisation = usable[0].scaled if len({pair.scaled for pair in usable}) == 1 else None
    classes = names[0][1] if len({labels for _, labels in names}) == 1 else None
    notes = [
        *([f"{usable[0].said}: read there"] if normalisation else []),
        *[pair.not_used for pair in seen if pair.scaled is None or normalisation is None],
        *([f"{names[0][0]}: read there"] if classes else []),
        *[
            f"{path} ({', '.join(labels[:3])}, ...) not used, as the file says several"
            for path, labels in names
            if classes is None
        ],
        *(_nameless(content)),
    ]
    return Beside(*(normalisation or (None, None)), classes, tuple(notes))


class _Pair(NamedTuple):
    """A mean and a std, where they stand, and what they are of images in [0, 1] if they are."""

    said: str
    mean: Numbers
    std: Numbers
    scaled: tuple[Numbers, Numbers] | None

    @property
    def not_used(self) -> str:
        shown = f"mean {_shown(self.mean)}, std {_shown(self.std)}"
        return (
            f"{self.said} ({shown}) not used: if images are normalised so, say --mean, --std "
            "(of images in [0, 1], red first) and --channels"
        )


def _nodes(node: Any, path: str, depth: int) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every container of named values with its path, but for the sets of weights."""
    if isinstance(node, list | tuple):
        for position, item in enumerate(node if len(node) <= 64 else ()):
            yield from _nodes(item, f"{path}.{position}".strip("."), depth - 1)
    fields = _fields(node)
    if depth == 0 or fields is None:
        return
    yield path, fields
    for key, value in fields.items():
        if not (isinstance(value, Mapping) and str(key) in KEYS and path == ""):
            yield from _nodes(value, f"{path}.{key}".strip("."), depth - 1)


def _fields(node: Any) -> Mapping[Any, Any] | None:
    if isinstance(node, Mapping):
        return node
    if isinstance(node, Unknown):
        return node.state
    if isinstance(node, nn.Module | Tensor | np.ndarray) or not hasattr(node, "__dict__"):
        return None
    return vars(node)  # of a trusted file: arguments, a transform


def _normalisations(path: str, node: Mapping[Any, Any]) -> Iterator[_Pair]:
    for key, value in node.items():
        if not _MEAN.fullmatch(str(key)):
            continue
        other = _beside(str(key), node)
        mean, std = _numbers(value), _numbers(node.get(other))
        if mean is None or std is None or len(mean) != len(std):
            continue
        place = f"{path}.".lstrip(".")
        speaks = path == "" or _OF_IMAGES.fullmatch(f"{path}.{key}") is not None
        scaled = _scaled(mean, std) if speaks and not _is_bgr(node, mean) else None
        yield _Pair(f"{place}{key}, {place}{other}", mean, std, scaled)


def _beside(key: str, node: Mapping[Any, Any]) -> str:
    """The key of the std that belongs to a mean."""
    stem = re.sub(r"(?i)means?$", "", key)
    candidates = (f"{stem}{end}" for end in ("std", "stds", "Std", "STD", "stdev"))
    return next((name for name in candidates if name in node), "")


def _numbers(value: Any) -> Numbers | None:
    """One number or three; None for anything else."""
    if isinstance(value, Tensor | np.ndarray):
        value = value.flatten().tolist()
    if isinstance(value, bool | str | bytes | Mapping) or value is None:
        return None
    if not isinstance(value, list | tuple):
        value = [value]
    try:
        numbers = tuple(round(float(number), 7) for number in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) in (1, 3) and all(map(np.isfinite, numbers)) else None


def _scaled(mean: Numbers, std: Numbers) -> tuple[Numbers, Numbers] | None:
    """Of images in [0, 1]; None for what is the normalisation of neither bytes nor [0, 1]."""
    if min(std) <= 0 or min(mean) < 0:
        return None
    if max(mean) <= 1 and max(std) <= 1:
        return mean, std
    if max(*mean, *std) <= 255 and (max(mean) > 1 or min(std) > 10):
        return tuple(m / 255 for m in mean), tuple(s / 255 for s in std)
    return None


def _is_bgr(node: Mapping[Any, Any], mean: Numbers) -> bool:
    """Whether the numbers stand in the order blue, green, red: as said there, or as Caffe's do."""
    said = any(str(key).lower() == "bgr" and bool(value) for key, value in node.items())
    return said or node.get("to_rgb") is False or round(mean[0]) == 104


def _class_names(path: str, node: Mapping[Any, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for key, value in node.items():
        labels = _labels(value) if str(key).lower() in _CLASSES else None
        if labels is not None:
            yield f"{path}.{key}".lstrip("."), labels


def _labels(value: Any) -> tuple[str, ...] | None:
    """Different names in the order of the outputs, of a list or of a mapping either way."""
    if isinstance(value, Mapping) and value:
        turned = all(isinstance(number, int) for number in value.values())
        pairs = [(number, name) if turned else (name, number) for name, number in value.items()]
        if not all(str(number).isdigit() for number, _ in pairs):
            return None
        ordered = sorted((int(number), name) for number, name in pairs)
        if [number for number, _ in ordered] != list(range(len(ordered))):
            return None
        value = [name for _, name in ordered]
    if not isinstance(value, list | tuple) or len(value) < 2:
        return None
    if not all(isinstance(name, str) for name in value) or len(set(value)) != len(value):
        return None
    return tuple(value)


def _nameless(content: Any) -> Iterable[str]:
    """Weights in a list, without the names that would say which is which."""
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        below = value.items() if isinstance(value, Mapping) else [("", value)]
        for name, item in below:
            tensors = isinstance(item, list | tuple) and len(item) > 1
            if tensors and all(isinstance(tensor, Tensor) and tensor.ndim for tensor in item):
                place = f"{key}.{name}".rstrip(".")
                yield f"{place} not used: {len(item)} tensors without names"


def _shown(numbers: Numbers) -> str:
    return " ".join(f"{number:g}" for number in numbers)
