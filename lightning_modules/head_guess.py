"""Which weight of an unknown network is its head, told from names and shapes alone."""

import re
from collections.abc import Mapping

_HEAD = re.compile(
    r"heads?|.*_head|head_.*|fc|linear|classifier|classif|cls|logits?|out|output|last_linear|"
    r"pred|prediction|final|readout|mlp_head"
)
_INNER = re.compile(
    r".*(attn|attention|embed|pos|token|mlp|ffn|feed_forward|qkv|in_proj|out_proj|rel_|relative|"
    r"layer_?scale|lora|norm|query|key|value|intermediate|blocks?\.|encoder\.|layers?\.)"
)


def head_outputs_of(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """How many classes the head tells apart; None where no weight is clearly the head.

    The head is a matrix (or 1x1 convolution) whose outputs go into no other matrix. Where several
    are left, a name that says so decides, then a bias of the same length.

    Args:
        shapes: of a state dict.
    """
    matrices = {name: shape for name, shape in shapes.items() if _is_matrix(name, shape)}
    inner = {name for name in matrices if _INNER.fullmatch(name.rpartition(".")[0])}
    outer = {name: shape for name, shape in matrices.items() if name not in inner}
    left = _ends(outer or matrices, matrices, shapes)
    for rule in (_named, _shallow):
        if len({matrices[name][0] for name in left}) > 1:
            left = rule(left) or left
    outputs = {matrices[name][0] for name in left}
    return outputs.pop() if len(outputs) == 1 else None


def _is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    weight = name.endswith("weight")
    return weight and (len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1)))


def _ends(
    names: Mapping[str, tuple[int, ...]],
    matrices: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, tuple[int, ...]],
) -> list[str]:
    """Those whose outputs are not the inputs of another, nor normalised."""
    left = []
    for name, (outputs, *_) in names.items():
        inputs = {shape[1] for other, shape in matrices.items() if other != name}
        bias = shapes.get(f"{name.removesuffix('weight')}bias")
        if outputs not in inputs and bias in (None, (outputs,)):
            left.append(name)
    return left or list(names)


def _named(names: list[str]) -> list[str]:
    return [
        name
        for name in names
        if any(_HEAD.fullmatch(re.sub(r"\d+$", "", part)) for part in name.split(".")[:-1])
    ]


def _shallow(names: list[str]) -> list[str]:
    """Those with the fewest parts of a name that are no numbers."""
    depth = {name: sum(not part.isdigit() for part in name.split(".")) for name in names}
    return [name for name in names if depth[name] == min(depth.values())]
