"""Output channels removed for good, with everything that is tied to them."""

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from callbacks.damage.kind import generator
from callbacks.damage.removed_channels import RemovedChannels
from callbacks.damage.selection import checked_layer, layers_of
from callbacks.duplication import duplicate
from datamodules.errors import UserError


@dataclass(frozen=True)
class RemoveChannels:
    """Removes a share of output channels physically; the head keeps its classes.

    What hangs together shrinks together (DepGraph: Fang et al., 2301.12900, 2023, by their library
    `torch-pruning`). A group is left whole if the library's cut of it does not compute what the
    network computes without those channels, e.g. behind a shortcut that pads channels.

    Args:
        criterion: "l1" removes the smallest group norms (Li et al., 1608.08710, 2017), or "random".
        layers: only channels these modules make; empty for all.
    """

    criterion: Literal["l1", "random"] = "l1"
    layers: tuple[str, ...] = ()
    name: ClassVar[str] = "remove_channels"
    title: ClassVar[str] = "Channels removed"
    unit: ClassVar[str] = "share of channels"
    severities: ClassVar[tuple[float, ...]] = (0.1, 0.3, 0.5)

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> RemovedChannels:
        """Chooses the channels; the model is left as it is.

        Args:
            model: undamaged.
            severity: share of the channels of every group, in [0, 1); one stays at least.
            seed: of the draw.
            image: `(N, C, H, W)`, to trace the network.
            label: not asked for.

        Raises:
            UserError: a severity out of range, a layer that does not exist or cannot shrink.
        """
        if not 0 <= severity < 1:
            raise UserError(f"Expected `severity` to be a share in [0, 1), but got {severity:g}.")
        if self.criterion not in ("l1", "random"):
            raise UserError(f"Expected `criterion` l1 or random, but got {self.criterion!r}.")
        if image is None:
            raise UserError(
                "Expected `image`, a batch (N, C, H, W), to trace the network; got none."
            )
        layers = [checked_layer(model, name) for name in self.layers]
        model, image = duplicate(model).cpu().eval(), image[:2].detach().cpu()
        chosen = self._chosen(model, image, layers, severity, seed)
        sound, kept = _sound(model, image, chosen)
        if chosen and not sound:
            raise UserError(
                f"Cannot remove channels of {', '.join(layers) or 'the model'}: they are tied to a "
                "sum that the dependency graph cannot follow, to the classes, to a head that "
                "answers in training only, or parametrised, or answers are NaN. Use the damage "
                "prune or zero instead."
            )
        facts = {
            "kind": self.name, "criterion": self.criterion, "severity": severity, "seed": seed,
            "removed": json.dumps(sound), "left_whole": ",".join(sorted(set(chosen) - set(sound))),
        }  # fmt: skip
        return RemovedChannels.of(model, kept, facts)

    def _chosen(
        self, model: nn.Module, image: Tensor, layers: list[str], severity: float, seed: int
    ) -> dict[str, list[int]]:
        """Channels to remove, by the name of the layer that leads a group."""
        import torch_pruning as tp

        names = {part: name for name, part in model.named_modules()}
        # Its normalisation by the group's mean does not change the order within the group.
        norm = tp.importance.GroupMagnitudeImportance(
            p=1, target_types=[nn.modules.conv._ConvNd, nn.Linear]
        )
        draw, chosen, met = generator(self.name, severity, seed), {}, False
        head = model.get_submodule(layers_of(model)[-1])
        graph = _graph(model, image)
        for group in graph.get_all_groups(ignored_layers=[head]):
            makers = [names.get(one.dep.target.module, "") for one in group if _makes(one.dep)]
            channels = len(group[0].idxs)
            score = norm(group) if self.criterion == "l1" else torch.rand(channels, generator=draw)
            if layers and not _below(makers, layers):
                continue
            met = True
            count = min(round(severity * channels), channels - 1)
            if count and score is not None:
                least = score.argsort(stable=True)[:count].sort().values
                chosen[names[group[0].dep.target.module]] = least.tolist()
        if not met:
            where = f"the layers {', '.join(layers)}" if layers else "the model"
            raise UserError(f"There are no channels to remove in {where}: the classes must stay.")
        return chosen


@dataclass(frozen=True)
class RemoveRandomChannels(RemoveChannels):
    """Removes a share of output channels physically, at random."""

    criterion: Literal["l1", "random"] = "random"
    name: ClassVar[str] = "remove_random_channels"
    title: ClassVar[str] = "Random channels removed"


def _makes(dependency: Any) -> bool:
    """Whether a part of a group makes output channels, and does not only take them in."""
    return isinstance(dependency.target.module, nn.modules.conv._ConvNd | nn.Linear) and (
        dependency.handler.__name__ in ("prune_out_channels", "prune_depthwise_conv_out_channels")
    )


