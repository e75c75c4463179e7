"""Chooses the weights in a file that fit a network, and says what was chosen and left out."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from lightning_modules.architectures import auxiliary
from lightning_modules.checkpoint_files.names import (
    beside_the_network,
    matched,
    plain,
    shared_prefix,
)
from lightning_modules.checkpoint_files.parametrised import composed
from lightning_modules.checkpoint_files.weight_sets import (
    State,
    best_set,
    in_another_set,
    is_averaged,
    rank,
)
from lightning_modules.weights_file import WeightsFile, fits, type_name


class Weights(NamedTuple):
    """One set of weights.

    Args:
        state: tensors, named as in the network that they are for.
        name: of the set, a path of keys; empty where the whole file is one.
        notes: what was chosen, composed and left out, a clause each.
        advice: what to do where names are left over.
    """

    state: dict[str, Tensor]
    name: str
    notes: tuple[str, ...] = ()
    advice: str = ""


def weights_for(model: nn.Module, file: WeightsFile) -> Weights:
    """The set of a file that fits a network best, under the network's own names.

    Of sets that fit equally the average over training is taken, as timm does, and it is said.

    Args:
        model: whose names and shapes decide.
        file: read.
    """
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    candidates = {name: _fitted(state, own) for name, state in _with_unions(file.sets).items()}
    name = max(
        candidates,
        key=lambda set_name: (
            *candidates[set_name].fit(own),
            -rank(set_name),
            set_name in file.sets,
        ),
    )
    chosen = candidates[name]
    notes = (*choice_notes(name, file.sets), *chosen.notes)
    return Weights(chosen.state, name, notes, chosen.advice)


def plain_weights(file: WeightsFile) -> Weights:
    """The set that would be taken for a network that is not known, without usual wrappers."""
    name = best_set(file.sets)
    state, told = composed(file.sets[name])
    names = plain(state)
    left = [n for n in state if n not in names.values() and not in_another_set(n)]
    notes = (*choice_notes(name, file.sets), *told, *_dropped(left, state))
    return Weights({short: _readable(state[full]) for short, full in names.items()}, name, notes)


class _Fitted(NamedTuple):
    state: dict[str, Tensor]
    notes: list[str]
    advice: str

    def fit(self, own: Mapping[str, Tensor]) -> tuple[int, int]:
        """Names in common, and how many of them have the same shape."""
        common = [name for name in own if name in self.state]
        return len(common), sum(fits(own[name], self.state[name]) for name in common)


def _fitted(saved: State, own: Mapping[str, Tensor]) -> _Fitted:
    keep = matched(saved, own).values()
    state, told = composed(saved, keep)
    pairs = matched(state, own)
    rest = [name for name in state if name not in pairs.values() and not in_another_set(name)]
    besides = [name for name in rest if beside_the_network(name)]
    # Kept under their names, for `load_exactly` to refuse: nothing unknown is dropped in silence.
    unexpected = [n for n in rest if n not in besides and not any(map(auxiliary, n.split(".")))]
    taken = {name: _readable(state[full]) for name, full in pairs.items()}
    prefix = shared_prefix(pairs.values())
    outside = prefix and not any(name.startswith(prefix) for name in unexpected)
    return _Fitted(
        {**taken, **{name: _readable(state[name]) for name in unexpected}},
        [
            *told,
            *_types([state[name] for name in pairs.values()]),
            *_dropped(besides, state),
        ],
        f"`--weights {prefix[:-1]}` takes only what lies under it. " if outside else "",
    )


def _readable(tensor: Tensor) -> Tensor:
    """Eight-bit floats as float32, which every operation knows; the numbers are the same."""
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize == 1 else tensor


def _types(tensors: list[Tensor]) -> list[str]:
    kinds = {type_name(tensor) for tensor in tensors if tensor.is_floating_point()} - {"float32"}
    return [f"weights of {' and '.join(sorted(kinds))}, computed in float32"] if kinds else []


def _dropped(names: list[str], state: Mapping[str, Tensor]) -> list[str]:
    """What was left out, with the numbers of whatever looks like a normalisation of images."""
    if not names:
        return []
    said = []
    for name in names[:4]:
        numbers = state[name].flatten()
        shown = name.endswith(("mean", "std", "mu", "sigma")) and numbers.numel() in (1, 3)
        said.append(f"{name} {[round(float(n), 4) for n in numbers]}" if shown else name)
    return [f"left out {', '.join(said)}{', ...' if len(names) > 4 else ''}"]


def choice_notes(name: str, sets: Mapping[str, State]) -> list[str]:
    """Says which set was taken where there are several.

    Args:
        name: of the set, or of several that belong together.
        sets: all there are.
    """
    if len(sets) < 2 or name not in sets:
        return [f"put {name} together"] if name not in sets else []
    others = [other for other in sets if other != name]
    why = ", the average over training" if is_averaged(name) else ""
    listed = ", ".join(_shown(set_name) for set_name in others[:4]) + (
        ", ..." if len(others) > 4 else ""
    )
    return [
        f"took {_shown(name)}{why}, of {len(sets)} sets of weights (also {listed}; "
        "`--weights KEY` takes another)"
    ]


def _shown(name: str) -> str:
    return repr(name) if name else "the file's own names"


def _with_unions(sets: dict[str, State]) -> dict[str, State]:
    """Also all plain sets as one, for files that keep a network's body and head apart."""
    parts = {name: state for name, state in sets.items() if not is_averaged(name) and name}
    if len(parts) < 2:
        return sets
    title = " and ".join(map(repr, parts))
    below = {f"{name}.{key}": v for name, state in parts.items() for key, v in state.items()}
    unions = {f"{title}, by layer": below}
    if sum(map(len, parts.values())) == len({key for state in parts.values() for key in state}):
        unions[title] = {key: value for state in parts.values() for key, value in state.items()}
    return {**sets, **unions}
