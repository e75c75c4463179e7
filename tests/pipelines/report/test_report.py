"""The report and the terminal's table: the right numbers, nothing missing, nothing from outside."""

import base64
import io
import itertools
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from callbacks.adversarial import attack_sets
from callbacks.adversarial.summary import half_life
from callbacks.words import DASH, ends, number, percent, radius
from datamodules import open_data
from pipelines.evaluate.result import Evaluation
from pipelines.report.figures import COLOURS, as_svg, save_png
from pipelines.report.images import examples_of
from pipelines.report.page import as_html, glance, model_names, restricted, write_page
from pipelines.report.sections import Cell, Sheet
from pipelines.report.terminal import print_result

pytestmark = pytest.mark.figures
MakeEvaluation = Callable[..., Evaluation]


class Balance(HTMLParser):
    """Checks that every element is closed in order."""

    void = frozenset({"meta", "br", "img", "path", "circle", "use", "link"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def text_of(page: str) -> str:
    read = Balance(page)
    assert read.open == []
    return re.sub(r"\s+", " ", " ".join(read.words))


CASES = {
    "clean only": {"probes": ()},
    "one attack": {"probes": ("pgd_linf",)},
    "two norms": {"probes": ("fgsm_linf", "pgd_linf", "fgsm_l2", "pgd_l2")},
    "many classes": {"classes": 300, "n": 900},
    "interrupted": {"interrupted": True, "notes": ["a note"]},
}


@pytest.mark.parametrize("case", CASES)
def test_a_page_that_needs_nothing_beside_it(case: str, made_evaluation: MakeEvaluation) -> None:
    page = as_html([made_evaluation(**CASES[case])])
    text = text_of(page)
    assert not re.search(r"<script|<link|<iframe|@import|url\((?!#)", page)
    outside = r"(?:href|src)=\"(?!#|data:image/png;base64)[^\"]*\""
    assert not re.findall(outside, page.replace("xlink:href", "href"))
    assert "lenet on Digits" in text
    assert "nan" not in text.replace("finance", "")


def test_headline_numbers_are_in_the_page_with_their_intervals(
    made_evaluation: MakeEvaluation,
) -> None:
    evaluation = made_evaluation()
    text = text_of(as_html([evaluation]))
    for name in ("clean_acc", "adversarial_linf_acc"):
        value, low, high = evaluation.headline()[name].interval
        assert f"{100 * value:.1f} % 95 % interval {100 * low:.1f}{DASH}{100 * high:.1f}" in text
    for line in evaluation.results[2].table.itertuples():
        assert (
            f"{100 * line.acc:.1f} {100 * line.acc_low:.1f}{DASH}{100 * line.acc_high:.1f}" in text
        )


def test_an_interrupted_evaluation_says_so_first(made_evaluation: MakeEvaluation) -> None:
    text = text_of(as_html([made_evaluation(interrupted=True)]))
    assert text.index("Interrupted.") < text.index("Clean accuracy")


def test_names_are_text_not_html(made_evaluation: MakeEvaluation) -> None:
    evil = "<script>alert(1)</script>"
    evaluation = made_evaluation(name=evil, notes=[evil], command=evil)
    evaluation.about.model["classes"][0] = evil
    assert "<script" not in as_html([evaluation])
    assert "<script" not in as_html([evaluation, evaluation])


def test_no_rows_at_all(made_evaluation: MakeEvaluation) -> None:
    evaluation = made_evaluation()
    empty = [replace(one, rows=one.rows.iloc[:0]) for one in evaluation.results]
    about = replace(evaluation.about, interrupted=True)
    bare = replace(evaluation, about=about, results=empty)
    assert "Interrupted" in text_of(as_html([bare]))
    assert bare.figures() == {}


def test_side_by_side_pairs_the_same_images(made_evaluation: MakeEvaluation) -> None:
    one, other = made_evaluation("first", 1.0), made_evaluation("second", 0.5)
    a, b = (e.results[2].at(200)["correct"].to_numpy() for e in (one, other))
    text = text_of(as_html([one, other]))
    assert "first against second" in text
    assert f"PGD (L∞) 0.2 200 {100 * (b.mean() - a.mean()):+.1f}" in text


def test_side_by_side_only_what_both_were_asked(made_evaluation: MakeEvaluation) -> None:
    """The same weights under FGSM and PGD, and under FGSM alone, are not two robust accuracies."""
    both, weak = made_evaluation(), made_evaluation(probes=("fgsm_linf",))
    asked, sections = restricted([both, weak])
    robust = [one.headline()["adversarial_linf_acc"].interval.value for one in asked]
    assert robust[0] == robust[1]
    notes = [note for section in sections for note in section.notes]
    assert "PGD (L∞) is left out: the two were not asked alike." in notes
    other_radii = made_evaluation(epsilons=(0.05, 0.2))
    _, sections = restricted([both, other_radii])
    assert any("at 0.1 is left out" in note for section in sections for note in section.notes)


def test_numbers_of_other_conditions_do_not_stand_side_by_side(
    made_evaluation: MakeEvaluation,
) -> None:
    one, other = made_evaluation(), made_evaluation(n=100)
    line = next(line for line in glance([one, other]).cells if line[0].text == "Clean accuracy")
    assert [cell.small for cell in line[1:]] == ["asked otherwise"] * 2


def test_other_images_are_not_paired(made_evaluation: MakeEvaluation) -> None:
    one, other = made_evaluation("first"), made_evaluation("second")
    splits = {"test": {"samples": 200, "digest": "f" * 64}}
    about = replace(other.about, data=[{**other.about.dataset, "splits": splits}])
    page = as_html([one, replace(other, about=about)])
    assert "measured on other images" in text_of(page)


def test_equal_names_are_numbered(made_evaluation: MakeEvaluation) -> None:
    names = model_names([made_evaluation("a"), made_evaluation("b"), made_evaluation("a")])
    assert names == ["a (1)", "b", "a (2)"]


@pytest.mark.slow  # draws seven models
def test_more_models_than_colours(made_evaluation: MakeEvaluation) -> None:
    many = [made_evaluation(f"m{i}", 1 + i, probes=("pgd_linf",)) for i in range(len(COLOURS) + 1)]
    text_of(as_html(many))


def test_of_many_classes_the_surely_bad_ones_are_shown(made_evaluation: MakeEvaluation) -> None:
    sections = made_evaluation(classes=100, n=3000).sections()
    sheet, _ = next(section for section in sections if section.title == "By class").sheets
    assert len(sheet.lines) == 24
    assert "76 more" in sheet.caption
    titles = ["Clean images", "FGSM (L∞) 0.2", "PGD (L∞) 0.2"]
    assert list(sheet.columns) == ["class", "images", *titles]


def test_images_are_counted_not_draws(made_evaluation: MakeEvaluation) -> None:
    evaluation = made_evaluation(probes=("pgd_linf",))
    attack = evaluation.results[1]
    rows = pd.concat([attack.rows.assign(draw=draw) for draw in range(3)])
    drawn = replace(evaluation, results=[evaluation.results[0], replace(attack, rows=rows)])
    sheet, _ = next(part for part in drawn.sections() if part.title == "By class").sheets
    assert sum(int(line[1].text) for line in sheet.cells) == 200


def test_figures_by_norm_and_number(made_evaluation: MakeEvaluation) -> None:
    evaluation = made_evaluation(probes=("pgd_linf", "pgd_l2"))
    drawn = evaluation.figures()
    assert [name for name in drawn if name.startswith("adversarial")] == [
        "adversarial_linf_acc",
        "adversarial_linf_loss",
        "adversarial_l2_acc",
        "adversarial_l2_loss",
    ]
    assert {"reliability", "confusion"} <= drawn.keys()
    (line,) = [
        one for one in drawn["adversarial_linf_acc"].axes[0].lines if len(one.get_xdata()) > 2
    ]
    clean = evaluation.results[0].rows["correct"].mean()
    expected = [100 * clean, *(100 * evaluation.results[1].table["acc"])]
    assert np.asarray(line.get_ydata()) == pytest.approx(expected)
    assert np.asarray(line.get_xdata()) == pytest.approx([0, 0.05, 0.1, 0.2])


def test_verdict_attacks_have_no_loss_to_draw(made_evaluation: MakeEvaluation) -> None:
    evaluation = made_evaluation(probes=("pgd_linf",))
    attack = evaluation.results[1]
    results = [evaluation.results[0], replace(attack, rows=attack.rows.assign(worst_loss=np.nan))]
    evaluation = replace(evaluation, results=results)
    assert "adversarial_linf_loss" not in evaluation.figures()
    text_of(as_html([evaluation]))


def test_svg_takes_the_colours_of_the_page(made_evaluation: MakeEvaluation) -> None:
    figure = made_evaluation().figures()["adversarial_linf_acc"]
    svg = as_svg(figure, "name")
    ElementTree.fromstring(svg)
    assert "var(--c0)" in svg
    assert not re.findall(r"#[0-9a-f]{6}", svg)
    again = made_evaluation().figures()["adversarial_linf_acc"]
    assert as_svg(again, "name") == svg, "the same report twice is the same file"


def test_png(made_evaluation: MakeEvaluation, tmp_path: Path) -> None:
    save_png(made_evaluation().figures()["adversarial_linf_acc"], tmp_path / "new" / "figure.png")
    with Image.open(tmp_path / "new" / "figure.png") as image:
        assert image.width > 600


def test_half_life_by_hand(made_evaluation: MakeEvaluation) -> None:
    evaluation = made_evaluation(probes=("pgd_linf",), n=100, epsilons=(0.1, 0.2))
    clean, attack = evaluation.results
    right = attack.rows.assign(correct=[*[1] * 60, *[0] * 40, *[1] * 40, *[0] * 60])
    results = [replace(clean, rows=clean.rows.assign(correct=1)), replace(attack, rows=right)]
    evaluation = replace(evaluation, results=results)
    (attacks,) = attack_sets(results[1:], results[0])
    # 60 % at 0.1 and 40 % at 0.2: half of 100 % in the middle
    half = half_life(attacks, results[0])
    assert half is not None
    assert half.value == pytest.approx(0.15)
    assert half.low < 0.15 < half.high or np.isnan(half.low) or np.isnan(half.high)
    (said,) = [text for text in evaluation.sentences() if text.startswith("Half of")]
    assert said.startswith("Half of its accuracy is gone near L∞ radius 0.15")


def test_half_is_not_told_outside_of_the_radii_measured(made_evaluation: MakeEvaluation) -> None:
    """Between the undisturbed images and the first radius nothing was measured."""
    evaluation = made_evaluation(probes=("pgd_linf",), n=100, epsilons=(0.1, 0.2))
    clean, attack = evaluation.results
    broken = replace(attack, rows=attack.rows.assign(correct=0))
    results = [replace(clean, rows=clean.rows.assign(correct=1)), broken]
    (attacks,) = attack_sets(results[1:], results[0])
    assert half_life(attacks, results[0]) is None
    said = "Half of its accuracy is gone at L∞ 0.1 or less, the least measured."
    assert said in replace(evaluation, results=results).sentences()


def test_no_half_life_where_accuracy_stays(made_evaluation: MakeEvaluation) -> None:
    clean, *attacked = made_evaluation(strength=0.01).results
    (attacks,) = attack_sets(attacked, clean)
    assert half_life(attacks, clean) is None


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (8 / 255, "epsilon (L∞)", "8/255"),
        (0.5 / 255, "epsilon (L∞)", "0.5/255"),
        (0.2, "epsilon (L∞)", "0.2"),
        (0.1, "epsilon (L∞)", "0.1"),
        (0.0375, "epsilon (L∞)", "0.0375"),
        (2 / 255, "epsilon (L2)", "0.00784"),
        (1.5, "epsilon (L2)", "1.5"),
    ],
)
def test_radii_as_the_field_writes_them(value: float, unit: str, expected: str) -> None:
    assert radius(value, unit) == expected


