"""What every command does round its own work: once, for all of them."""

from pipelines.study.names import slug, unique
from pipelines.study.options import DEFAULTS, DataLike, ModelLike, Options, options_in
from pipelines.study.study import Study

__all__ = [
    "DEFAULTS",
    "DataLike",
    "ModelLike",
    "Options",
    "Study",
    "options_in",
    "slug",
    "unique",
]
