"""JUnit XML: what build servers read; a test case a rule."""

import re
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree

from datamodules.errors import UserError
from pipelines.gate.check import Check
from pipelines.gate.verdict import Verdict

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no place for."""


def write_junit(verdict: Verdict, file: Path, seconds: float) -> Path:
    """Writes the verdict in the form that Jenkins, GitLab and others read.

    Args:
        verdict: of the gate.
        file: to write; its folder is made.
        seconds: that the gate took.

    Raises:
        UserError: the file cannot be written.
    """
    suites = ElementTree.Element("testsuites", name="assay gate")
    counts = {"tests": len(verdict.checks), "failures": len(verdict.failed), "errors": 0}
    suite = ElementTree.SubElement(suites, "testsuite", {
        "name": _clean(verdict.title), **{name: str(count) for name, count in counts.items()},
        "skipped": "0", "time": f"{seconds:.3f}",
        "timestamp": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S"),
    })  # fmt: skip
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (("run", verdict.run), ("baseline", verdict.baseline)):
        if value:
            ElementTree.SubElement(properties, "property", name=name, value=_clean(value))
    for check in verdict.checks:
        _add(suite, check)
    ElementTree.indent(suites)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        ElementTree.ElementTree(suites).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UserError(f"`junit` cannot be written to {str(file)!r}: {error.strerror}.") from error
    return file


def _add(suite: ElementTree.Element, check: Check) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=f"gate.{check.kind}", name=_clean(check.name), time="0.000"
    )
    said = _clean(check.said)
    if check.passed:
        ElementTree.SubElement(case, "system-out").text = said
        return
    kind = "threshold" if check.measured else "not measured"
    ElementTree.SubElement(case, "failure", message=said, type=kind).text = said


def _clean(text: str) -> str:
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)
