"""Pairs the names in a file with a network's own, whatever wrapped it when it was saved."""

import re
from collections.abc import Iterable

_COMPILED = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
"""Of DataParallel, torch.compile, FSDP and activation checkpointing, anywhere in a name."""
_WRAPPERS = _COMPILED | {"model", "net", "network", "backbone", "classifier", "encoder"}
"""Also what Lightning modules and wrappers usually call the network they hold."""
_LEVELS: tuple[frozenset[str], ...] = (frozenset(), _COMPILED, _WRAPPERS)

_LOSS = "criterion|criterions|loss|losses|loss_fn|loss_func|loss_function|objective"
_METRIC = "metric|metrics|acc|accuracy|top1|top5|f1|auroc|confmat|confusion_matrix|ema_updates"
_BESIDES = re.compile(
    rf"(?:(?:train|val|valid|validation|test|ce|bce|focal|kd|my)_)*(?:{_LOSS}|{_METRIC})"
    rf"|.*_(?:loss|criterion|loss_fn|metric|metrics|acc|accuracy)|n_averaged|num_updates|decay"
)
"""Parts of names of what lies beside the network: loss weights, metrics, counters of averages."""


def matched(names: Iterable[str], own: Iterable[str]) -> dict[str, str]:
    """Pairs names of a file with a network's names: exactly, else with wrappers taken off.

    Args:
        names: in the file.
        own: of the network.

    Returns:
        The file's name for every name of the network that it has.
    """
    names, own = list(names), list(own)
    best: dict[str, str] = {}
    for prefix in ("", shared_prefix(names)):
        short = {name.removeprefix(prefix): name for name in names}
        for wrappers in _LEVELS:
            pairs = _paired(short, own, wrappers)
            if len(pairs) > len(best):
                best = pairs
    return best


def beside_the_network(name: str) -> bool:
    """Whether a name is one of a loss, a metric or a counter, which no network answers with."""
    return any(_BESIDES.fullmatch(part) for part in name.split("."))


def plain(names: Iterable[str]) -> dict[str, str]:
    """Names with usual wrappers taken off, for a network that is not known yet.

    Returns:
        The file's name for every plain name.
    """
    names = [name for name in names if not beside_the_network(name)]
    short = {_without(modernised(name), _COMPILED): name for name in names}
    while len(short) == len(names) and (prefix := _wrapper_of(short)):
        short = {name.removeprefix(prefix): file for name, file in short.items()}
    return short


def modernised(name: str) -> str:
    """Torchvision's published DenseNets have dots in names, which modules cannot have."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


def _paired(short: dict[str, str], own: list[str], wrappers: frozenset[str]) -> dict[str, str]:
    """Pairs names that are the same without wrappers; none where that makes two names one."""
    mine = {_without(name, wrappers): name for name in own}
    theirs: dict[str, str] = {}
    for name, full in short.items():
        bare = _without(modernised(name), wrappers)
        if bare in mine and bare in theirs:
            return {}
        theirs[bare] = full
    if len(mine) != len(own):
        return {}
    return {name: theirs[bare] for bare, name in mine.items() if bare in theirs}


def _without(name: str, wrappers: frozenset[str]) -> str:
    return ".".join(part for part in name.split(".") if part not in wrappers)


def _wrapper_of(names: Iterable[str]) -> str:
    """The usual wrapper that all names share, with its dot; else nothing."""
    names = list(names)
    first = names[0].partition(".")[0] + "." if names else ""
    shared = first[:-1] in _WRAPPERS and all(name.startswith(first) for name in names)
    return first if shared else ""


def shared_prefix(names: Iterable[str]) -> str:
    """What all names but those of losses and metrics begin with, up to a dot."""
    parts = [name.split(".")[:-1] for name in names if not beside_the_network(name)]
    shared: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "".join(f"{part}." for part in shared)
