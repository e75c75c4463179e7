"""Whether an automatic distillation comes near the best of its grid, and at which cost.

Trains every recipe of the grid to the end, then searches the same grid by successive halving with
several orders, and compares validation and test accuracy of what is chosen with the grid's best:
`python tests/benchmarks/distillation_search.py [images] [epochs] [trials] [orders]`.
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parent))
from models import SHARED

from datamodules import MNIST, Digits, ImageDataModule
from lightning_modules import Classifier, Tuning, load_classifier
from lightning_modules.distillation import DistillationRecipe, Search, made_teachers
from lightning_modules.fine_tuning import FineTuning
from pipelines.distill.answers import answer_test
from pipelines.distill.plan import Plan, make_plan
from pipelines.distill.search import searched
from pipelines.distill.training import distillation
from pipelines.study import Study
from pipelines.study.training import train
from pipelines.tracking import Tracking

SPACE = {"layers": ("conv1", "conv2")}


def data_module(images: int) -> ImageDataModule:
    known = {"limit": images, "batch_size": 64}
    return MNIST(root=SHARED, **known) if (SHARED / "MNIST").is_dir() else Digits(28, **known)


def accuracy(student: Classifier, data: ImageDataModule) -> float:
    _, label, logits = answer_test([student.eval()], data)
    return float((logits.argmax(1) == label).float().mean())


def teacher_of(data: ImageDataModule, folder: Path, flags: dict) -> Classifier:
    torch.manual_seed(0)
    teacher = load_classifier("lenet_wide", preprocessing=data.native, data_classes=data.classes)
    train(FineTuning(teacher, Tuning()), data, folder, {**flags, "max_epochs": 6})
    return teacher


def whole_grid(plan: Plan, flags: dict, folder: Path) -> pd.DataFrame:
    """Validation and test accuracy of every recipe after all epochs."""
    lines = []
    for i, recipe in enumerate(Search(**SPACE).recipes(plan.recipe)):
        teachers = made_teachers(plan.teachers.classifiers, recipe)
        teachers.native = plan.teachers.native
        module = distillation(plan, 0, teachers, recipe)
        outcome = train(module, plan.data, folder / str(i), flags)
        teachers.caches.clear()  # else the features of all recipes pile up
        test = accuracy(module.classifier, plan.data)
        lines.append({"recipe": recipe, "validation": outcome.score, "test": test})
    return pd.DataFrame(lines)


def main(images: int = 1000, epochs: int = 6, trials: int = 26, orders: int = 5) -> None:
    root = Path(tempfile.mkdtemp())
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "max_epochs": epochs}
    flags = {**quiet, "logger": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    data = data_module(images)
    teacher = teacher_of(data, root / "teacher", flags)
    options = {"root": root, "tracking": Tracking(enabled=False), "trainer": quiet}
    study = Study("distill", "distillation", options)  # type: ignore[arg-type]
    study.data.append(data)
    recipe = DistillationRecipe()
    plan = make_plan(study, teacher, "lenet", data, recipe, Tuning(), None, None, None, 0)
    print(
        f"teacher {accuracy(teacher, data):.4f} on {data.title}, {images} images, {epochs} epochs"
    )
    grid = whole_grid(plan, flags, root / "grid")
    by_validation, cost = grid.loc[grid["validation"].idxmax()], len(grid) * epochs
    print(grid.drop(columns="recipe").describe().loc[["min", "50%", "max"]].to_string())
    print(f"grid: {len(grid)} recipes, {cost} epochs; its best on validation has test "
          f"{by_validation['test']:.4f}; best test of all {grid['test'].max():.4f}")  # fmt: skip
    found_by = {repr(line["recipe"]): line for _, line in grid.iterrows()}
    for order in range(orders):
        search = Search(trials=trials, **SPACE)
        recipes = search.recipes(recipe, order)
        chosen, spent = halved(study, plan, search, order)
        line = found_by[repr(chosen)]
        print(f"order {order}: {chosen.loss:9s} {spent} epochs ({spent / cost:.0%}), "
              f"validation {line['validation']:.4f}, test {line['test']:.4f}: "
              f"{100 * (by_validation['validation'] - line['validation']):+.2f} and "
              f"{100 * (by_validation['test'] - line['test']):+.2f} points below, "
              f"{100 * (grid['test'].max() - line['test']):+.2f} below the best test of all, "
              f"rank {1 + int((grid['test'] > line['test']).sum())} of {len(recipes)}")  # fmt: skip


def halved(study: Study, plan: Plan, search: Search, order: int) -> tuple[DistillationRecipe, int]:
    """The recipe that a search with the recipes in one order chooses, and the epochs it took."""
    with contextlib.redirect_stdout(io.StringIO()):
        found = searched(study, plan, search, order)
    return found.plan.recipe, int(found.trials["epochs"].sum())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
