import torch
from torch import nn

from datamodules import Batch, Preprocessing
from lightning_modules import Classifier


def test_normalises_inside() -> None:
    """So that a step of epsilon is a step in pixels; torchvision is the oracle."""
    from torchvision.transforms.functional import normalize

    wanted = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    classifier = Classifier(nn.Flatten(), classes=12, preprocessing=wanted, architecture="x")
    image = torch.rand(4, 3, 2, 2)
    expected = normalize(image, [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]).flatten(1)
    torch.testing.assert_close(classifier(image), expected)
    assert not classifier.state_dict(), "mean and std are facts, not weights"
    assert classifier.classes == tuple(str(i) for i in range(12))


def test_a_test_step_does_not_depend_on_the_batch(classifier: Classifier, digits: Batch) -> None:
    classifier.eval()
    with torch.no_grad():
        whole = classifier.test_step(digits, 0)
        for size in (1, 7):
            parts = zip(*(column.split(size) for column in digits), strict=True)
            found = torch.cat([classifier.test_step(Batch(*part), 0) for part in parts])
            assert torch.equal(found, whole)
