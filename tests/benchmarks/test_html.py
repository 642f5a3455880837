from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from edge_emotion.benchmarks.html import html_page
from edge_emotion.benchmarks.schema import BenchReport

from .made import make_artefact, make_evaluation, make_report

VOID = {"meta", "br", "hr", "img", "input", "link", "path", "use", "rect", "line", "circle", "g"}


class _Checker(HTMLParser):
    """Collects ids and attributes that load something, and checks that tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        self._attributes(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._attributes(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def _attributes(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "data", "action", "srcset"):
                (self.references if (value or "").startswith("#") else self.loads).append(
                    value or ""
                )


def check(page: str) -> _Checker:
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    return checker


@pytest.fixture(scope="module")
def page() -> str:
    return html_page(make_report(recommended="onnx-int8", verdict=["Deploy onnx-int8."]))


def test_the_page_loads_nothing(page: str) -> None:
    checker = check(page)
    assert checker.loads == []
    assert not checker.tags & {"script", "link", "iframe", "object", "img"}
    assert not re.search(r"@import|url\((?!#)", page)


def test_figures_on_one_page_do_not_share_ids(page: str) -> None:
    checker = check(page)
    assert len(checker.ids) == len(set(checker.ids))
    assert {r.removeprefix("#") for r in checker.references} <= set(checker.ids)


def test_the_page_takes_its_ink_from_the_reader(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    assert "#010203" not in page
    assert "fill: var(--ink)" in page


def test_headings_say_what_is_where(page: str) -> None:
    assert re.findall("<h1>(.*?)</h1>", page) == [
        "tiny on Made CPU: deploy <em>onnx-int8</em>"
    ]  # fmt: skip
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings[0] == "What it means here"
    assert "What is taken for what" in headings
    assert "<td style='background: rgb(0 114 178 / 0.90); color: #fff'" in page


def test_what_users_named_is_escaped() -> None:
    evil = '<script>alert("1")</script>&$x_1$'
    evaluation = make_evaluation()
    evaluation = replace(
        evaluation,
        per_label={evil if k == "sad" else k: v for k, v in evaluation.per_label.items()},
    )
    artefacts = [make_artefact("onnx-f32", 0.4, evaluation=evaluation, agreement=None)]
    report = make_report(*artefacts, reference="onnx-f32", verdict=[evil])
    report = replace(
        report,
        model=replace(report.model, name=evil, labels=["angry", "happy", evil]),
        data=replace(report.data, name=evil, left_out={evil: 1}),
        machine=replace(report.machine, cpu=evil),
    )
    page = html_page(report)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    check(page)


def test_training_set_figures_carry_a_warning(page: str) -> None:
    assert "Training-set figures" not in page
    report = make_report(
        make_artefact("onnx-f32", 0.4, evaluation=make_evaluation(protocol="training-set")),
        recommended="onnx-f32",
    )
    data = replace(report.data, protocol="training-set", trained_on=9)
    marked = html_page(replace(report, data=data))
    assert "class='warning'>Training-set figures" in marked
    assert "training-set accuracy" in marked
    assert "onnx-f32 (training-set)" in marked
    assert "accuracy (training set), %" in marked
    assert marked.count("(training-set figure)") == 2


def _unlabelled() -> BenchReport:
    report = make_report()
    artefacts = [replace(a, evaluation=None, reliability=[]) for a in report.artefacts]
    data = replace(report.data, kind="unlabelled", name="distilled pictures", protocol=None)
    return replace(report, artefacts=artefacts, data=data)


def test_without_labels_there_is_agreement_and_no_matrix() -> None:
    page = html_page(_unlabelled())
    assert "What the export cost in agreement" in page
    assert "this is agreement with the float model, not accuracy" in page
    assert "class='matrix'" not in page
    assert "Accuracy as recorded in the card, not measured now" in page


def test_one_export_alone_is_not_drawn_as_agreeing_with_nothing() -> None:
    report = _unlabelled()
    alone = replace(report.artefacts[2], agreement=None)
    page = html_page(replace(report, artefacts=[alone], reference=None))
    assert "What the export cost" not in page
    assert "labels as None" not in page


def test_without_pictures_there_is_only_speed() -> None:
    report = _unlabelled()
    page = html_page(replace(report, data=replace(report.data, kind="none", samples=0)))
    assert "What the export cost" not in page
    assert "How long the model takes" in page
