"""`--corruption NAME ...`: corruptions, of cameras and of other libraries too, without YAML."""

from collections.abc import Sequence

from callbacks import Probe
from callbacks.budget import Budget
from callbacks.camera import CAMERAS, CameraProbe
from callbacks.corruption import CORRUPTIONS, CorruptionProbe
from callbacks.foreign import LIBRARIES, ForeignProbe
from datamodules.errors import UserError, suggestion


def corruption_probes(names: Sequence[str], budget: Budget) -> list[Probe]:
    """Makes a probe of every corruption that is named.

    Args:
        names: of a published corruption, of one of a camera's, with or without `camera_`, or of a
            transform of another library as `torchvision:GaussianBlur(kernel_size=9, sigma=1|2|4)`.
        budget: of the preset.

    Raises:
        UserError: there is none of a name, or the transform cannot be made.
    """
    return [_probe(name, budget) for name in names]


def _probe(name: str, budget: Budget) -> Probe:
    short = name.removeprefix("camera_")
    if ":" in name or "(" in name:
        return ForeignProbe.within(budget, transform=name)
    if name in CORRUPTIONS:
        return CorruptionProbe.within(budget, corruption=CORRUPTIONS[name])
    if short in CAMERAS:
        return CameraProbe.within(budget, corruption=CAMERAS[short])
    libraries = ", ".join(f"{library}:Class(...)" for library in LIBRARIES)
    near = suggestion(name, {**CORRUPTIONS, **CAMERAS})
    raise UserError(
        f"There is no corruption {name!r}.{near} Transforms "
        f"of other libraries are named as {libraries}. See: assay list corruptions"
    )
