"""Copies of networks, for algorithms, which import no framework themselves."""

from lightning_modules.duplication import duplicate

__all__ = ["duplicate"]
