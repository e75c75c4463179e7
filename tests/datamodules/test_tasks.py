from pathlib import Path

import pytest

from datamodules import Digits
from datamodules.errors import UserError
from datamodules.tasks import Task, label_table, read_tasks, with_labels

CLASSES = ("0", "1", "2")
YAML = "digit: same\nparity: {even: [0, 2], odd: [1]}\nlow: {yes: [0], no: 1}\n"
CSV = "class,digit,parity,low\n0,0,even,yes\n1,1,odd,no\n2,2,even,\n"


@pytest.mark.parametrize(("name", "text"), [("t.yaml", YAML), ("t.csv", CSV)])
def test_both_forms_say_the_same(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    tasks = read_tasks(tmp_path / name, CLASSES)
    assert [(task.name, task.classes) for task in tasks] == [
        ("digit", CLASSES), ("parity", ("even", "odd")), ("low", ("yes", "no")),
    ]  # fmt: skip
    assert label_table(tasks, CLASSES).tolist() == [[0, 0, 0], [1, 1, 1], [2, 0, -1]]
    # data in another order, as its labels are
    assert label_table(tasks, ("2", "0")).tolist() == [[2, 0, -1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("digit: same", "at least two tasks"),
        ("digit: same\nParity: same", "small letters"),
        ("digit: same\njoint: same", "other than"),
        ("digit: same\nparity: {even: [0, 7], odd: [1]}", "speaks of class '7'"),
        ("digit: same\nparity: {even: [0], odd: [0, 1]}", "twice"),
        ("digit: same\nparity: {even: [0]}", "at least two classes"),
        ('digit: same\nparity: {yes: [0, 2], "yes": [1]}', "different classes of task 'parity'"),
        ('digit: same\nparity: {1: [0, 2], "1": [1]}', "different classes of task 'parity'"),
        ("a: [", "cannot be read"),
    ],
)
def test_what_cannot_be_is_told(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        read_tasks(tmp_path / "t.yaml", CLASSES)


def test_a_task_named_twice_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("class,parity,parity\n0,even,even\n1,odd,odd\n2,even,even\n")
    with pytest.raises(UserError, match="different tasks in the CSV"):
        read_tasks(tmp_path / "t.csv", CLASSES)


def test_data_of_other_classes_are_refused() -> None:
    with pytest.raises(UserError, match="classes of the task 'pet'"):
        label_table([Task("pet", ("cat", "dog"), {"cat": "cat", "dog": "dog"})], CLASSES)


def test_unlabelled_images_are_left_out_and_keep_their_index() -> None:
    data = Digits()
    label = data.images("test").label
    table = Task("ends", ("low", "high"), {"0": "low", "9": "high"}).labels(data.classes)
    part = with_labels(data, "ends", ("low", "high"), table)
    kept = (label == 0) | (label == 9)
    assert part.test_index.tolist() == data.test_index[kept].tolist()
    assert part.images("test").label.tolist() == (label[kept] == 9).long().tolist()
    assert part.manifest_digest() != data.manifest_digest()
    assert data.images("test").label.equal(label)
