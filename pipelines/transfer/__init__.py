"""`assay transfer`: models × data sets × modes × seeds × fractions, predicted and measured."""

from pipelines.transfer.command import main, transfer

__all__ = ["main", "transfer"]
