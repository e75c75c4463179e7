"""The twins of the page: the same numbers in Markdown, JSON and PDF; the model card."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from callbacks.words import DASH
from datamodules.errors import UserError
from pipelines.evaluate.result import Evaluation
from pipelines.report.document import as_json
from pipelines.report.forms import form_of
from pipelines.report.markdown import as_markdown, as_model_card, write_markdown
from pipelines.report.model_card import card_of, read_stated
from pipelines.report.pdf import browser, write_pdf
from pipelines.report.result import save_result
from pipelines.report.scope import untested
from pipelines.study.log import tags_of

MakeEvaluation = Callable[..., Evaluation]
Assay = Callable[..., tuple[int, str, str]]
SCHEMA = Path(__file__).parents[3] / "pipelines" / "report" / "report.schema.json"
EVIL = "<script>a|b</script> *x* [y](z)"


def test_json_holds_every_headline_number_and_fits_its_schema(
    made_evaluation: MakeEvaluation,
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    for results in ([made_evaluation()], [made_evaluation("a"), made_evaluation("b")]):
        read = json.loads(as_json(results), parse_constant=pytest.fail)  # NaN is no JSON
        jsonschema.validate(read, json.loads(SCHEMA.read_text()))
    headline = read["results"][0]["headline"]
    for name, number in made_evaluation("a").headline().items():
        told = headline[name]
        expected = [x if x == x else None for x in number.interval[:3]]
        assert [told["value"], told["low"], told["high"]] == expected
    (line,) = [
        x for x in read["results"][0]["tables"]["by_setting"]["data"] if x[0] == "pgd_linf 0.2"
    ]
    assert made_evaluation("a").results[2].table["acc"].iloc[-1] in line
    assert read["comparison"]


def test_markdown_is_read_as_tables_and_pictures_that_exist(
    made_evaluation: MakeEvaluation, tmp_path: Path
) -> None:
    evaluation = made_evaluation(notes=[EVIL])
    file = write_markdown([evaluation], tmp_path / "report.md")
    html = MarkdownIt("commonmark").enable("table").render(file.read_text(encoding="utf-8"))
    value, low, high = evaluation.headline()["adversarial_linf_acc"].interval
    cells = f"<td>{100 * value:.1f} %</td>\n<td>{100 * low:.1f}{DASH}{100 * high:.1f}</td>"
    assert cells in html
    assert "<script" not in html
    assert "&lt;script&gt;a|b&lt;/script&gt; *x* [y](z)" in html
    pictures = re.findall(r'src="([^"]+)"', html)
    assert len(pictures) == len(evaluation.figures())
    assert all((tmp_path / picture).is_file() for picture in pictures)
    lines = re.findall(r"^\|.*$", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert html.count("<tr>") == len(lines) - html.count("<table>")


def test_markdown_by_itself_says_that_its_figures_are_left_out(
    made_evaluation: MakeEvaluation,
) -> None:
    text = as_markdown([made_evaluation("a"), made_evaluation("b")])
    assert "Figures are left out" in text
    assert "![" not in text
    assert text.startswith("# a against b")


def test_the_card_has_nine_parts_and_says_what_nobody_stated(
    made_evaluation: MakeEvaluation, tmp_path: Path
) -> None:
    file = tmp_path / "card.yaml"
    file.write_text("license: mit\nintended_use: [digits, not letters]\n")
    stated = read_stated(file)
    parts = {part.title: dict(part.lines) for part in card_of(made_evaluation(), stated)}
    assert list(parts) == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations",
    ]  # fmt: skip
    assert parts["Intended use"]["Intended use"] == "digits; not letters"
    assert parts["Ethical considerations"] == {"Ethical considerations": "not stated by the user"}
    assert "44,426 parameters" in parts["Model details"]["lenet"]
    front = yaml.safe_load(as_model_card([made_evaluation()], stated).split("---")[1])
    assert front["license"] == "mit"
    assert front["pipeline_tag"] == "image-classification"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("intended: x", "Did you mean 'intended_use'?"),
        ("- x", "but got list"),
        ("license: {a: b}", "to be a text or a list of texts"),
        ("a: [", "Expected `model_card` to be a YAML file"),
    ],
)
def test_a_card_file_that_is_wrong(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(told)):
        read_stated(tmp_path / "card.yaml")


def test_what_was_not_tested_names_families_questions_and_images(
    made_evaluation: MakeEvaluation,
) -> None:
    evaluation = made_evaluation(probes=("pgd_linf",))
    clean, attack = evaluation.results
    few = replace(attack, rows=attack.rows.loc[attack.rows["index"] < 50])
    evaluation.about.dataset["skipped"].append("x.png")
    told = " ".join(untested(replace(evaluation, results=[clean, few])))
    assert "Measured on 50 of 200 test images only: pgd_linf." in told
    assert "recoverability (assay recover)" in told
    assert "robustness (" not in told
    assert "Corrupted" in told
    assert "Under attack" not in told
    assert "left out because they are no images: 1." in told


def test_a_note_of_mlflow_is_cut_between_lines(made_evaluation: MakeEvaluation) -> None:
    short = tags_of(made_evaluation())["mlflow.note.content"]
    assert short.endswith("\nOpen `report.html` under Artifacts.")
    notes = [f"note {i} {'x' * 90}" for i in range(200)]
    cut = tags_of(made_evaluation(notes=notes))["mlflow.note.content"]
    assert 7800 < len(cut) <= 8000
    kept = len(re.findall(r"^- note \d+ x{90}$", cut, re.MULTILINE))
    assert re.findall(r"characters: (\d+)\.", cut) == [str(200 - kept + 1)]  # and an empty line
    assert cut.endswith("Open `report.html` under Artifacts.")


def test_one_command_writes_every_form(
    made_evaluation: MakeEvaluation, assay: Assay, home: Path
) -> None:
    save_result(made_evaluation(), home / "result")
    files = ["a/report.html", "a/report.md", "a/report.json", "a/MODEL_CARD.md"]
    code, out, err = assay("report", "result", "--out", *files[:2], "--out", *files[2:])
    assert code == 0, err
    assert [line.split()[1] for line in out.splitlines() if line.startswith("report ")] == files
    assert (home / "a/MODEL_CARD.md").read_text().startswith("---\npipeline_tag: ")
    code, _, err = assay("report", "result", "--out", "report.docx")
    assert code == 2
    assert "Expected `out` to end in .html, .md, .json, .pdf" in err


def test_no_browser_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ASSAY_CHROMIUM", raising=False)
    with pytest.raises(UserError, match="there is none on the PATH: install one"):
        browser()
    monkeypatch.setenv("ASSAY_CHROMIUM", "/no/such")
    with pytest.raises(UserError, match="none at ASSAY_CHROMIUM=/no/such"):
        browser()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs the program chromium")
def test_pdf_has_pages(made_evaluation: MakeEvaluation, tmp_path: Path) -> None:
    file = write_pdf([made_evaluation()], tmp_path / "new" / "report.pdf")
    printed = file.read_bytes()
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 3


def test_the_form_is_told_by_the_ending() -> None:
    assert form_of(Path("x/REPORT.PDF")) is write_pdf
    with pytest.raises(UserError, match=r"MODEL_CARD\.md"):
        form_of(Path("report"))