def test_words_for_what_is_no_number() -> None:
    assert (percent(np.nan), number(np.inf), ends(np.nan, np.nan)) == (DASH, DASH, "")


def test_summary_is_plain_without_a_terminal(
    made_evaluation: MakeEvaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = made_evaluation(notes=["a note"])
    print_result(evaluation)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    value, low, high = evaluation.headline()["adversarial_linf_acc"].interval
    assert f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]" in out
    assert "Note: a note" in out
    assert max(map(len, out.splitlines())) <= 110


def test_summary_survives_any_encoding(
    made_evaluation: MakeEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", narrow)
    print_result(made_evaluation())
    narrow.flush()
    assert b"PGD (L?)" in narrow.buffer.getvalue()  # type: ignore[attr-defined]


def test_write_report_makes_the_folder(made_evaluation: MakeEvaluation, tmp_path: Path) -> None:
    file = write_page([made_evaluation()], tmp_path / "a" / "b" / "report.html")
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert pd.Series(file.stat().st_size).lt(200_000).all()


@pytest.mark.parametrize("count", [1, 2])
def test_the_shape_of_a_page(count: int, made_evaluation: MakeEvaluation) -> None:
    page = as_html([made_evaluation(probes=("fgsm_linf", "pgd_l2"))] * count)
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert max(b - a for a, b in itertools.pairwise(levels)) == 1, "no heading leaves one out"
    regions = re.findall(r'<(?:div|pre|figure)[^>]*role="region"[^>]*>', page)
    assert all('tabindex="0"' in region for region in regions)
    assert page.count('<div class="scroll"') + page.count("<pre") <= len(regions)
    labels = re.findall(r'aria-label="([^"]*)"', " ".join(regions))
    assert len(set(labels)) == len(labels) == len(regions), "each says which it is"
    for table in re.findall(r"<table>(.*?)</table>", page, re.DOTALL):
        head, line = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)[:2]
        kinds = [
            [
                set(name.split()) & {"wide", "words"}
                for name in re.findall(r'<t[hd] [^>]*class="([^"]*)"', row)
            ]
            for row in (head, line)
        ]
        assert kinds[0] == kinds[1], "what a narrow page leaves out is left out of the headings too"


