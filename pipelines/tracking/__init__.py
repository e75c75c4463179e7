"""MLflow and TensorBoard: the store, its runs, and what is logged to them."""

from pipelines.tracking.lifecycle import Tracking, started, terminable
from pipelines.tracking.run import Run
from pipelines.tracking.store import Store, TrackingError, UnreachableError, open_store

__all__ = [
    "Run",
    "Store",
    "Tracking",
    "TrackingError",
    "UnreachableError",
    "open_store",
    "started",
    "terminable",
]
