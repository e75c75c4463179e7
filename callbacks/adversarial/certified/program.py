"""A network as a list of steps whose bounds are known: affine maps, rectifiers, maxima."""

import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from callbacks.adversarial.certified.operations import (
    Kind,
    Operation,
    identity_at_the_end,
    operation,
)
from datamodules.errors import UserError


class Step(NamedTuple):
    """One operation of a network.

    Args:
        kind: "affine" (any affine map of one or two inputs), "relu", or "max" (max pooling).
        inputs: positions of the steps it takes; -1 is the image.
        apply: the operation.
        spread: of affine maps, the same map with the absolute values of its weights and no offset:
            how far the output moves where the inputs move by at most this much. Of max pooling, the
            places in a plane of a size that each window looks at, see `windows`.
    """

    kind: Kind
    inputs: tuple[int, ...]
    apply: Callable[..., Tensor]
    spread: Callable[..., Tensor]


def program(network: nn.Module, image: Tensor) -> list[Step]:
    """Writes a feed-forward network down as torch itself traces it (`torch.export`).

    Compare the answers of `run` with those of the network before any bound is believed: code may
    decide by the values that it sees.

    Args:
        network: in evaluation mode, of linear layers, convolutions, batch norm, rectifiers, max and
            average pooling, dropout, reshaping, sums and concatenations, and constants.
        image: `(2, C, H, W)` that it is traced with; another number of images may be bounded.

    Returns:
        Steps in double precision; the last one answers.

    Raises:
        UserError: an operation of another kind, or code that cannot be traced.
    """
    traced = _traced(network, image)
    constants = _constants(traced)
    position: dict[fx.Node, int] = {}
    steps: list[Step] = []
    for node in traced.graph.nodes:
        if node.op == "placeholder" and node.name in traced.graph_signature.user_inputs:
            position[node] = -1
        elif node.op == "call_function":
            _add(node, constants, position, steps)
        elif node.op == "output":
            return _ending(steps, node.args[0], position)
    raise refused("no answer")


def run(steps: Sequence[Step], image: Tensor) -> Tensor:
    """Answers step by step: logits `(N, K)`, up to one number for all classes."""
    values: list[Tensor] = []
    for step in steps:
        values.append(step.apply(*(values[i] if i >= 0 else image for i in step.inputs)))
    return values[-1]


def refused(what: str) -> UserError:
    """The sentence for networks without known bounds."""
    return UserError(
        "Certified bounds are known for feed-forward networks of linear layers, convolutions, "
        "batch norm, rectifiers, pooling, sums and concatenations, but this one has "
        f"{what}: leave `interval_bounds` and `crown` out; `smoothing` takes any network."
    )


def _traced(network: nn.Module, image: Tensor) -> torch.export.ExportedProgram:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's own changes, which no user can mend
            # Without decompositions of its own, but with every write in place made a value.
            return torch.export.export(network, (image,), strict=False).run_decompositions({})
    except Exception as error:  # whatever the user's forward does with a stand-in for its image
        raise refused("code that torch.export cannot trace") from error


def _constants(traced: torch.export.ExportedProgram) -> dict[fx.Node, Tensor]:
    """Weights and buffers by the nodes that stand for them."""
    signature = traced.graph_signature
    names: Mapping[str, str] = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    held = {**traced.state_dict, **traced.constants}
    nodes = (node for node in traced.graph.nodes if node.name in names)
    return {node: held[names[node.name]].detach() for node in nodes}


def _add(
    node: fx.Node,
    constants: dict[fx.Node, Any],
    position: dict[fx.Node, int],
    steps: list[Step],
) -> None:
    """Adds the step of one node; what depends on weights alone is computed at once."""
    inputs = [arg for arg in node.all_input_nodes if arg in position]
    if not inputs:
        args, options = map_arg((node.args, node.kwargs), lambda arg: constants[arg])
        constants[node] = node.target(*args, **options)  # type: ignore[operator]
        return
    if identity_at_the_end(node) or (node.target is operator.getitem and node.args[1] == 0):
        position[node] = position[inputs[0]]
        return
    known: Operation | None = operation(node, set(position), constants)
    if known is None:
        raise refused(f"the operation {node.target}")
    kind, apply, spread = known
    steps.append(Step(kind, tuple(position[arg] for arg in inputs), apply, spread))
    position[node] = len(steps) - 1


def _ending(steps: list[Step], answers: Any, position: Mapping[fx.Node, int]) -> list[Step]:
    if len(answers) != 1 or not steps or position.get(answers[0]) != len(steps) - 1:
        raise refused("an answer that is not one tensor of logits")
    return steps