def test_terms_are_those_of_the_page(made_evaluation: MakeEvaluation) -> None:
    one, two = (as_html([made_evaluation()] * count) for count in (1, 2))
    assert "McNemar" not in text_of(one)
    assert "McNemar" in text_of(two)


def test_columns_of_words_stand_left_and_those_of_numbers_right() -> None:
    lines = [
        ["a", "0.1", "7c1a", Cell("5.0", "4.0"), ""],
        ["b", "1e-05", "5993", "\N{EN DASH}", ""],
    ]
    assert Sheet(["name", "severity", "hash", "value", "empty"], lines).words == {0}
    words = [["a", "labels, location", "in the noise"], ["b", "", "in the noise"]]
    assert Sheet(["name", "knows", "came back"], words).words == {0, 1, 2}


def test_images_of_every_data_set_stand_on_the_page(made_evaluation: MakeEvaluation) -> None:
    data = open_data("Digits")
    evaluation = made_evaluation()
    about = replace(evaluation.about, examples={"Digits": examples_of(data)})
    kept = examples_of(data)
    files = [np.asarray(Image.open(io.BytesIO(base64.b64decode(x)))) for x in kept["files"]]
    shown = data.taken("test", 8)
    assert np.array_equal(files, (255 * shown.image[:, 0]).round().byte().numpy())
    assert kept["classes"] == [data.classes[label] for label in shown.label]
    page = as_html([replace(evaluation, about=about)])
    assert "The images" in text_of(page)
    assert 'alt="examples 0' in page


def test_images_of_any_size_are_kept_small(photos: Path) -> None:
    kept = examples_of(open_data(f"ImageFolder:{photos}"))
    sizes = [Image.open(io.BytesIO(base64.b64decode(file))).size for file in kept["files"]]
    assert sorted(sizes) == [(30, 20), (64, 128), (128, 64)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i, size in enumerate([(300, 150), (150, 300), (30, 20)]):
        (tmp_path / "test" / f"class{i}").mkdir(parents=True)
        Image.new("RGB", size).save(tmp_path / "test" / f"class{i}" / "one.png")
    return tmp_path
