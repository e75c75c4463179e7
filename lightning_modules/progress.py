"""What a training's next step depends on besides weights and optimizer, in plain values."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

_PLAIN = (bool, int, float, str, Tensor, type(None))


def random_state(device: torch.device) -> dict[str, Any]:
    """The global generators of this process, in values that `weights_only` loads.

    Args:
        device: of the training; its generator too where it is a GPU.
    """
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Goes on with the numbers that would have come next."""
    version, keys, rest = state["python"]
    random.setstate((version, tuple(keys), rest))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


def plain_values(something: Any) -> dict[str, Any]:
    """Numbers, texts and tensors among an object's attributes: counters, radii, disturbances."""
    values = getattr(something, "__dict__", {})
    return {name: value for name, value in values.items() if isinstance(value, _PLAIN)}


def metric_states(module: nn.Module) -> dict[str, dict[str, Any]]:
    """The sums of the metrics of a module, for an epoch that is gone on in its middle."""
    return {
        name: {"updates": metric.update_count, "sums": dict(metric.metric_state)}
        for name, metric in module.named_children()
        if isinstance(metric, Metric)
    }


def set_metric_states(module: nn.Module, states: dict[str, dict[str, Any]]) -> None:
    """Puts back what `metric_states` told."""
    for name, state in states.items():
        metric: Any = getattr(module, name)
        metric._update_count = state["updates"]
        for key, value in state["sums"].items():
            setattr(metric, key, value.to(metric.device))
