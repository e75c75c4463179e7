"""Adversarial images as files: rounded to 8 bit, saved as PNG, read back and judged again."""

from callbacks.adversarial.pictures.eight_bit import EightBit, eight_bit
from callbacks.adversarial.pictures.probe import AdversarialPictures
from callbacks.adversarial.pictures.summary import saved_as_png

__all__ = ["AdversarialPictures", "EightBit", "eight_bit", "saved_as_png"]
