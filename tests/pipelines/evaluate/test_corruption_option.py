"""`--corruption`: which probe a name makes."""

import pytest

from callbacks import Budget, CameraProbe, CorruptionProbe, ForeignProbe
from datamodules.errors import UserError
from pipelines.evaluate.corruption_option import corruption_probes

BLUR = "torchvision:GaussianBlur(kernel_size=9, sigma=0.5|1|2|3|4)"


@pytest.mark.parametrize(
    ("named", "kind", "name"),
    [
        ("fog", CorruptionProbe, "fog"),
        ("rain", CameraProbe, "camera_rain"),
        ("camera_rain", CameraProbe, "camera_rain"),
        (BLUR, ForeignProbe, "torchvision_GaussianBlur_kernel_size_9_sigma"),
    ],
)
def test_names(named: str, kind: type, name: str) -> None:
    (probe,) = corruption_probes([named], Budget(limit=7, chunk=5, seed=3))
    assert (type(probe), probe.name) == (kind, name)
    assert (probe.limit, probe.chunk, probe.seed) == (7, 5, 3)
    assert len(probe.settings()) == 5


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("fogg", "Did you mean 'fog'?"),
        ("camera_rian", "There is no corruption 'camera_rian'"),
        ("GaussianBlur(sigma=1)", "torchvision:GaussianBlur"),
    ],
)
def test_mistakes(named: str, said: str) -> None:
    with pytest.raises(UserError) as mistake:
        corruption_probes([named], Budget())
    assert said in str(mistake.value)
