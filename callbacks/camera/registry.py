"""The cameras' corruptions by name."""

from callbacks.camera.banding import Banding
from callbacks.camera.colour_quantisation import ColourQuantisation
from callbacks.camera.gamma import Gamma
from callbacks.camera.geometric import Perspective, Rotation, Scale, Translation
from callbacks.camera.h264_blocking import H264Blocking
from callbacks.camera.haze import Haze
from callbacks.camera.iso_noise import ISONoise
from callbacks.camera.lens_dirt import LensDirt
from callbacks.camera.rain import Rain
from callbacks.camera.rolling_shutter import RollingShutter
from callbacks.camera.white_balance import WhiteBalance
from callbacks.corruption import Corruption

CAMERAS: dict[str, type[Corruption]] = {
    "rotation": Rotation,
    "scale": Scale,
    "translation": Translation,
    "perspective": Perspective,
    "gamma": Gamma,
    "white_balance": WhiteBalance,
    "iso_noise": ISONoise,
    "banding": Banding,
    "rolling_shutter": RollingShutter,
    "rain": Rain,
    "haze": Haze,
    "lens_dirt": LensDirt,
    "h264_blocking": H264Blocking,
    "colour_quantisation": ColourQuantisation,
}
"""By name: where the camera stands, how it sees light, what is before it, what it writes."""
