"""Model and data meet: what must be said before anything is measured."""

from callbacks.door_check import DoorCheck, check_door, is_unstated, is_untrained
from datamodules import Batch, ImageDataModule
from datamodules.errors import UserError
from datamodules.fractions import with_images
from lightning_modules import Classifier
from lightning_modules.examination import examine

_EXAMINED, _CHECKED = 16, 512


def meet(classifier: Classifier, data: ImageDataModule) -> list[str]:
    """Examines a classifier on the data, and checks it at the door.

    Args:
        classifier: its notes and facts are filled.
        data: shown as the classifier wants to see it.

    Returns:
        What must be said first, of the input and of the classes.

    Raises:
        UserError: the classifier cannot answer these images.
    """
    examine(classifier, data.taken("test", _EXAMINED).image)
    if is_untrained(classifier) or not data.undisturbed:
        return []
    if classifier.tasks or classifier.classes != data.classes:
        return []  # its answers say nothing of these labels, or of how it wants to see images
    return door_check(classifier, data, readings=is_unstated(classifier)).sentences


def door_check(
    classifier: Classifier, data: ImageDataModule, readings: bool = True, count: int = _CHECKED
) -> DoorCheck:
    """Checks input and classes on images that are not for testing, where there are any.

    Args:
        classifier: left as it is.
        data: left as it is, other splits included.
        readings: try other means and stds than the ones that hold.
        count: images.
    """
    aside = with_images(data)  # what is loaded here is no part of the evaluation
    batch = _others(aside, count)
    statistics = aside.mean_std() if readings else None
    return check_door(classifier, batch.image, batch.label, statistics, readings)


def _others(data: ImageDataModule, count: int) -> Batch:
    try:
        if len(data.images("val")):
            return data.taken("val", count)
    except UserError:
        pass  # there are test images only
    return data.taken("test", count)
