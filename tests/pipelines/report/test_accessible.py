"""Pages in a real browser: axe-core, the keyboard, no network, MLflow's sandbox; Chromium alone."""

import html
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.evaluate.result import Evaluation
from pipelines.report.page import as_html, write_page

pytestmark = [pytest.mark.slow, pytest.mark.figures]
MakeEvaluation = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    """A headless Chromium, or a skip that says what is missing."""
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.skip("needs the programs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    service = webdriver.ChromeService(programs[1])
    opened = webdriver.Chrome(options=options, service=service)
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def axe() -> str:
    """The text of axe-core."""
    package = pytest.importorskip("axe_selenium_python")
    found = Path(package.__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
    return found.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(made_evaluation: MakeEvaluation, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One result, and two side by side."""
    folder = tmp_path_factory.mktemp("pages")
    one, other = made_evaluation(notes=["a note"]), made_evaluation("other", 0.5)
    return [
        write_page([one], folder / "one.html"),
        write_page([one, other], folder / "two.html"),
    ]


_RUN = "const done = arguments[0]; axe.run(document).then(found => done(found.violations))"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(
    scheme: str, width: int, pages: list[Path], driver: Any, axe: str
) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    for page in pages:
        driver.get(page.as_uri())
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        driver.execute_script("document.querySelectorAll('details').forEach(x => x.open = true)")
        driver.execute_script(axe)
        found = driver.execute_async_script(_RUN)
        told = [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found]
        assert told == []
        wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert driver.execute_script(wider) == 0, "nothing sticks out of the page"


def test_the_keyboard_reaches_everything_that_opens_or_scrolls(
    pages: list[Path], driver: Any
) -> None:
    from selenium.webdriver.common.keys import Keys

    driver.get(pages[0].as_uri())
    reached, outlined = [], True
    wanted = driver.execute_script(
        "return document.querySelectorAll('a[href], summary, [tabindex=\"0\"]').length"
    )
    for _ in range(wanted):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        name, style = driver.execute_script(
            "const e = document.activeElement;"
            "return [e.tagName + ' ' + (e.className || ''), getComputedStyle(e).outlineStyle]"
        )
        reached.append(name)
        outlined &= style != "none"
    assert reached[0] == "A skip"
    assert "SUMMARY " in reached
    assert len(reached) - reached.count("BODY ") == wanted
    assert outlined


def test_nothing_is_loaded_from_elsewhere(pages: list[Path], driver: Any) -> None:
    driver.get_log("performance")
    driver.get(pages[1].as_uri())
    said = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    requests = [one for one in said if one["method"] == "Network.requestWillBeSent"]
    asked = [one["params"]["request"]["url"] for one in requests]
    assert asked[0] == pages[1].as_uri()
    assert all(url.startswith("data:") for url in asked[1:])


def test_it_opens_inside_a_sandboxed_frame(
    made_evaluation: MakeEvaluation, driver: Any, tmp_path: Path
) -> None:
    """MLflow shows an HTML artifact in `<iframe srcdoc sandbox>`."""
    inside = html.escape(as_html([made_evaluation()]))
    outer = tmp_path / "outer.html"
    outer.write_text(f'<iframe sandbox="allow-scripts" srcdoc="{inside}"></iframe>', "utf-8")
    driver.get(outer.as_uri())
    driver.switch_to.frame(0)
    text = driver.find_element("tag name", "body").text
    assert "lenet on Digits" in text
    assert "What was not tested" in text
