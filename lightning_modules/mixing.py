"""Mixed images with mixed labels."""

from torch import Tensor
from torchvision.transforms import v2


def mixed(
    image: Tensor, label: Tensor, classes: int, mixup: float, cutmix: float
) -> tuple[Tensor, Tensor]:
    """Mixes pairs of a batch by mixup (1710.09412, 2017) or cutmix (1905.04899, 2019).

    With both, each batch takes one of them by an even coin.

    Args:
        image: `(N, C, H, W)`.
        label: `(N,)`.
        classes: K.
        mixup: Beta parameter of mixup, 0 for none.
        cutmix: Beta parameter of cutmix, 0 for none.

    Returns:
        Images `(N, C, H, W)` and labels `(N,)` as they were, or `(N, K)` where mixed.
    """
    ways = [
        way(alpha=alpha, num_classes=classes)
        for way, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix))
        if alpha > 0
    ]
    return v2.RandomChoice(ways)(image, label) if ways else (image, label)
