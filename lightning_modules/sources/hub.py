"""torch.hub."""

from urllib.error import URLError

import torch

from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.sources.bare import bare_classifier
from lightning_modules.sources.request import Request


def from_hub(request: Request) -> Classifier:
    """`hub:OWNER/REPO:NAME`: runs the repository's code, so it needs `--trust_pickle`."""
    repository, _, name = request.rest.partition(":")
    if not name:
        raise UserError(f"Expected hub:OWNER/REPO:NAME, but got hub:{request.rest}.")
    if not request.trust_pickle:
        raise UserError(
            f"hub:{request.rest} executes code of {repository!r}: say `--trust_pickle true` if you "
            "trust it."
        )
    try:
        model = torch.hub.load(repository, name, pretrained=True, trust_repo=True)  # type: ignore[arg-type]
    except (URLError, OSError, RuntimeError, ValueError) as error:
        raise UserError(f"hub:{request.rest} cannot be loaded: {error}.") from error
    return bare_classifier(model, f"hub:{request.rest}", request)  # type: ignore[arg-type]
