"""The sets of weights in a file, and how one of them is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from datamodules.errors import UserError, suggestion
from lightning_modules.architectures import auxiliary
from lightning_modules.checkpoint_files.beside import Beside, beside_weights
from lightning_modules.checkpoint_files.contents import could_execute, read_content
from lightning_modules.checkpoint_files.inert_pickle import Unknown
from lightning_modules.checkpoint_files.kinds import Kind, file_kind
from lightning_modules.checkpoint_files.weight_sets import State, best_set, weight_sets


class WeightsFile(NamedTuple):
    """What a checkpoint holds.

    Args:
        path: of the file or folder.
        kind: of the file.
        sets: sets of weights as they were saved, by the path of keys to each.
        facts: what `FineTuning` added: architecture, classes, preprocessing; else None.
        module: a whole pickled network; only of trusted files.
        pickled: the class of a whole pickled network that was not rebuilt; else empty.
        beside: what it says of images and classes besides the weights.
    """

    path: Path
    kind: Kind
    sets: dict[str, State]
    facts: dict[str, Any] | None = None
    module: nn.Module | None = None
    pickled: str = ""
    beside: Beside = Beside()


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
    held = _at(content, best_set(sets))
    return WeightsFile(
        path=path,
        kind=kind,
        sets=sets,
        facts=facts if isinstance(facts, dict) else None,
        module=held if isinstance(held, nn.Module) else None,
        pickled=held.name if isinstance(held, Unknown) else "",
        beside=Beside() if isinstance(facts, dict) else beside_weights(content),
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
            if not fits(own[k], state[k])
        ],
        "of another type": [
            f"{k} {type_name(state[k])} instead of {type_name(own[k])}"
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


def fits(own: Tensor, saved: Tensor) -> bool:
    """Whether a saved weight has the shape that a network wants."""
    return is_lazy(own) or own.shape == saved.shape


def type_name(tensor: Tensor) -> str:
    """For instance float16."""
    return str(tensor.dtype).removeprefix("torch.")


def _selected(sets: dict[str, State], key: str, path: Path) -> dict[str, State]:
    """The set of that name, or the weights whose names begin with it."""
    for name in sets:
        if key in (name, name.rpartition(".")[2]):
            return {name: sets[name]}
    if below := {name: state for name, state in sets.items() if name.startswith(f"{key}.")}:
        return below
    for name, state in sets.items():
        lead = key.removeprefix(f"{name}.") if name else key
        inside = {n[len(lead) + 1 :]: v for n, v in state.items() if n.startswith(f"{lead}.")}
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
