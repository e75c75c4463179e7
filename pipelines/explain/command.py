"""`assay explain`: explain a model, watch it, and say how far either can be believed."""

from collections.abc import Mapping
from dataclasses import asdict
from inspect import signature
from typing import Any, Literal

from typing_extensions import Unpack  # Python 3.10 has none

from callbacks import Probe
from callbacks.monitoring.noise_images import NOISE
from datamodules.errors import UserError
from pipelines.cli import COMMANDS
from pipelines.evaluate.measure import TRAINER, make_probes, measure, prepare_probes
from pipelines.explain.changes import compared_models
from pipelines.explain.inputs import Inputs
from pipelines.explain.outlier_sets import adapt, as_shown, named_sets, opened_outliers
from pipelines.explain.own_images import OwnImage, explain_images
from pipelines.explain.plan import PROBES, Plan, check_devices
from pipelines.explain.result import Explanation
from pipelines.explain.score import check_budget
from pipelines.explain.stages import measure_stages
from pipelines.study import DataLike, ModelLike, Options, Study
from pipelines.study.arguments import parse
from pipelines.study.trainer_flags import check_untrained, check_where

_OF_DATA = (
    "data", "outliers", "probes", "preset", "forwards", "limit", "train_limit", "window",
    "false_alarms", "order", "compare",
)  # fmt: skip
"""Options that say nothing where only images are explained."""


def main(words: list[str]) -> int:
    """Runs the command line."""
    explain(**parse(explain, words, TRAINER, COMMANDS["explain"].example))
    return 0


def explain(
    model: ModelLike,
    data: DataLike | None = None,
    outliers: DataLike | list[DataLike] | None = None,
    probes: list[Probe | str] | None = None,
    preset: Literal["quick", "regular", "full"] = "quick",
    forwards: int = 500,
    limit: int = 1000,
    train_limit: int = 5000,
    window: int = 64,
    false_alarms: float = 0.01,
    order: Literal["shuffled", "stream"] = "shuffled",
    compare: dict[str, str] | None = None,
    image: list[str] | None = None,
    target: str | None = None,
    methods: list[str] | None = None,
    layer: str | None = None,
    unit: int | None = None,
    **options: Unpack[Options],
) -> Explanation | list[OwnImage]:
    """Explains and watches a model, and scores how far either can be believed.

    Args:
        model: where it comes from, e.g. torchvision:resnet18, checkpoint:FILE, mlflow:runs:/ID. In
            Python also a network.
        data: what it was trained on, unless only images are explained; its train split is used for
            fits, its test split for numbers.
        outliers: other images, none of which should look familiar, in one or several sets: data
            sets, or folders of any pictures, e.g. MNIST ImageFolder:FOLDER FOLDER; noise always is
            one.
        probes: of the pass over the test data, whose rows tell how failures are detected; default:
            the clean images and some explanation probes, by the preset.
        preset: samples and budgets of the probes.
        forwards: budget of the monitorability score for an image: 57, 500, 5000 or any other.
        limit: how many test images are explained and scored, at most.
        train_limit: how many training images outlier scores, monitor and tree learn from, at most.
        window: images that are tested for drift together.
        false_alarms: share of clean windows that may raise an alarm.
        order: what that share is stated for: shuffled images, or a stream in the data's own order,
            whose neighbours may be alike. Both are measured.
        compare: models that it became or came from, whose explanations of the same images are
            compared: --compare.distilled checkpoint:FOLDER --compare.fine_tuned mlflow:runs:/ID.
        image: files of your own to be explained, instead of everything else; no data are needed.
        target: class that these are explained for, by name or number; default: what is answered.
        methods: that explain them; default: grad_cam, integrated_gradients and rise.
        layer: of the model, whose feature maps of them are shown; Grad-CAM and its kin look there.
        unit: channel of that layer, whose map is shown and for which an image is maximised.
        **options: see `Options`.

    Returns:
        The explanation: score, tables and figures; of images each with its maps.

    Raises:
        UserError: something the user can mend.
        KeyboardInterrupt: in the pass over the test data, after its rows so far are logged.
    """
    asked = {name: value for name, value in locals().items() if name in _OF_DATA}
    study = Study("explain", "monitorability", options, TRAINER)
    check_untrained(study.flags, "explain", TRAINER)
    check_devices(study)
    if image:
        _check_alone(asked)
        own = {name: value for name, value in study.flags.items() if TRAINER.get(name) != value}
        check_where(own, "images of your own are explained without any pass over data")
        return explain_images(study, model, image, target, methods, layer, unit)
    if data is None or methods or any(one is not None for one in (target, layer, unit)):
        raise UserError(
            "Expected `data`, what the model was trained on, or `image`, files to be explained; "
            "`target`, `methods`, `layer` and `unit` belong to `image`."
        )
    opened = study.open_data(data)
    classifier = study.open_model(model, opened).eval()
    others = named_sets(opened_outliers(study, outliers), NOISE)
    shown = ", ".join(others)
    plan = Plan(forwards, limit, train_limit, window, false_alarms, shown, order)
    plan.check(opened)
    for name, images in others.items():
        adapt(name, images, as_shown(classifier, opened))
    check_budget(Inputs(classifier, opened, plan, study.seed))
    compared = compared_models(study, compare, opened)
    chosen = make_probes(PROBES[preset] if probes is None else probes, preset, study)
    settings = {
        **asdict(plan),
        "compared": list(compared),
        "probes": prepare_probes(chosen, classifier, opened, study),
    }
    with study.running(study.name(), settings):
        evaluation = measure(study, classifier, opened, chosen)
        stages = {}
        if not evaluation.about.interrupted:
            clean = evaluation.result("clean")
            assert clean is not None, "every pass measures it"
            classifier.to(study.device).eval()
            inputs = Inputs(classifier, opened, plan, study.seed, clean.rows)
            stages = measure_stages(study, inputs, others, compared)
        about = study.about(interrupted=evaluation.about.interrupted)
        notes = [*evaluation.about.notes, *(n for stage in stages.values() for n in stage.notes)]
        explanation = Explanation(about.with_notes(notes), evaluation, stages, plan)
        study.finish(explanation, classifier)
        if explanation.about.interrupted:
            raise KeyboardInterrupt
    return explanation


def _check_alone(asked: Mapping[str, Any]) -> None:
    """Refuses what would be ignored beside `image`: all that differs from its default."""
    usual = signature(explain).parameters
    beside = [name for name, value in asked.items() if value not in (usual[name].default, [], {})]
    if beside:
        raise UserError(
            "Expected `image` alone, as files of your own are explained without any other: leave "
            f"out {', '.join(f'`{name}`' for name in beside)}, or leave out `image`."
        )
