"""The corruptions by name."""

from callbacks.corruption.brightness import Brightness
from callbacks.corruption.contrast import Contrast
from callbacks.corruption.corruption import Corruption
from callbacks.corruption.defocus_blur import DefocusBlur
from callbacks.corruption.elastic_transform import ElasticTransform
from callbacks.corruption.fog import Fog
from callbacks.corruption.frost import Frost
from callbacks.corruption.gaussian_blur import GaussianBlur
from callbacks.corruption.gaussian_noise import GaussianNoise
from callbacks.corruption.glass_blur import GlassBlur
from callbacks.corruption.impulse_noise import ImpulseNoise
from callbacks.corruption.jpeg_compression import JPEGCompression
from callbacks.corruption.motion_blur import MotionBlur
from callbacks.corruption.pixelate import Pixelate
from callbacks.corruption.saturate import Saturate
from callbacks.corruption.shot_noise import ShotNoise
from callbacks.corruption.snow import Snow
from callbacks.corruption.spatter import Spatter
from callbacks.corruption.speckle_noise import SpeckleNoise
from callbacks.corruption.zoom_blur import ZoomBlur

CORRUPTIONS: dict[str, type[Corruption]] = {
    "gaussian_noise": GaussianNoise,
    "shot_noise": ShotNoise,
    "impulse_noise": ImpulseNoise,
    "defocus_blur": DefocusBlur,
    "glass_blur": GlassBlur,
    "motion_blur": MotionBlur,
    "zoom_blur": ZoomBlur,
    "snow": Snow,
    "frost": Frost,
    "fog": Fog,
    "brightness": Brightness,
    "contrast": Contrast,
    "elastic_transform": ElasticTransform,
    "pixelate": Pixelate,
    "jpeg_compression": JPEGCompression,
    "speckle_noise": SpeckleNoise,
    "gaussian_blur": GaussianBlur,
    "spatter": Spatter,
    "saturate": Saturate,
}
"""By name: the fifteen of ImageNet-C, then the four that it holds out."""
