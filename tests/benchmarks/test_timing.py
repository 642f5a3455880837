from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from edge_emotion.benchmarks.run import make_settings
from edge_emotion.benchmarks.subjects import Subject
from edge_emotion.benchmarks.timing import distribution, make_picture, summarise, time_subjects
from edge_emotion.benchmarks.worker import Timed, TimeRequest
from edge_emotion.errors import CheckError, UsageError
from tests.tiny import make_card

SUBJECTS = [Subject(name, Path(f"{name}.bin"), None) for name in ("a", "b", "c")]


def timed(scale: float = 1.0) -> Timed:
    return Timed(
        engine="e", engine_version="1", import_s=0.5 * scale, load_s=0.1 * scale,
        first_prediction_s=0.2 * scale, model=[1.0 * scale, 3.0 * scale], decode=[2.0, 4.0],
        preprocess=[0.5, 0.5], infer=[1.5 * scale, 3.5 * scale], pictures_per_s=[100 / scale],
        peak_rss=int(1000 * scale),
    )  # fmt: skip


def test_percentiles_are_of_the_runs_of_all_rounds() -> None:
    found = distribution([[float(i) for i in range(1, 51)], [float(i) for i in range(51, 102)]])
    assert found.runs == 101
    assert (found.mean, found.p50, found.p90, found.p99) == (51, 51, 91, 100)
    assert (found.quantiles[0], found.quantiles[10], found.quantiles[20]) == (1, 51, 101)
    assert found.round_medians == [25.5, 76]
    assert found.spread == pytest.approx(76 / 25.5 - 1)


def test_a_summary_sums_the_steps_run_by_run() -> None:
    found = summarise([timed(1), timed(2), timed(4)], threads=2, batches=[1])
    assert found.threads == 2
    assert found.model.runs == 6
    assert found.picture.total.quantiles[0] == 2.0 + 0.5 + 1.5
    assert found.picture.total.quantiles[-1] == 4.0 + 0.5 + 14.0
    assert found.throughput[0].pictures_per_s == 50  # the median round
    assert (found.start_up.import_s, found.start_up.load_s) == (1.0, 0.2)
    assert found.start_up.first_prediction_s == 0.4
    assert found.peak_rss == 4000


def test_every_round_runs_everything_once_in_an_order_of_its_own() -> None:
    asked: list[tuple[str, int]] = []

    def measure(request: TimeRequest) -> Timed:
        asked.append((request.path, request.threads))
        return timed()

    settings = make_settings(rounds=4, runs=7, threads=[1, 4])
    times = time_subjects(SUBJECTS, make_card(), settings, measure=measure)
    rounds = [asked[i : i + 6] for i in range(0, 24, 6)]
    assert len(asked) == 24
    assert all(sorted(one) == sorted(rounds[0]) for one in rounds)
    assert len({tuple(one) for one in rounds}) == 4
    assert {recipe: sorted(t.answers) for recipe, t in times.items()} == {
        "a": [1, 4], "b": [1, 4], "c": [1, 4],
    }  # fmt: skip


def test_what_fails_is_not_run_again_and_hinders_nobody() -> None:
    asked: list[str] = []

    def measure(request: TimeRequest) -> Timed:
        asked.append(request.path)
        if request.path == "b.bin" and asked.count("b.bin") == 2:
            raise CheckError("b.bin: killed by SIGILL")
        return timed()

    settings = make_settings(rounds=4, threads=[1])
    times = time_subjects(SUBJECTS, make_card(), settings, measure=measure)
    assert [asked.count(f"{name}.bin") for name in "abc"] == [4, 2, 4]
    assert str(times["b"].error) == "b.bin: killed by SIGILL"
    assert times["a"].error is None


def test_the_picture_is_the_same_every_time_and_no_flat_one() -> None:
    data = make_picture()
    assert data == make_picture()
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (640, 480), "RGB")
    assert len(data) > 40_000  # a photograph of this size has 60 to 120 kB


def test_the_default_is_at_least_200_runs_in_several_rounds() -> None:
    settings = make_settings()
    assert settings.total_runs >= 200
    assert settings.rounds >= 3
    assert settings.threads[0] == 1
    assert settings.batches == [1, 32]


def test_quick_says_so_and_gives_way_to_what_is_asked_for() -> None:
    quick = make_settings(quick=True)
    assert quick.quick
    assert quick.total_runs < make_settings().total_runs
    assert make_settings(quick=True, rounds=9) == replace(quick, rounds=9)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rounds": 0}, "--rounds must be 1 or more, not 0"),
        ({"runs": -1}, "--runs must be 1 or more"),
        ({"threads": [1, 0]}, "--threads must be 1 or more, not 0"),
        ({"max_drop": -1}, "--max-drop is in percentage points"),
        ({"min_agreement": 98}, "--min-agreement is a share"),
    ],
)
def test_settings_without_sense_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_settings(**wrong)  # type: ignore[arg-type]
