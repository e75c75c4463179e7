"""The head of a linear probe, solved on extracted features, before everything is fine-tuned."""

from collections.abc import Iterator

from datamodules import Batch, ImageDataModule
from lightning_modules import Classifier
from lightning_modules.features import Features, extract
from lightning_modules.linear_probe import LinearProbe, fit_linear_probe
from pipelines.study.study import Study


def probe_first(study: Study, classifier: Classifier, data: ImageDataModule) -> LinearProbe:
    """Puts a linear probe into the head (LP-FT: Kumar et al. 2022, 2202.10054), and says so.

    It learns from the training images alone; the validation images choose its penalty, as they
    choose the epoch later.

    Args:
        study: where features are computed.
        classifier: changed in place, and back on the CPU.
        data: training and validation images, without augmentation.

    Raises:
        UserError: the network's answer is no linear function of what goes into its head.
    """
    train, val = (_features(study, classifier, data, split) for split in ("train", "val"))
    known = (val.feature, val.label)
    probe = fit_linear_probe(train.feature, train.label, data.num_classes, known, refit=False)
    probe.install(classifier.model)
    study.say(f"probe    {probe.accuracy:.1%} of the validation images, before the fine-tuning")
    return probe


def _features(study: Study, classifier: Classifier, data: ImageDataModule, split: str) -> Features:
    served = data.with_images(test=data.images(split))
    served.batch_size = study.chunk

    def batches() -> Iterator[Batch]:
        for batch in served.test_dataloader():
            yield served.on_after_batch_transfer(batch, 0)

    found = extract(classifier, batches(), study.device)
    classifier.cpu()
    return found
