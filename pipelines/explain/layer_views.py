"""What the layers of a network make of one image."""

import torch
from matplotlib.figure import Figure

from callbacks.interpretability.visualisation.feature_maps import feature_maps
from callbacks.leave_no_trace import leave_no_trace
from callbacks.monitoring.layers import watchable
from callbacks.queries import Queries
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier
from pipelines.explain.features import batches
from pipelines.explain.picture_figures import feature_figure

_CHANNELS = 8


def layer_maps(
    classifier: Classifier, data: ImageDataModule, device: torch.device
) -> Figure | None:
    """The busiest channels of layers from first to last; None of a network without maps.

    Args:
        classifier: on `device`, in evaluation mode.
        data: whose first test image is shown.
        device: of the model.
    """
    image, found = next(batches(data, "test", 1, 1)).image.to(device), {}
    with leave_no_trace(classifier):
        for name in watchable(classifier):
            try:
                maps = feature_maps(Queries(classifier), image, name)[0]
            except UserError:  # it answers in numbers
                continue
            busiest = maps.mean((1, 2)).argsort(descending=True)[:_CHANNELS]
            found[name] = (busiest.tolist(), maps[busiest].cpu().numpy())
    if not found:
        return None
    return feature_figure(image[0].movedim(0, -1).cpu().numpy(), found)
