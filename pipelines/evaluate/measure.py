"""The one pass over the test data with any probes, as every question uses it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from callbacks import (
    Budget,
    EvaluationProgress,
    Probe,
    brought,
    companions,
    preset_probes,
    probe_entries,
)
from callbacks.adversarial import AdversarialPictures
from callbacks.results import ProbeResult, check_settings
from datamodules import ImageDataModule
from datamodules.errors import UserError, suggestion
from lightning_modules import Classifier
from lightning_modules.trainer import uninterrupted
from pipelines.evaluate.presets import PRESETS
from pipelines.evaluate.result import Evaluation
from pipelines.study import Study

TRAINER = {
    "enable_checkpointing": False,
    "enable_progress_bar": False,  # ours names probe and setting
    "enable_model_summary": False,
    "use_distributed_sampler": False,  # the data module's own sampler does not pad
}


def make_probes(
    probes: Sequence[Probe | str] | None, preset: str, study: Study, masking: bool = True
) -> list[Probe]:
    """Makes probes of names with the preset's budget; the clean images are always measured first.

    A data set that brings disturbed images is measured on them, in place of the preset's probes or
    beside those named.

    Args:
        probes: names and probes; None takes the preset's.
        preset: a key of `PRESETS`.
        study: gives chunk and seed, and the data sets that were opened.
        masking: look for gradient masking beside every attack.

    Raises:
        UserError: there is no probe of a name, two have the same, or undisturbed images are needed
            that are not there.
    """
    known, budget = probe_entries(), budget_of(preset, study)
    own: list[Probe | str] = [one for data in study.data for one in brought(data, budget)]
    names = [*own, *(probes or ())] if own or probes is not None else [*preset_probes(preset)]
    if unknown := [name for name in names if isinstance(name, str) and name not in known]:
        raise UserError(f"There is no probe {unknown[0]!r}.{suggestion(unknown[0], known)}")
    chosen = [known[name](budget) if isinstance(name, str) else name for name in names]
    undisturbed = all(data.undisturbed for data in study.data)
    if not undisturbed and len(names) > len(own):
        raise UserError(
            f"Expected no probes besides the corruptions of {study.data[0].title}, but got "
            f"{chosen[len(own)].name!r}: there are no undisturbed images; give `--data.clean`."
        )
    if undisturbed and not any(probe.name == "clean" for probe in chosen):
        chosen.insert(0, known["clean"](budget))
    chosen += companions(chosen, budget) if masking else []
    seen: set[str] = set()
    for probe in chosen:
        if probe.name in seen:
            raise UserError(f"Two probes are named {probe.name!r}: give one of them a `label`.")
        seen.add(probe.name)
    return chosen


def budget_of(preset: str, study: Study) -> Budget:
    """What a probe made by name may spend."""
    plan = PRESETS[preset]
    spent = (plan.limit, plan.steps, plan.restarts, plan.objective, plan.curve)
    return Budget(*spent, chunk=study.chunk, seed=study.seed)


def prepare_probes(
    probes: Sequence[Probe], classifier: Classifier, data: ImageDataModule, study: Study
) -> list[tuple[str, object, object]]:
    """Adapts probes to model and data, so that mistakes are told before anything runs.

    Returns:
        What they will do, for the key of the result.
    """
    for probe in probes:
        probe.resume_folder = study.root / "mlruns" / "resume"
        probe.fresh = study.fresh
        probe.prepare(classifier, data)
        settings = [(point.name, point.severity, point.value) for point in probe.settings()]
        check_settings(probe.name, settings)
    return [(probe.algorithm, probe.settings(), probe.limit) for probe in probes]


def measure(
    study: Study,
    classifier: Classifier,
    data: ImageDataModule,
    probes: Sequence[Probe],
    adversarials: int = 0,
) -> Evaluation:
    """Runs the pass; rows that are on disk already are not measured again.

    Args:
        study: device, seed, what is said about the result.
        classifier: in evaluation mode.
        data: whose test split is served.
        probes: from `make_probes`, prepared.
        adversarials: images of every attack and radius that are saved as PNG in the study's folder.

    Returns:
        The evaluation; interrupted, it holds the rows so far and says so.
    """
    progress = EvaluationProgress(enabled=bool(study.config))
    pictures = AdversarialPictures(probes, adversarials, study.folder / "adversarials")
    trainer = study.trainer([progress, *probes, pictures], **TRAINER)
    done = uninterrupted(trainer, lambda: trainer.test(classifier, data, verbose=False))
    results = [_result(probe, pictures, partial=not done) for probe in probes]
    about = study.about(classifier, interrupted=not done)
    notes = [*about.notes, *_notes(data, probes, results), *pictures.notes]
    return Evaluation(about.with_notes(notes), results)


def _result(probe: Probe, pictures: AdversarialPictures, partial: bool) -> ProbeResult:
    return ProbeResult(
        name=probe.name,
        family=probe.family,
        title=probe.title,
        unit=probe.unit,
        algorithm=probe.algorithm,
        headline=getattr(probe, "headline", None),
        reported=tuple(probe.reported),
        places=probe.places,
        certificate=getattr(probe, "certificate", ""),
        rows=probe.rows_so_far() if partial else probe.rows,
        pictures=pictures.tables.get(probe.name, pd.DataFrame()),
        shown=pictures.shown.get(probe.name, {}),
    )


def _notes(
    data: ImageDataModule, probes: Sequence[Probe], results: Sequence[ProbeResult]
) -> list[str]:
    """What was left out, what is not finite, what came from an earlier run."""
    notes = [probe.note for probe in probes if probe.note]
    reused: dict[str, list[str]] = {}
    for probe in probes:
        if probe.reused:
            count, _, run = probe.reused.partition(" rows are from ")
            reused.setdefault(run, []).append(f"{probe.title} {count}")
    notes += [f"Rows from {run}: {', '.join(counts)}." for run, counts in reused.items()]
    n = len(data.test_index)
    parts: dict[int, list[str]] = {}
    for result in results:
        parts.setdefault(result.rows["index"].nunique(), []).append(result.title)
        if strange := int((~np.isfinite(result.rows["loss"])).sum()):
            notes.append(
                f"{result.title}: {strange:,} answers have no finite loss; they count as wrong, "
                "and mean losses leave them out."
            )
    return notes + [
        f"{', '.join(titles)}: measured on {measured:,} of {n:,} samples."
        for measured, titles in parts.items()
        if measured < n
    ]
