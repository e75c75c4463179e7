"""Models that follow MAITE's protocol for image classification."""

from datamodules.errors import UserError
from datamodules.maite_data import index2label
from lightning_modules.black_box import BlackBox
from lightning_modules.classifier import Classifier
from lightning_modules.input_contract import unknown_input
from lightning_modules.maite_model import maite_network, opened_maite
from lightning_modules.sources.bare import bare_classifier
from lightning_modules.sources.request import Request
from lightning_modules.trial import example

_HOW = "it gets images one by one in a list, (C, H, W) float32 in [0, 1]"


def from_maite(request: Request) -> Classifier:
    """`maite:MODULE:NAME`: a MAITE model of your own, an object or what makes one.

    A torch module whose answers can be differentiated is used as a network; anything else is a
    black box, which only answers.
    """
    name = request.rest
    model = opened_maite(name)
    classes = index2label(model, None, f"maite:{name}")
    box = maite_network(name, request.channels)
    if not isinstance(box, BlackBox):
        classifier = bare_classifier(box, f"maite:{name}", request, classes=classes)
        classifier.note(f"maite:{name} is a torch module, and gradients come through; {_HOW}")
        return classifier
    if classes and len(classes) != box.outputs:
        raise UserError(
            f"Expected a score for each of the {len(classes)} classes of `index2label`, but "
            f"maite:{name} answers {box.outputs}."
        )
    wanted, reasons = unknown_input(1 if box.contract.image[0] == 1 else 3)
    classifier = Classifier(
        box,
        classes=classes or box.outputs,
        preprocessing=wanted,
        architecture=f"maite:{name}",
        reasons=reasons,
    )
    example(box, wanted.channels)  # remembered, so that its scale is looked at
    classifier.note(f"{box.described()}; {_HOW}")
    return classifier
