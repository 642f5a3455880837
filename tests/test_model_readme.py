"""The page of a model folder: what it says of errors, and whose pages it writes over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edge_emotion import ModelError
from edge_emotion.card import FAILURES_NAME, ClassMetrics, Evaluation
from edge_emotion.model_readme import BENCH_END, BENCH_START, model_readme, write_readme
from tests.tiny import make_card


def evaluation(
    confusion: list[list[int]], labels: Sequence[str] = ("angry", "happy", "sad")
) -> Evaluation:
    metrics = ClassMetrics(0.5, 0.5, 0.5, 10)
    return Evaluation(
        "pictures", "held-out", 30, 0.5, (0.3, 0.7), 0.5, 0.5, 0.1,
        dict.fromkeys(labels, metrics), confusion,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("confusion", "words"),
    [
        (
            [[5, 4, 1], [2, 6, 3], [5, 4, 0]],
            "19 errors, the commonest: 5 sad read as angry; 4 angry read as happy; "
            "4 sad read as happy.",
        ),
        ([[9, 0, 0], [0, 9, 1], [0, 0, 9]], "1 error, the commonest: 1 happy read as sad."),
    ],
)
def test_the_commonest_errors_are_named(confusion: list[list[int]], words: str) -> None:
    assert words in model_readme(make_card(evaluations=[evaluation(confusion)]))


def test_a_label_without_pictures_has_no_figures() -> None:
    with_none = evaluation([[9, 0, 0], [0, 9, 0], [0, 0, 0]])
    with_none.per_label["sad"] = ClassMetrics(0.0, 0.0, 0.0, 0)
    page = model_readme(make_card(evaluations=[with_none]))
    assert "| happy | 0.500 | 0.500 | 0.500 | 10 |\n| sad | - | - | - | 0 |" in page


def test_without_an_error_nothing_is_said_of_any() -> None:
    page = model_readme(make_card(evaluations=[evaluation([[9, 0, 0], [0, 9, 0], [0, 0, 9]])]))
    assert "commonest" not in page


def test_of_a_network_from_elsewhere_nothing_is_said_many_times() -> None:
    card = make_card()
    foreign = replace(card, training=replace(card.training, epochs=0, best_epoch=0))
    assert card.training.command in model_readme(card)
    page = model_readme(foreign)
    assert page.count("not trained by edge-emotion") == 1
    assert "Made by" not in page


def test_a_place_for_a_benchmark_is_kept_and_emptied(tmp_path: Path) -> None:
    card, page = make_card(), tmp_path / "README.md"
    write_readme(tmp_path, card)
    assert page.read_text("utf-8") == model_readme(card)
    bench = f"\n## Benchmark\n\n{BENCH_START}\n"
    page.write_text(f"{model_readme(card)}{bench}12 ms\n{BENCH_END}\n", "utf-8")
    write_readme(tmp_path, card)
    assert page.read_text("utf-8") == f"{model_readme(card)}{bench}{BENCH_END}\n"


def test_a_benchmark_of_the_same_exports_stays(tmp_path: Path) -> None:
    card, page = make_card(), tmp_path / "README.md"
    measured = f"{model_readme(card)}\n## Benchmark\n\n{BENCH_START}\n12 ms\n{BENCH_END}\n"
    page.write_text(measured, "utf-8")
    write_readme(tmp_path, card, measured=True)
    assert page.read_text("utf-8") == measured


@pytest.mark.parametrize("text", [b"# My project\n", b"", "# Für mich".encode("latin-1")])
def test_a_page_of_somebody_else_s_is_left_alone(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "README.md").write_bytes(text)
    write_readme(tmp_path, make_card())
    assert (tmp_path / "README.md").read_bytes() == text


def test_failure_cases_stand_on_the_page_and_have_to_be_utf_8(tmp_path: Path) -> None:
    failures = tmp_path / FAILURES_NAME
    failures.write_text("- **Müde**, 3\n", "utf-8")
    write_readme(tmp_path, make_card())
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "\n\n## Failure cases\n\n- **Müde**, 3\n\n" in page
    failures.write_bytes("- **Müde**, 3\n".encode("latin-1"))
    with pytest.raises(ModelError, match=r"failure_cases\.md: not UTF-8"):
        write_readme(tmp_path, make_card())
    assert (tmp_path / "README.md").read_text("utf-8") == page


def test_a_label_with_a_bar_stays_in_its_cell() -> None:
    own = evaluation([[9, 0], [0, 9]], ["calm|bored", "sad"])
    page = model_readme(make_card(evaluations=[own]))
    assert r"| calm\|bored | 0.500 |" in page
