"""The weights in a file: which sets there are, and the one that fits a network, by its names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from datamodules.errors import UserError, suggestion
from lightning_modules.architectures import auxiliary
from lightning_modules.checkpoint_files.contents import could_execute, read_content
from lightning_modules.checkpoint_files.inert_pickle import Unknown
from lightning_modules.checkpoint_files.kinds import Kind, file_kind
from lightning_modules.checkpoint_files.names import beside_the_network, matched, plain, shared_prefix
from lightning_modules.checkpoint_files.parametrised import composed
from lightning_modules.checkpoint_files.weight_sets import (
    State,
    in_another_set,
    is_averaged,
    rank,
    weight_sets,
)


class WeightsFile(NamedTuple):
    """What a checkpoint holds.

    Args:
        path: of the file or folder.
        kind: of the file.
        sets: sets of weights as they were saved, by the path of keys to each.
        facts: what `FineTuning` added: architecture, classes, preprocessing; else None.
        module: a whole pickled network; only of trusted files.
        pickled: the class of a whole pickled network that was not rebuilt; else empty.
    """

    path: Path
    kind: Kind
    sets: dict[str, State]
    facts: dict[str, Any] | None = None
    module: nn.Module | None = None
    pickled: str = ""


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


def read_weights(path: Path, trust_pickle: bool = False, key: str | None = None) -> WeightsFile:
    """Reads a checkpoint.

    Args:
        path: anything that `file_kind` tells and that holds weights.
        trust_pickle: let the file execute code while it is read.
        key: read this set of weights only; None reads all.

    Raises:
        UserError: there is no such file, it is cut off, could execute code, or holds no weights.
    """
    kind = file_kind(path)
    content, not_run = read_content(path, kind, trust_pickle)
    sets = weight_sets(content)
    if not sets:
        raise UserError(_no_weights(path, content, not_run))
    facts = content.get("assay") if isinstance(content, Mapping) else None
    sets = sets if key is None else _selected(sets, key, path)
    held = _at(content, _best(sets))
    return WeightsFile(
        path=path,
        kind=kind,
        sets=sets,
        facts=facts if isinstance(facts, dict) else None,
        module=held if isinstance(held, nn.Module) else None,
        pickled=held.name if isinstance(held, Unknown) else "",
    )


def weights_for(model: nn.Module, file: WeightsFile) -> Weights:
    """The set of a file that fits a network best, under the network's own names.

    Of sets that fit equally the average over training is taken, as timm does, and it is said.

    Args:
        model: whose names and shapes decide.
        file: read.
    """
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    made = {name: _fitted(state, own) for name, state in _with_union(file.sets).items()}
    name = max(made, key=lambda one: (*made[one].fit(own), -rank(one), one in file.sets))
    chosen = made[name]
    return Weights(
        chosen.state, name, (*_choice(name, file.sets), *chosen.notes), chosen.advice
    )


def plain_weights(file: WeightsFile) -> Weights:
    """The set that would be taken for a network that is not known, without usual wrappers."""
    name = _best(file.sets)
    state, told = composed(file.sets[name])
    names = plain(state)
    left = [n for n in state if n not in names.values() and not in_another_set(n)]
    notes = (*_choice(name, file.sets), *told, *_dropped(left, state))
    return Weights({short: _readable(state[full]) for short, full in names.items()}, name, notes)


class _Fitted(NamedTuple):
    state: dict[str, Tensor]
    notes: list[str]
    advice: str

    def fit(self, own: Mapping[str, Tensor]) -> tuple[int, int]:
        """Names in common, and how many of them have the same shape."""
        common = [name for name in own if name in self.state]
        return len(common), sum(_fits(own[name], self.state[name]) for name in common)


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
        [*told, *_types(taken), *_dropped(besides, state)],
        f"`--weights {prefix[:-1]}` takes only what lies under it. " if outside else "",
    )


def load_exactly(
    model: nn.Module, state: dict[str, Tensor], arch: str, path: Path, advice: str = ""
) -> None:
    """Loads weights and names every difference; only batch counters may be missing.

    Args:
        model: loaded in place.
        state: with the names of the model.
        arch: its name, for the message.
        path: where the weights come from, for the message.
        advice: what else the message says.

    Raises:
        UserError: the weights are not of this architecture.
    """
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    state = {key: tensor for key, tensor in state.items() if key in own or not auxiliary(key)}
    common = [key for key in own if key in state]
    problems = {
        "missing": [k for k in own if k not in state and not k.endswith("num_batches_tracked")],
        "unexpected": [key for key in state if key not in own],
        "of another shape": [
            f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
            for k in common
            if not _fits(own[k], state[k])
        ],
        "of another type": [
            f"{k} {_type(state[k])} instead of {_type(own[k])}"
            for k in common
            if own[k].dtype.is_floating_point and not state[k].dtype.is_floating_point
        ],
    }
    if any(problems.values()):
        said = [
            f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for what, names in problems.items()
            if names
        ]
        raise UserError(
            f"The weights in {str(path)!r} are not of {arch!r} ({'; '.join(said)}). {advice}"
            f"`assay inspect {path}` guesses the architecture."
        )
    model.load_state_dict(state, strict=False)


def _fits(own: Tensor, saved: Tensor) -> bool:
    return is_lazy(own) or own.shape == saved.shape


def _readable(tensor: Tensor) -> Tensor:
    """Eight-bit floats as float32, which every operation knows; the numbers are the same."""
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize == 1 else tensor


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _types(state: dict[str, Tensor]) -> list[str]:
    kinds = {_type(t) for t in state.values() if t.is_floating_point()} - {"float32"}
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


def _choice(name: str, sets: Mapping[str, State]) -> list[str]:
    """Says which set was taken where there are several."""
    if len(sets) < 2:
        return []
    others = [other for other in sets if other != name]
    why = ", the average over training" if is_averaged(name) else ""
    listed = ", ".join(_shown(one) for one in others[:4]) + (", ..." if len(others) > 4 else "")
    return [
        f"took {_shown(name)}{why}, of {len(sets)} sets of weights (also {listed}; "
        "`--weights KEY` takes another)"
    ]


def _shown(name: str) -> str:
    return repr(name) if name else "the file's own names"


def _best(sets: Mapping[str, State]) -> str:
    return min(sets, key=lambda name: (rank(name), -len(sets[name])))


def _with_union(sets: dict[str, State]) -> dict[str, State]:
    """Also all plain sets as one, for files that keep a network's body and head apart."""
    plain_sets = {name: state for name, state in sets.items() if not is_averaged(name) and name}
    if len(plain_sets) < 2:
        return sets
    union = {f"{name}.{key}": v for name, state in plain_sets.items() for key, v in state.items()}
    return {**sets, " and ".join(plain_sets): union}


