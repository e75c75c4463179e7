"""A file of weights."""

from pathlib import Path

from torch import Tensor, nn

from datamodules.errors import UserError
from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import build, preprocessing_of
from lightning_modules.classifier import Classifier
from lightning_modules.saved_model import load_saved
from lightning_modules.sources.request import Request
from lightning_modules.weights_file import read_weights


def from_checkpoint(request: Request) -> Classifier:
    """`checkpoint:FILE` with `--arch`: weights of torch, Lightning or safetensors; or our own folder."""
    path = Path(request.rest).expanduser()
    if (path / "classifier.json").is_file():
        return load_saved(path)
    state = read_weights(path, request.trust_pickle)
    if request.arch is None:
        raise UserError(
            f"Expected `--arch` for {str(path)!r}, e.g. cifar_resnet20 or torchvision:resnet18; "
            f"`assay inspect {path}` guesses it."
        )
    classes, channels = outputs(state), inputs(state)
    model = build(request.arch, classes, channels)
    load_exactly(model, state, request.arch, path)
    like = request.preprocessing
    if request.arch.startswith("cifar_resnet") or (like and like.channels != channels):
        like = None if channels == 3 else Preprocessing(1, mean=(0.0,), std=(1.0,))
    usual = Preprocessing(resize=256, crop=224)  # of ImageNet models
    preprocessing = preprocessing_of(request.arch, like) or usual
    return Classifier(
        model, classes=classes, preprocessing=preprocessing, architecture=request.arch
    )


def load_exactly(model: nn.Module, state: dict[str, Tensor], arch: str, path: Path) -> None:
    """Loads weights and names every difference; only batch counters may be missing.

    Raises:
        UserError: the weights are not of this architecture.
    """
    own = model.state_dict()
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in own]
    differing = [k for k in own if k in state and own[k].shape != state[k].shape]
    if missing or unexpected or differing:
        shapes = [
            f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}" for k in differing
        ]
        said = [
            f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for what, names in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", shapes),
            )
            if names
        ]
        raise UserError(
            f"The weights in {str(path)!r} are not of {arch!r} ({'; '.join(said)}). "
            f"`assay inspect {path}` guesses the architecture."
        )
    model.load_state_dict(state, strict=False)


def outputs(state: dict[str, Tensor]) -> int:
    """Rows of the last matrix, or of the last 1x1 convolution: the number of classes."""
    heads = [t for t in state.values() if t.ndim == 2] or [t for t in state.values() if t.ndim == 4]
    if not heads:
        raise UserError("Expected weights of a linear or convolution layer, but there are none.")
    return heads[-1].shape[0]


def inputs(state: dict[str, Tensor]) -> int:
    """Channels that the first convolution takes."""
    first = next((t for t in state.values() if t.ndim == 4), None)
    return int(first.shape[1]) if first is not None and first.shape[1] in (1, 3) else 3
