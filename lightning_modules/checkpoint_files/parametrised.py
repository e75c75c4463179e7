"""Composes weights that were saved in parts: pruned, normalised, parametrised or quantised."""

import re
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.checkpoint_files.weight_sets import State, is_packed

_NEW = re.compile(r"(.*)parametrizations\.(\w+)\.(.+)")


def composed(state: State, keep: Iterable[str] = ()) -> tuple[dict[str, Tensor], list[str]]:
    """Returns plain weights, as torch's own removal functions would leave them.

    Pruning: weight_orig * weight_mask. Weight normalisation (Salimans and Kingma 2016,
    1602.07868): g v / ||v||. Spectral normalisation (Miyato et al. 2018, 1802.05957): W / u'Wv.

    Args:
        state: of one network.
        keep: names that the network has itself, so that they stay as they are.

    Returns:
        The weights and a line for every kind of part that was composed.
    """
    kept = set(keep)
    parts = {name: value for name, value in state.items() if name not in kept}
    told: list[str] = []
    for words, make in _COMPOSERS:
        plain, used = make(parts)
        if plain:
            told.append(f"{len(plain)} {words}")
        parts = {**{name: v for name, v in parts.items() if name not in used}, **plain}
    whole = {**{name: value for name, value in state.items() if name in kept}, **parts}
    if any(isinstance(value, Tensor) and value.is_quantized for value in whole.values()):
        told.append("quantised weights turned into float32; activations are not rounded any more")
        parameters = {n: v for n, v in whole.items() if not n.endswith((".scale", ".zero_point"))}
        whole = {name: _dequantised(value) for name, value in parameters.items()}
    parts_of = re.compile(r"parametrizations\.|_orig$|_v$")
    order = {parts_of.sub("", name): position for position, name in enumerate(state)}
    return {n: whole[n] for n in sorted(whole, key=lambda n: order.get(n, len(order)))}, told


def _pruned(state: State) -> tuple[State, set[str]]:
    plain: State = {}
    used: set[str] = set()
    for name, mask in state.items():
        base = name.removesuffix("_mask")
        original = state.get(f"{base}_orig")
        if base != name and original is not None and original.shape == mask.shape:
            plain[base] = mask.to(original.dtype) * original
            used |= {name, f"{base}_orig"}
    return plain, used


def _normalised(state: State) -> tuple[State, set[str]]:
    plain: State = {}
    used: set[str] = set()
    for name, size in state.items():
        base = name.removesuffix("_g")
        direction = state.get(f"{base}_v")
        if base != name and direction is not None and _is_norm_of(size, direction):
            plain[base] = _scaled(direction, size)
            used |= {name, f"{base}_v"}
    return plain, used


def _spectral(state: State) -> tuple[State, set[str]]:
    plain: State = {}
    used: set[str] = set()
    for name, weight in state.items():
        base = name.removesuffix("_orig")
        left, right = state.get(f"{base}_u"), state.get(f"{base}_v")
        if base == name or left is None or right is None:
            continue
        if (divided := _divided(weight, left, right)) is not None:
            plain[base] = divided
            used |= {name, f"{base}_u", f"{base}_v"}
    return plain, used


def _parametrised(state: State) -> tuple[State, set[str]]:
    """torch.nn.utils.parametrize: weight and spectral normalisation; others stay in parts."""
    groups: dict[str, dict[str, Tensor]] = {}
    names: dict[str, set[str]] = {}
    for name, value in state.items():
        if match := _NEW.fullmatch(name):
            groups.setdefault(match[1] + match[2], {})[match[3]] = value
            names.setdefault(match[1] + match[2], set()).add(name)
    whole = {base: _original(group) for base, group in groups.items()}
    plain = {base: weight for base, weight in whole.items() if weight is not None}
    return plain, {name for base in plain for name in names[base]}


def _original(group: dict[str, Tensor]) -> Tensor | None:
    names = set(group)
    if names == {"original0", "original1"} and _is_norm_of(group["original0"], group["original1"]):
        return _scaled(group["original1"], group["original0"])
    if names == {"original", "0._u", "0._v"}:
        return _divided(group["original"], group["0._u"], group["0._v"])
    return None


def _unpacked(state: State) -> tuple[State, set[str]]:
    """Quantised linear layers: weight and bias are one entry, a tuple."""
    plain: State = {}
    used: set[str] = set()
    for name, value in state.items():
        if not is_packed(value):
            continue
        base = name.partition("_packed_params")[0]
        plain[f"{base}weight"] = value[0]
        if len(value) > 1 and isinstance(value[1], Tensor):
            plain[f"{base}bias"] = value[1].detach()
        used |= {n for n in state if n.startswith(f"{base}_packed_params")}
    return plain, used


_COMPOSERS = (
    ("quantised layers unpacked", _unpacked),
    ("pruned weights multiplied by their masks", _pruned),
    ("weights divided by their spectral norm", _spectral),
    ("weights put together from norm and direction", _normalised),
    ("parametrised weights put together", _parametrised),
)


def _dequantised(value: Tensor) -> Tensor:
    return value.dequantize() if value.is_quantized else value


def _is_norm_of(size: Tensor, direction: Tensor) -> bool:
    """Whether it has one number for every slice along one dimension, or one for all."""
    if size.ndim != direction.ndim:
        return size.ndim == 0
    return all(a in (1, b) for a, b in zip(size.shape, direction.shape, strict=True))


def _scaled(direction: Tensor, size: Tensor) -> Tensor:
    """`g v / ||v||`, the norm over all dimensions but the one that g has."""
    dim = next((d for d, n in enumerate(size.shape) if n > 1), 0 if size.ndim else -1)
    return torch._weight_norm(direction, size, dim)  # type: ignore[attr-defined]


def _divided(weight: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    """`W / u'Wv`, the dimension in front being the one with the larger u'Wv.

    For u and v are the leading singular vectors of the matrix that they were made of, and nothing
    else in a file says which dimension that was.
    """
    if weight.ndim == 1:
        return F.normalize(weight, dim=0)
    matrices = [
        weight.movedim(dim, 0).flatten(1)
        for dim, n in enumerate(weight.shape)
        if n == len(left) and weight.numel() == len(left) * len(right)
    ]
    sigmas = [torch.dot(left, torch.mv(matrix, right)) for matrix in matrices]
    return weight / max(sigmas, key=float) if sigmas else None
