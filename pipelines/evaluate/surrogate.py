"""`--surrogate MODEL`: the model that a transfer attack is carried out on."""

from torch import Tensor

from datamodules import ImageDataModule, Preprocessing
from datamodules.errors import UserError
from lightning_modules import Classifier, load_classifier
from lightning_modules.black_box import require_gradients
from lightning_modules.examination import examine
from pipelines.study import ModelLike, Study

_EXAMINED = 16


def architectures(study: Study, surrogate: ModelLike | None) -> tuple[str | None, str | None]:
    """The architectures of the model and of its surrogate: one for both, or one each.

    Raises:
        UserError: there are more than models.
    """
    if surrogate is None:
        return study.arch, None
    if len(study.archs) > 2:
        raise UserError(
            f"Expected `arch` once for model and surrogate, or one each, but got "
            f"{len(study.archs)}."
        )
    given: list[str | None] = [None if arch in ("", "none") else arch for arch in study.archs]
    return (given[0], given[-1]) if given else (None, None)


def open_surrogate(
    study: Study, surrogate: ModelLike, data: ImageDataModule, arch: str | None
) -> Classifier:
    """Loads a surrogate as it is by itself: what was said of the model is not said of this one.

    Its outputs are put into the order of the data's classes, by name; images come to it as the
    model is shown them, in [0, 1], and its own mean and std are applied inside.

    Args:
        study: that the result belongs to.
        surrogate: source or network.
        data: as the model is shown it.
        arch: of a bare checkpoint.

    Raises:
        UserError: it has other classes, wants other images, or lets no gradient through.
    """
    study.name_store(surrogate)
    classifier = load_classifier(
        surrogate, arch=arch, data_classes=data.classes, preprocessing=data.preprocessing,
        trust_pickle=study.trust_pickle,
    )  # fmt: skip
    require_gradients(classifier, "The surrogate")
    classifier.chunk = study.chunk
    image = data.taken("test", _EXAMINED).image
    _check_sees_the_same(classifier.title, classifier.preprocessing, image)
    examine(classifier, image)
    study.say(f"surrogate {classifier.title}: {classifier.input_line}")
    study.notes += [f"Of the surrogate: {note}" for note in classifier.notes]
    for note in classifier.notes:
        study.say(f"WARNING  of the surrogate: {note}")
    return classifier.eval()


def _check_sees_the_same(title: str, wanted: Preprocessing, image: Tensor) -> None:
    """Refuses a surrogate for other images than `(N, C, H, W)`, which one change must fit."""
    channels, *size = image.shape[1:]
    fixed = [wanted.crop] * 2 if wanted.crop else wanted.resize
    if isinstance(fixed, int):  # the short side: any image of that, and any other too
        fixed = None
    if channels != wanted.channels or (fixed is not None and list(fixed) != size):
        wants = "x".join(map(str, [wanted.channels, *(fixed or size)]))
        raise UserError(
            f"Expected `--surrogate` to take the images that the model is shown "
            f"({channels}x{size[0]}x{size[1]}: channels, height, width), because one change is "
            f"tried on both, but {title!r} wants {wants}: take another surrogate."
        )
