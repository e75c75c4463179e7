"""The first meeting of a classifier with images: does it answer, what, and always the same?"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import UserError
from lightning_modules.answer_rule import AnswerRule, ends_in_sigmoid, placed, scale_of
from lightning_modules.classifier import Classifier
from lightning_modules.heads import find_head
from lightning_modules.trial import as_taken, memory, reason_of, remember_shape, undisturbed

_ROUNDED = 0.01
"""By how much probabilities of low precision may pass 0 and 1."""
_FEW = 2
"""Images that are differentiated, which costs more than a forward."""
_AGREE = 1e-3
"""Share of the spread of the logits by which batches of other neighbours may round otherwise."""


def examine(classifier: Classifier, image: Tensor, real: bool = True) -> None:
    """Shows a classifier some images and keeps, in its notes and facts, what they tell of it.

    Recognises where in an answer the scores are and whether they are probabilities, initialises
    lazy layers, and tells types other than float32, answers that differ from call to call or with
    the neighbours in a batch, and networks without a gradient.

    Args:
        classifier: changed: `answers`, `notes`, `facts`; weights, modes and random states are not.
        image: `(N, C, H, W)` in [0, 1], as the data serve them; some tens tell enough.
        real: whether they are images of the data; what is answered to noise proves no defect.

    Raises:
        UserError: it cannot answer these images, answers no logits, only NaN, or other classes.
    """
    image = image.to(classifier.device)
    answer = _asked(classifier, image)
    rule = _rule(classifier, answer, image)
    classifier.answers = rule
    remember_shape(classifier.model, tuple(image.shape[1:]))
    memory(classifier.model)["place"] = list(rule.place)
    scores, logits = rule.scores(answer), rule(answer).float()
    if real or bool(scores.isfinite().any()):
        _check(classifier, scores, logits)
    _tell_answers(classifier, answer, rule, scores)
    _tell_type(classifier)
    repeats = _repeats(classifier, image, logits)
    classifier.facts["deterministic"] = repeats
    classifier.facts["alone"] = not repeats or _alone(classifier, image, logits)
    classifier.facts["gradient"] = _gives_gradient(classifier, image)
    classifier.facts["head"] = _head(classifier, image)


def check_answers(classifier: Classifier, image: Tensor) -> None:
    """Refuses images that a classifier cannot answer, for instance of another size.

    Args:
        classifier: left as it is.
        image: `(N, C, H, W)` in [0, 1], as the data serve them to it.

    Raises:
        UserError: it raises an error.
    """
    _asked(classifier, image.to(classifier.device))


def _asked(classifier: Classifier, image: Tensor, seed: int = 0) -> Any:
    """The raw answer; whatever goes wrong becomes one sentence."""
    try:
        with undisturbed(classifier.model, seed), torch.no_grad():
            return classifier.model(as_taken(classifier.model, classifier.shown(image)))
    except Exception as error:  # a stranger's forward may raise anything
        raise UserError(
            f"{_name(classifier)} cannot answer images of {_size(image)} (channels x height x "
            f"width): {reason_of(error)}. Say what it wants with `--channels`, `--resize` and "
            "`--crop`."
        ) from error


def _rule(classifier: Classifier, answer: Any, image: Tensor) -> AnswerRule:
    """How these answers are read; what was said and an order that was set before stay."""
    place = placed(answer, classifier.num_classes)
    rule = AnswerRule(place, classifier.scale or "logits", classifier.answers.order)
    scores = rule.scores(answer)
    if classifier.scale is not None:
        _check_said(classifier, scores)
        return rule
    sigmoid = bool(((scores >= 0) & (scores <= 1)).all()) and _sigmoid(classifier, rule, image)
    return replace(rule, scale=scale_of(scores, sigmoid))


def _check_said(classifier: Classifier, scores: Tensor) -> None:
    """Refuses scores that cannot be what the user says they are: their logarithms were wrong."""
    highest = {"probabilities": 1.0, "log-probabilities": 0.0}.get(str(classifier.scale))
    known = scores[scores.isfinite()].double()
    if highest is None or not len(known):
        return
    lowest = 0.0 if classifier.scale == "probabilities" else -torch.inf
    low, high = float(known.min()), float(known.max())
    if low < lowest - _ROUNDED or high > highest + _ROUNDED:
        raise UserError(
            f"Expected {classifier.scale} of {_name(classifier)}, as `--answers` says, but it "
            f"answers numbers from {low:.3g} to {high:.3g}: leave `--answers` out, or say logits."
        )


def _sigmoid(classifier: Classifier, rule: AnswerRule, image: Tensor) -> bool:
    try:
        return ends_in_sigmoid(rule.scores(_differentiable(classifier, image[:_FEW])[0]))
    except RuntimeError:  # no gradient, nothing to be remembered
        return False


def _check(classifier: Classifier, scores: Tensor, logits: Tensor) -> None:
    if not bool(scores.isfinite().any()):
        raise UserError(
            f"{_name(classifier)} answers NaN or infinity for all of {len(logits)} images: its "
            "weights are spoiled, or it wants other numbers; see `--mean` and `--std`."
        )
    if logits.shape[1] != classifier.num_classes:
        raise UserError(
            f"{_name(classifier)} answers {scores.shape[1]} numbers an image, but has "
            f"{classifier.num_classes} classes ({', '.join(classifier.classes[:6])}"
            f"{', ...' if classifier.num_classes > 6 else ''}): choose data of its classes, or "
            "give it a new head with `assay fine-tune`."
        )
    closed = logits.isneginf()  # a class that cannot be, for a network that masks some
    strange = int((~(logits.isfinite() | closed).all(1)).sum())
    said = f"The model answers NaN or infinity for {strange} of {len(logits)} images."
    classifier.note(said if strange else "", "finite")
    never = [classifier.classes[k] for k in closed.all(0).nonzero()[:, 0].tolist()]
    said = (
        f"The model answers minus infinity for {len(never)} of {logits.shape[1]} classes "
        f"({', '.join(never[:6])}{', ...' if len(never) > 6 else ''}) for every one "
        f"of {len(logits)} images that were tried: there they cannot be its answer."
    )
    classifier.note(said if never else "", "closed")


def _tell_answers(classifier: Classifier, answer: Any, rule: AnswerRule, scores: Tensor) -> None:
    where, single = ".".join(map(str, rule.place)), scores.shape[1] == 1
    kind = type(answer).__name__
    place = f"The model answers a {kind}: its `{where}` is read as the scores." if where else ""
    one = "The model answers one number an image, read as that of the second class."
    classifier.note(place, "place")
    classifier.note(_SCALES[rule.scale], "scale")
    classifier.note(one if single else "", "single")
    classifier.facts["answers"] = (
        f"{'one of ' if single else ''}{rule.scale}{f' at {where}' if where else ''}"
    )


_SCALES = {
    "logits": "",
    "probabilities": "The model answers probabilities: their logarithm is taken as logits.",
    "log-probabilities": "The model answers log-probabilities: they are taken as logits.",
}


def _tell_type(classifier: Classifier) -> None:
    first = next((p for p in classifier.model.parameters() if p.is_floating_point()), None)
    kind = "float32" if first is None else str(first.dtype).removeprefix("torch.")
    said = f"The model computes in {kind}: images are converted on the way in."
    classifier.facts["type"] = kind
    classifier.note("" if kind == "float32" else said, "type")


def _repeats(classifier: Classifier, image: Tensor, logits: Tensor) -> bool:
    """Asks again; tells where that changes an answer."""
    again = classifier.answers(_asked(classifier, image, seed=1)).float()
    same = _same(classifier, again, logits)
    moved = int((again.argmax(1) != logits.argmax(1)).sum())
    said = (
        f"The model is not deterministic: asked twice about the same images, it changes {moved} of "
        f"{len(image)} answers, so no number can be repeated exactly."
    )
    classifier.note("" if same else said, "repeats")
    return same


def _alone(classifier: Classifier, image: Tensor, logits: Tensor) -> bool:
    """Asks about half of the images only; tells where an answer depends on its neighbours."""
    half = len(image) // 2
    if half < 2:
        return True
    fewer = classifier.answers(_asked(classifier, image[:half])).float()
    same = _same(classifier, fewer, logits[:half])
    moved = int((fewer.argmax(1) != logits[:half].argmax(1)).sum())
    said = (
        "The model's answer for an image depends on the other images in its batch: without them "
        f"{moved} of {half} answers change."
    )
    classifier.note("" if same else said, "alone")
    return same


def _gives_gradient(classifier: Classifier, image: Tensor) -> bool:
    """Tells where there is no gradient at all, and where it is zero for every image."""
    gradient = _gradient(classifier, image[:_FEW])
    if gradient is not None and not gradient.any():  # two may be saturated where others are not
        gradient = _gradient(classifier, image)
    said = ""
    if gradient is None:
        said = (
            "The model lets no gradient through to the image (no_grad or detach inside): attacks "
            "and explanations that need one cannot be measured."
        )
    elif not gradient.any():
        said = (
            f"The gradient by the image is zero for all of {len(image)} images (rounding, detach "
            "or saturation inside): attacks and explanations that follow it say nothing."
        )
    classifier.note(said, "gradient")
    return not said


def _gradient(classifier: Classifier, image: Tensor) -> Tensor | None:
    """Of a weighted sum of all logits by the images; None where none gets through."""
    try:
        answer, leaf = _differentiable(classifier, image)
        logits = classifier.answers(answer).float()
        weights = torch.arange(1.0, logits.shape[1] + 1, device=logits.device)
        return torch.autograd.grad((logits @ weights).sum(), leaf, allow_unused=True)[0]
    except RuntimeError:  # also: an inference mode inside
        return None


def _differentiable(classifier: Classifier, image: Tensor) -> tuple[Any, Tensor]:
    """The raw answer with its graph, and the leaf to differentiate by."""
    with undisturbed(classifier.model), torch.inference_mode(False), torch.enable_grad():
        shown = as_taken(classifier.model, classifier.shown(image.clone()))
        leaf = shown.detach().clone().requires_grad_()
        return classifier.model(leaf * 1), leaf  # a network may work in place on what it is given


def _head(classifier: Classifier, image: Tensor) -> str:
    memory(classifier.model).pop("head", None)
    try:
        return find_head(classifier.model, classifier.shown(image[:_FEW])).name
    except UserError:
        return "none"


def _same(classifier: Classifier, one: Tensor, other: Tensor) -> bool:
    first = next((p for p in classifier.model.parameters() if p.is_floating_point()), one)
    near = max(_AGREE, 8 * torch.finfo(first.dtype).eps)
    spread = float(other.nan_to_num().std()) or 1.0
    return bool(((one - other).nan_to_num().abs() <= near * spread).all())


def _name(classifier: Classifier) -> str:
    return repr(classifier.title)


def _size(image: Tensor) -> str:
    return "x".join(map(str, image.shape[1:]))