def _selected(sets: dict[str, State], key: str, path: Path) -> dict[str, State]:
    """The set of that name, or the weights whose names begin with it."""
    for name in sets:
        if key in (name, name.rpartition(".")[2]):
            return {name: sets[name]}
    for name, state in sets.items():
        lead = key.removeprefix(f"{name}.") if name else key
        inside = {n.removeprefix(f"{lead}."): v for n, v in state.items() if n.startswith(f"{lead}.")}
        if inside:
            return {key: inside}
    known = {*sets, *(n.partition(".")[0] for state in sets.values() for n in state)} - {""}
    raise UserError(f"There are no weights {key!r} in {str(path)!r}.{suggestion(key, known)}")


def _at(content: Any, path: str) -> Any:
    """What lies at a path of keys."""
    for key in path.split(".") if path else ():
        if isinstance(content, Mapping):
            content = content.get(key)
        elif isinstance(content, list | tuple) and key.isdigit():
            content = content[int(key)]
    return content


def _no_weights(path: Path, content: Any, not_run: tuple[str, ...]) -> str:
    if not_run:
        return could_execute(path, not_run[0])
    keys = f" with {', '.join(map(str, [*content][:5]))}" if isinstance(content, Mapping) else ""
    return f"Expected a state dict in {str(path)!r}, but got {type(content).__name__}{keys}."
