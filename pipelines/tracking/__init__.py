"""MLflow and TensorBoard: the store, its runs, and what is logged to them."""

from pipelines.tracking.lifecycle import Parent, Tracking, started, terminable
from pipelines.tracking.run import Run
from pipelines.tracking.schema import SchemaError
from pipelines.tracking.store import Store, open_store
from pipelines.tracking.trouble import NotLoggedError, TrackingError, UnreachableError

__all__ = [
    "NotLoggedError",
    "Parent",
    "Run",
    "SchemaError",
    "Store",
    "Tracking",
    "TrackingError",
    "UnreachableError",
    "open_store",
    "started",
    "terminable",
]
