"""One batch of images, shown to models that want different sizes and channels."""

from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from datamodules.preprocessing import Preprocessing, converted


def final_size(preprocessing: Preprocessing) -> tuple[int, int] | None:
    """Height and width of the images as the model sees them; None where any size will do."""
    if preprocessing.crop is not None:
        return preprocessing.crop, preprocessing.crop
    return preprocessing.resize if isinstance(preprocessing.resize, tuple) else None


def shown(
    image: Tensor, preprocessing: Preprocessing, native: tuple[int, int] | None = None
) -> Tensor:
    """Converts channels and resizes what the loader served for the largest model.

    Args:
        image: `(N, C, H, W)` in [0, 1].
        preprocessing: of the model that is to see it.
        native: size of the data, for a model that takes any; None leaves it what is served.

    Returns:
        The images themselves where nothing differs; else bilinearly resized with antialiasing.
    """
    image = converted(image, preprocessing.channels)
    size = final_size(preprocessing) or native
    if size is None or tuple(image.shape[-2:]) == size:
        return image
    return TF.resize(image, list(size), antialias=True).clamp(0, 1)


def largest(*wanted: Preprocessing) -> Preprocessing:
    """The preprocessing with most pixels and channels, for the loader; the first of equals."""

    def amount(one: Preprocessing) -> tuple[int, int]:
        height, width = final_size(one) or (0, 0)
        return one.channels, height * width

    return max(wanted, key=amount)