def _below(names: Iterable[str], layers: list[str]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for name in names for layer in layers)


def _graph(model: nn.Module, image: Tensor) -> Any:
    """The dependency graph; parameters need gradients while it is traced.

    Raises:
        UserError: the library cannot follow the network, e.g. where it shuffles channels.
    """
    import torch_pruning as tp

    needs = [(p, p.requires_grad) for p in model.parameters()]
    with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about parameters outside of layers, which stay
        try:
            graph = tp.DependencyGraph().build_dependency(
                model.requires_grad_(True), example_inputs=image, verbose=False
            )
        except Exception as problem:  # of any kind: of a ShuffleNet it divides by zero
            raise UserError(
                f"Cannot remove channels of the model: torch-pruning cannot follow it "
                f"({type(problem).__name__}: {problem}). Use the damage prune or zero instead."
            ) from problem
        finally:
            for parameter, need in needs:
                parameter.requires_grad_(need)
    return graph


def _cut(model: nn.Module, graph: Any, chosen: dict[str, list[int]]) -> nn.Module:
    """Removes channels by the library, in place."""
    for name, channels in chosen.items():
        part = model.get_submodule(name)
        cut = graph.get_pruner_of_module(part).prune_out_channels
        graph.get_pruning_group(part, cut, idxs=channels).prune()
    return model


_Channels = dict[str, list[int]]


def _sound(
    model: nn.Module, image: Tensor, chosen: _Channels
) -> tuple[_Channels, dict[str, Tensor]]:
    """The groups whose cut computes the same as the network that ignores their channels.

    Returns:
        Their channels, and the positions of all numbers that are left.
    """
    if not chosen:
        return {}, {}
    kept = _tried(model, image, chosen)
    if kept is not None:
        return chosen, kept
    sound = {
        name: channels
        for name, channels in chosen.items()
        if _tried(model, image, {name: channels}) is not None
    }
    return sound, _positions(model, image, sound) if sound else {}


def _tried(model: nn.Module, image: Tensor, chosen: _Channels) -> dict[str, Tensor] | None:
    """Positions of the numbers that are left, or None where the library's cut is wrong."""
    try:
        kept = _positions(model, image, chosen)
    # It counts channels of grouped convolutions as if there were no groups, and cannot replace a
    # weight that is computed by a parametrisation.
    except (RuntimeError, KeyError):
        return None
    return kept if _is_exact(model, image, kept) else None


@torch.no_grad()
def _is_exact(model: nn.Module, image: Tensor, kept: dict[str, Tensor]) -> bool:
    """Compares in double precision, so that only another function differs."""
    ignoring, exact = duplicate(model).double(), image.double()
    for name, part in ignoring.named_modules():
        where = kept.get(f"{name}.weight")
        if where is not None and isinstance(part, nn.modules.conv._ConvNd | nn.Linear):
            weight = part.weight
            inputs = where.flatten() // weight[0, 0].numel() % weight.shape[1]
            ignored = torch.ones(weight.shape[1], dtype=torch.bool).index_fill(0, inputs, False)
            weight[:, ignored] = 0
    shrunk = RemovedChannels.of(model, kept, {}).apply(duplicate(model)).double()
    try:
        one, other = ignoring(exact), shrunk(exact)
    except (RuntimeError, AssertionError):  # shapes that no longer fit
        return False
    if _runs_in_training(model, image) and not _runs_in_training(shrunk.float(), image):
        return False  # an auxiliary head, which answers in training only, was not cut along
    # Rounding of doubles is near 1e-15 a step; channels that are out of step differ by far more.
    return one.shape == other.shape and bool((one - other).abs().max() <= 1e-9 * one.abs().max())


def _runs_in_training(model: nn.Module, image: Tensor) -> bool:
    """Whether a copy answers at all in training mode."""
    try:
        duplicate(model).float().train()(image)
    except (RuntimeError, ValueError, AssertionError):  # shapes; one value a channel in batch norm
        return False
    return True


def _positions(model: nn.Module, image: Tensor, chosen: dict[str, list[int]]) -> dict[str, Tensor]:
    """Where every number that is left stood: the cut of a model filled with its own positions."""
    numbered = duplicate(model).double()
    graph = _graph(numbered, image[:1].double())
    before = {name: tensor.shape for name, tensor in numbered.state_dict().items()}
    for tensor in numbered.state_dict().values():
        if tensor.is_floating_point():  # not the counter of batches
            tensor.copy_(torch.arange(tensor.numel()).view(tensor.shape))
    after = _cut(numbered, graph, chosen).state_dict()
    return {name: t.long() for name, t in after.items() if t.shape != before[name]}
