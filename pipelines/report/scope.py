"""What a result does not tell, and everything that is needed to get it again."""

from collections.abc import Iterator

from callbacks import FAMILIES
from pipelines.report.result import Result

_QUESTIONS = {
    "robustness": "assay evaluate",
    "recoverability": "assay recover",
    "variability": "assay transfer",
    "distillation": "assay distill",
    "monitorability": "assay explain",
}
_ASKED = {
    "evaluate": "robustness", "tasks": "robustness", "recover": "recoverability",
    "transfer": "variability", "distill": "distillation", "explain": "monitorability",
    "fine_tune": "", "federate": "",
}  # fmt: skip
"""The question that a room asks; of a room that is not named nobody can say what it left out."""


def untested(result: Result) -> list[str]:
    """What was not tested, one sentence each: questions, families of probes, images, budgets."""
    return [
        *_questions(result),
        *_families(result),
        *_images(result),
        *_left_out(result),
        *_budgets(result),
        "Intervals tell nothing of other images than these data sets could have held, nor of other "
        "disturbances than those named.",
    ]


def _questions(result: Result) -> Iterator[str]:
    if result.room in _ASKED:
        asked = _ASKED[result.room]
        others = [f"{name} ({how})" for name, how in _QUESTIONS.items() if name != asked]
        yield f"Not asked here: {', '.join(others)}."


def _families(result: Result) -> Iterator[str]:
    """Of a result that names its probes, the families of which none was run."""
    if not any(name.startswith("probe.") for name in result.parameters()):
        return
    measured = {key.partition("/")[0] for key, _, _ in result.metrics()}
    left = [one.title for name, one in FAMILIES.items() if one.probes and name not in measured]
    if left:
        yield f"No probe was run of: {', '.join(left)} (assay list probes)."
    if "adversarial" in measured:
        yield "Accuracy under attack is an upper bound: a stronger attack may break more images."


def _images(result: Result) -> Iterator[str]:
    """What was measured on a part of the one test set alone."""
    if len(result.about.data) != 1:
        return
    total, few = result.about.dataset["splits"]["test"]["samples"], {}
    for name, rows in result.parts().rows.items():
        if {"index", "correct"} <= set(rows):
            few.setdefault(rows["index"].nunique(), []).append(name)
    for count, names in few.items():
        if count < total:
            yield f"Measured on {count:,} of {total:,} test images only: {', '.join(names)}."


def _left_out(result: Result) -> Iterator[str]:
    for data in result.about.data:
        title = data.get("title", data["name"])
        if data.get("limit"):
            yield f"{title}: {_limited(data['limit'])} (limit)."
        if data.get("skipped"):
            yield f"{title}: files left out because they are no images: {len(data['skipped']):,}."


def _limited(limit: object) -> str:
    """`data.limit` in words: a number, `first:40`, `indices:FILE`, or indices."""
    if isinstance(limit, int):
        return f"no more than {limit:,} images were asked for"
    if isinstance(limit, str):
        return f"only the images {limit} were asked for"
    assert isinstance(limit, list)
    return f"only {len(limit):,} images were asked for, by their indices"


def _budgets(result: Result) -> Iterator[str]:
    for name, spent in result.parameters().items():
        if name.startswith("budget.") and "reduced" in str(spent):
            yield f"{name.removeprefix('budget.')} had a reduced budget: {spent}."


def repeat(result: Result) -> Iterator[tuple[str, str]]:
    """Names and texts of what decides a result besides the command that was typed."""
    about = result.about
    yield "took", f"{about.seconds:,.1f} s, seed {about.seed}, {about.created}"
    if about.environment:
        yield "environment", " · ".join(f"{k} {v}" for k, v in about.environment.items())
    for model in about.models:
        yield f"weights of {model['name']}", str(model["digest"])
    for data in about.data:
        for name, split in data["splits"].items():
            yield f"{data.get('title', data['name'])}, {name}", str(split["digest"])[:16]
    for name, text in result.parameters().items():
        yield name.replace(".", " "), str(text)
    if about.run_id:
        yield "MLflow run", about.run_id
    yield "beside the results", "config.yaml (every option) and splits.json (which images)"
