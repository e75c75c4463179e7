"""Hugging Face image classifiers."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from datamodules.errors import UserError
from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import build, imported
from lightning_modules.classifier import Classifier
from lightning_modules.heads import fit_ends, head_outputs
from lightning_modules.huggingface_logits import Logits
from lightning_modules.input_contract import WEIGHTS, all_fields, unknown_input
from lightning_modules.sources.request import Request
from lightning_modules.weights_choice import weights_for
from lightning_modules.weights_file import load_exactly, read_weights

_INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # as Pillow counts them


def from_huggingface(request: Request) -> Classifier:
    """`hf:OWNER/NAME` or `hf:FOLDER`: an image classifier; needs `pip install 'assay[hf]'`."""
    config = _config(Path(request.rest))
    if "architecture" in config:  # timm writes folders that look like those of transformers
        return from_timm_folder(Path(request.rest), config)
    transformers = imported("transformers", "hf")
    try:
        model, loading = transformers.AutoModelForImageClassification.from_pretrained(
            request.rest, output_loading_info=True, trust_remote_code=request.trust_pickle
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"hf:{request.rest} cannot be loaded: {str(error).strip().splitlines()[0]} "
            "Expected a folder or a hub name of an image classifier."
        ) from error
    _check_complete(request.rest, loading)
    labels = model.config.id2label
    note = ""
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(
            request.rest, trust_remote_code=request.trust_pickle
        )
        preprocessing, reasons = _preprocessing(processor), all_fields(WEIGHTS)
    except (OSError, ValueError, KeyError):
        preprocessing, reasons = _unprocessed(model.config)
        note = f"hf:{request.rest} has no preprocessor_config.json: images in [0, 1] as they are"
    classifier = Classifier(
        Logits(model.float()),  # half-precision weights are computed with in float32
        classes=[str(labels[key]) for key in sorted(labels)],
        preprocessing=preprocessing,
        architecture=f"hf:{request.rest}",
        reasons=reasons,
    )
    classifier.note(note)
    return classifier


def _unprocessed(config: Any) -> tuple[Preprocessing, dict[str, str]]:
    """Images in [0, 1] of the size that the network was made for."""
    channels, side = int(getattr(config, "num_channels", 3)), getattr(config, "image_size", None)
    size = (side, side) if isinstance(side, int) else side and tuple(side)
    wanted, reasons = unknown_input(channels, size[0] if size else None)
    return replace(wanted, resize=size), reasons


def _config(folder: Path) -> dict[str, Any]:
    """The configuration in a folder; nothing where the name is one of the hub."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _check_complete(name: str, loading: Mapping[str, Any]) -> None:
    """Refuses weights of which a part is absent: transformers makes it up at random.

    Raises:
        UserError: something is missing.
    """
    missing = sorted(loading.get("missing_keys", ()))
    other = [str(entry[0]) for entry in loading.get("mismatched_keys", ())]
    if missing or other:
        listed = ", ".join([*missing, *other][:3])
        raise UserError(
            f"hf:{name} lacks {len(missing) + len(other)} weights of an image classifier "
            f"({listed}), which would be random: it is a backbone or another task's model. Give it "
            "a head with training, or choose another."
        )


def from_timm_folder(folder: Path, config: Mapping[str, Any]) -> Classifier:
    """A folder that timm wrote: `architecture` and `pretrained_cfg` in its config.json.

    Raises:
        UserError: timm is not installed, or the weights are not of that architecture.
    """
    architecture, told = f"timm:{config['architecture']}", config.get("pretrained_cfg", {})
    model = build(architecture, int(config.get("num_classes") or told.get("num_classes") or 1000))
    file = read_weights(folder)
    weights = weights_for(model, file)
    fit_ends(model, weights.state)
    load_exactly(model, weights.state, architecture, folder, weights.advice)
    size = told.get("input_size", (3, 224, 224))
    names = config.get("label_names") or told.get("label_names")
    return Classifier(
        model,
        classes=list(names) if names else head_outputs(model),
        preprocessing=Preprocessing(
            channels=size[0],
            resize=int(size[-1] / told.get("crop_pct", 0.875)),
            crop=size[-1],
            interpolation=told.get("interpolation", "bilinear"),
            mean=tuple(told.get("mean", (0.485, 0.456, 0.406))),
            std=tuple(told.get("std", (0.229, 0.224, 0.225))),
        ),
        architecture=architecture,
        reasons=all_fields(WEIGHTS),
    )


def _preprocessing(processor: Any) -> Preprocessing:
    """Reads sizes and normalisation off the processor's own fields."""
    size, crop = processor.size, getattr(processor, "crop_size", None)
    square = "shortest_edge" not in size
    side = None if square else size["shortest_edge"]
    resize = (size["height"], size["width"]) if square else side
    crop = crop["height"] if crop and getattr(processor, "do_center_crop", False) else None
    share = getattr(processor, "crop_pct", None)
    if side and share and side < 384:  # ConvNeXt's processor: a larger resize, then a crop
        resize, crop = int(side / share), side
    # Of images in [0, 1]; some processors leave 0 to 255, or scale to something else.
    factor = getattr(processor, "rescale_factor", 1 / 255)
    top = 255 * factor if getattr(processor, "do_rescale", True) else 255.0
    normalised = getattr(processor, "do_normalize", True)
    mean = processor.image_mean if normalised else (0.0,) * 3
    std = processor.image_std if normalised else (1.0,) * 3
    return Preprocessing(
        channels=len(mean),
        resize=resize,
        crop=crop,
        interpolation=_INTERPOLATIONS.get(int(getattr(processor, "resample", 2)), "bilinear"),
        mean=tuple(value / top for value in mean),
        std=tuple(value / top for value in std),
    )
