"""The file inside of a model that somebody logged with MLflow."""

import re
import sys
from pathlib import Path

from datamodules.errors import UserError

_FILES = ("data/model.pt2", "data/model.pth", "model.onnx", "model")
"""Where mlflow.pytorch, mlflow.onnx and mlflow.transformers keep it."""


def logged_file(folder: Path, trust_pickle: bool = False) -> Path:
    """Returns the file or folder that holds the network of an MLflow model.

    Args:
        folder: with an `MLmodel` file.
        trust_pickle: also let Python find the code that was logged beside it.

    Raises:
        UserError: the model is of a flavour that is no torch or ONNX network.
    """
    for name in _FILES:
        if (folder / name).exists():
            if trust_pickle and (folder / "code").is_dir():
                sys.path.append(str(folder / "code"))  # last, so that it hides nothing
            return folder / name
    text = (folder / "MLmodel").read_text(errors="replace")
    flavours = re.findall(r"^  (\w+):$", text, re.MULTILINE)
    raise UserError(
        f"{str(folder)!r} is a logged model of {', '.join(flavours) or 'an unknown flavour'}: "
        "expected one of mlflow.pytorch, mlflow.onnx or mlflow.transformers, or one of Assay."
    )
