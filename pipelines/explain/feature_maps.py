"""What the layers of a network make of one image."""

from pathlib import Path

from callbacks.interpretability.visualisation.feature_maps import feature_maps
from callbacks.leave_no_trace import leave_no_trace
from callbacks.monitoring.layers import watchable
from callbacks.queries import Queries
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier
from pipelines.explain.cell import Stage
from pipelines.explain.images import as_bytes, one_batch

_CHANNELS = 8


def measure_feature_maps(classifier: Classifier, data: ImageDataModule, _: Path) -> Stage:
    """The busiest channels of layers from first to last; none of a network without maps.

    Args:
        classifier: on its device, in evaluation mode.
        data: whose first test image is shown.

    Returns:
        A stage with the channels of each layer by name, the image, and maps `(K, h, w)` by layer.
    """
    image = one_batch(data, "test", 1).image.to(classifier.device)
    channels, arrays = {}, {"image": as_bytes(image)[0]}
    with leave_no_trace(classifier):
        for name in watchable(classifier):
            try:
                maps = feature_maps(Queries(classifier), image, name)[0]
            except UserError:  # it answers in numbers
                continue
            busiest = maps.mean((1, 2)).argsort(descending=True)[:_CHANNELS]
            channels[name] = busiest.tolist()
            arrays[name] = maps[busiest].cpu().numpy()
    return Stage(facts={"channels": channels}, arrays=arrays)
