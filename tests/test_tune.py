"""The search: what it suggests, keeps and writes. Scores are made up but where a test says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from edge_emotion.cli import app
from edge_emotion.errors import CheckError, UsageError

from . import tiny
from .generated import write_class_folders

pytest.importorskip("tensorflow", reason="needs the extra tune")
pytest.importorskip("optuna", reason="needs the extra tune")

from optuna.distributions import CategoricalDistribution

from edge_emotion.benchmarks import beside
from edge_emotion.training import tune as tune_module
from edge_emotion.training.architectures import EDGE_CNN_BODY
from edge_emotion.training.config import TrainConfig, make_config
from edge_emotion.training.data import read_dataset
from edge_emotion.training.fit import input_spec
from edge_emotion.training.gather import thin
from edge_emotion.training.loading import load_pictures
from edge_emotion.training.space import make_space
from edge_emotion.training.splits import duplicate_groups, split_pictures
from edge_emotion.training.study import JOURNAL_NAME, STUDY_NAME, Study, hold
from edge_emotion.training.trials import TRIALS_NAME, Cost, Score, Trial

# TensorFlow and its converters use what NumPy and they themselves deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def rows(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / TRIALS_NAME).read_bytes())


def settings(folder: Path, outcome: str | None = None) -> list[dict[str, Any]]:
    return [row["settings"] for row in rows(folder) if outcome in (None, row["outcome"])]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("faces") / "faces", 14)


@dataclass
class World:
    """What stands in for engines and trainings, and counts them."""

    measured: list[tuple[int, ...]] = field(default_factory=list)  # input side, parameters
    trained: list[TrainConfig] = field(default_factory=list)
    before: Callable[[int], None] = lambda number: None

    def make_meter(self, reference: Any) -> Callable[[Any], Cost]:
        from edge_emotion.training.architectures import multiply_adds

        whole = multiply_adds(reference)

        def measure(model: Any) -> Cost:
            self.measured.append((model.input_shape[1], model.count_params()))
            ratio = 1.02 * multiply_adds(model) / whole  # as noise may have it
            return Cost(ratio, ratio, ratio, ratio, 1000, multiply_adds(model), 1)

        return measure

    def score(self, search: Any, number: int, config: TrainConfig) -> Score:
        self.before(len(self.trained))
        self.trained.append(config)
        # Wider is better up to a point that the learning rate moves: a front of several.
        value = float(np.tanh(config.width) * np.exp(-abs(np.log(config.learning_rate / 2e-3)) / 4))
        return Score(value, (value - 0.05, value + 0.05), value, 10, search.plan.epochs, 1.0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    monkeypatch.setattr(beside, "Beside", made.make_meter)
    monkeypatch.setattr(
        tune_module._Search, "_score", lambda search, n, config: made.score(search, n, config)
    )
    return made


SHAPES = ("--sizes", "32,40,48", "--widths", "0.25,0.5,1")
SMALL = (*SHAPES, "--bodies", tiny.BODY)


# What comes out


def test_the_front_is_what_no_trial_is_better_than(
    faces: Path, world: World, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run("tune", faces, "--out", out, "--trials", "13", *SMALL)
    assert result.exit_code == 0, result.stderr
    found = rows(out)
    assert [row["number"] for row in found] == list(range(13))
    points = {
        row["number"]: (row["score"]["balanced_accuracy"], row["cost"]["latency"])
        for row in found
        if row["outcome"] == "trained"
    }

    def dominated(n: int) -> bool:
        accuracy, latency = points[n]
        return any(a >= accuracy and b <= latency and (a, b) != points[n]
                   for a, b in points.values())  # fmt: skip

    front = {n for n in points if not dominated(n)}
    assert 1 < len(front) < len(points)
    assert {row["number"] for row in found if row["front"]} == front
    assert {p.name for p in out.glob("front-*")} == {f"front-{n}.toml" for n in front}
    printed = [line.split("│")[1].strip() for line in result.stdout.splitlines() if "│" in line]
    numbers = [int(text.split()[0]) for text in printed if text[:1].isdigit()]
    below = [] if 0 in front else [0]
    assert numbers == sorted(front, key=lambda n: points[n][1]) + below
    assert [text for text in printed if "default" in text] == ["0 (default)"]
    assert set(out.iterdir()) == {out / n for n in (TRIALS_NAME, STUDY_NAME, JOURNAL_NAME)} | set(
        out.glob("front-*")
    )


def test_bodies_are_of_edge_cnn_alone() -> None:
    base = TrainConfig(architecture="baseline-cnn")
    with pytest.raises(UsageError, match="--bodies are of edge-cnn, not of baseline-cnn"):
        make_space(base, [], bodies=["c8 r"])


def test_bodies_are_searched_and_each_is_measured_once(
    faces: Path, world: World, tmp_path: Path
) -> None:
    out, bodies = tmp_path / "out", ["c8 r", "c8 d16", EDGE_CNN_BODY]
    result = run(
        "tune", faces, "--out", out, "--trials", "8", "--sizes", "32", "--widths", "0.5",
        "--bodies", ",".join(bodies),
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    tried = [found["body"] for found in settings(out)]
    assert tried[0] == EDGE_CNN_BODY
    assert len(set(tried)) > 1
    assert set(tried) <= set(bodies)
    assert len(world.measured) == len(set(world.measured)) == len(set(tried))
    for file in out.glob("front-*.toml"):
        assert make_config(file, {}).body in bodies


def test_a_body_that_is_none_is_refused(faces: Path, world: World, tmp_path: Path) -> None:
    result = run("tune", faces, "--out", tmp_path / "out", "--bodies", "c8 r,x8")
    assert result.exit_code == 2
    assert "--bodies: body: 'x8' is no stage" in result.stderr
    assert world.measured == []


def test_the_first_trial_is_the_default(faces: Path, world: World, tmp_path: Path) -> None:
    result = run("tune", faces, "--out", tmp_path / "out", "--trials", "1")
    assert result.exit_code == 0, result.stderr
    (config,) = world.trained
    default = TrainConfig()
    for name in ("width", "learning_rate", "weight_decay", "balance", "rotation", "noise", "erase"):
        assert getattr(config, name) == getattr(default, name), name
    assert (config.size, config.dropout) == (48, 0.3)  # edge-cnn's own
    assert rows(tmp_path / "out")[0]["cost"]["latency"] == 1


class ReachedError(Exception):
    """Instead of a training."""


def test_train_takes_the_files_of_the_front_as_full_trainings(
    faces: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[TrainConfig] = []

    def train_model(data: Any, config: TrainConfig, *rest: Any, **more: Any) -> None:
        given.append(config)
        raise ReachedError

    monkeypatch.setattr("edge_emotion.training.train.train_model", train_model)
    base = tmp_path / "base.toml"
    base.write_text('epochs = 33\nlabels = ["sad", "angry"]\nsubject = "a\\u007f\\"|\\\\d+"\n')
    for out, extra in ((tmp_path / "a", []), (tmp_path / "b", ["--config", base])):
        result = run("tune", faces, "--out", out, "--trials", "4", "--seed", "5", *SMALL, *extra)
        assert result.exit_code == 0, result.stderr
        for file in out.glob("front-*.toml"):
            reached = run("train", faces, "--config", file, "--run", tmp_path / "run")
            assert isinstance(reached.exception, ReachedError), reached.stderr
            config = given[-1]
            number = int(file.stem.removeprefix("front-"))
            tried = settings(out)[number]
            for name in ("size", "width", "learning_rate", "dropout", "balance", "erase"):
                assert getattr(config, name) == tried[name]
            assert config.seed == 5  # the same split: test pictures stay unseen
            assert config.epochs == (33 if extra else TrainConfig.epochs)
            if extra:
                assert config.labels == ["sad", "angry"]
                assert config.subject == 'a\x7f"|\\d+'
    assert len(given) >= 2


# What is fixed, what is searched


def test_what_a_file_names_is_fixed(faces: Path, world: World, tmp_path: Path) -> None:
    base = tmp_path / "base.toml"
    base.write_text("learning_rate = 0.001\nrotation = 3.0\nsize = 40\nerase = 0.0\n")
    result = run(
        "tune", faces, "--out", tmp_path / "out", "--trials", "5", "--config", base,
        "--widths", "0.5",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    tried = settings(tmp_path / "out")
    assert {frozenset(row) for row in tried} == {
        frozenset({"width", "dropout", "balance", "weight_decay", "geometry", "light"})
    }
    for config, row in zip(world.trained, tried, strict=True):
        fixed = (config.learning_rate, config.rotation, config.size, config.erase, config.width)
        assert fixed == (0.001, 3.0, 40, 0.0, 0.5)
        assert config.zoom == pytest.approx(TrainConfig.zoom * row["geometry"], rel=1e-3)
    assert len({config.zoom for config in world.trained}) == 5
    assert len(world.measured) == 1  # one shape


@pytest.mark.parametrize("architecture", ["edge-cnn", "baseline-cnn"])
def test_every_corner_of_the_default_space_is_a_configuration(architecture: str) -> None:
    base = make_config(None, {"architecture": architecture})
    space = make_space(base, {"architecture"})
    assert ("weight_decay" in space) == (architecture == "edge-cnn")  # baseline-cnn has Adam
    for end in ("low", "high"):
        from edge_emotion.training.space import configure

        config = configure(base, set(), {name: getattr(d, end) for name, d in space.items()})
        assert make_config(None, {k: v for k, v in config.as_dict().items() if v is not None})


def test_the_same_seed_suggests_the_same(faces: Path, world: World, tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert run(
            "tune", faces, "--out", tmp_path / name, "--trials", "6", "--seed", seed, *SMALL
        ).exit_code == 0  # fmt: skip
    a, b, c = (settings(tmp_path / name) for name in "abc")
    assert a == b
    assert a[0] == c[0]  # the defaults
    assert all(one != other for one, other in zip(a[1:], c[1:], strict=True))
    assert len({json.dumps(row) for row in a}) == 6


def test_nothing_is_tried_twice_where_there_is_more(tmp_path: Path) -> None:
    """Few values, one of them the best: the sampler would name it again and again."""
    space = {
        "size": CategoricalDistribution((40, 48, 56)),
        "width": CategoricalDistribution((0.25, 0.5, 0.75, 1.0)),
    }
    study = Study(tmp_path, space, {"size": 48, "width": 1.0}, 1)
    while (asked := study.ask()) is not None:
        number, values = asked
        best = values == {"size": 40, "width": 0.5}
        cost = Cost(0.5 if best else 1.0, 1.0, 1.0, 1.0, 1000, 1000, 1)
        score = Score(0.9 if best else 0.5, (0.0, 1.0), 0.9, 10, 1, 1.0)
        study.tell(Trial(number, "trained", values, None, cost, score))
    tried = {tuple(trial.settings.items()) for trial in study.trials()}
    assert len(tried) == len(study.trials()) == 12


def test_a_space_of_three_points_is_not_trained_thirty_times(
    faces: Path, world: World, tmp_path: Path
) -> None:
    base = tmp_path / "base.toml"
    names = (
        "learning_rate", "dropout", "balance", "weight_decay", "rotation", "zoom", "shift",
        "shear", "brightness", "contrast", "gamma", "blur", "noise", "erase",
    )  # fmt: skip
    base.write_text("".join(f"{name} = {getattr(TrainConfig, name) or 0.1}\n" for name in names))
    out = tmp_path / "out"
    arguments = ["tune", faces, "--out", out, "--trials", "12", "--config", base, "--sizes", "48"]
    result = run(*arguments, "--widths", "0.25,0.5,1")
    assert result.exit_code == 0, result.stderr
    assert "3 trials: there is nothing else to try" in result.stderr
    assert sorted(trial["width"] for trial in settings(out, "trained")) == [0.25, 0.5, 1]
    assert len(world.trained) == len(rows(out)) == 3
    nothing = run(*arguments[:3], tmp_path / "n", *arguments[4:], "--widths", "1")
    assert nothing.exit_code == 2
    assert "everything is fixed" in nothing.stderr


# What is not trained


def test_shapes_that_cannot_be_built_do_not_end_the_search(
    faces: Path, world: World, tmp_path: Path
) -> None:
    base = tmp_path / "base.toml"
    base.write_text("architecture = 'baseline-cnn'\n")
    out = tmp_path / "out"
    arguments = ["tune", faces, "--config", base, "--widths", "0.05"]
    result = run(*arguments, "--out", out, "--sizes", "16,32", "--trials", "8")
    assert result.exit_code == 0, result.stderr
    for row in rows(out):
        assert (row["outcome"] == "infeasible") == (row["settings"]["size"] == 16)
        if row["outcome"] == "infeasible":
            assert "cannot be built for 16 x 16" in row["reason"]
            assert not row["front"]
    assert {row["outcome"] for row in rows(out)} == {"trained", "infeasible"}
    none = run(*arguments, "--out", tmp_path / "none", "--sizes", "16", "--trials", "2")
    assert none.exit_code == 1
    (complaint,) = none.stderr.splitlines()
    assert "none of 2 trials was trained: baseline-cnn cannot be built" in complaint


def test_what_is_too_slow_is_recorded_and_not_trained(
    faces: Path, world: World, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run("tune", faces, "--out", out, "--trials", "14", "--max-latency", "0.4", *SHAPES)
    assert result.exit_code == 0, result.stderr
    slow = [row for row in rows(out) if row["cost"]["latency"] > 0.4]
    assert slow[0]["number"] == 0  # the default itself
    for row in slow:
        assert (row["outcome"], row["score"], row["front"]) == ("too slow", None, False)
        assert "more than 0.4" in row["reason"]
    assert len(world.trained) == 14 - len(slow) > 0
    assert len(world.measured) == len(set(world.measured)) <= 9  # a shape once


def test_a_training_that_diverges_does_not_end_the_search(
    faces: Path, world: World, tmp_path: Path
) -> None:
    def diverge(number: int) -> None:
        if len(world.trained) == 1 and not reasons:
            reasons.append("the training diverged")
            raise CheckError(reasons[0])

    reasons: list[str] = []
    world.before = diverge
    result = run("tune", faces, "--out", tmp_path / "out", "--trials", "3", *SMALL)
    assert result.exit_code == 0, result.stderr
    found = rows(tmp_path / "out")
    assert [row["outcome"] for row in found] == ["trained", "infeasible", "trained"]
    assert (found[1]["reason"], found[1]["score"], found[1]["front"]) == (*reasons, None, False)
    assert found[1]["cost"]["latency"] > 0


# Going on


def test_a_search_goes_on_as_if_it_had_not_stopped(
    faces: Path, world: World, tmp_path: Path
) -> None:
    def search(out: str, trials: int, *more: str) -> Result:
        return run("tune", faces, "--out", tmp_path / out, "--trials", str(trials), *SMALL, *more)

    assert search("whole", 13).exit_code == 0
    whole, measured = len(world.trained), len(world.measured)
    assert search("parts", 3).exit_code == 0
    assert search("parts", 12, "--resume").exit_code == 0
    assert search("parts", 13, "--resume").exit_code == 0
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert (len(world.trained), len(world.measured)) == (2 * whole, 2 * measured)
    again = search("parts", 13, "--resume")
    assert again.exit_code == 0
    assert "balanced" in again.stdout
    assert len(world.trained) == 2 * whole
    record = tmp_path / "parts" / STUDY_NAME
    begun = json.loads(record.read_bytes())
    del begun["settings"]["mixup"]  # as a version without that option wrote it
    record.write_text(json.dumps(begun))
    older = search("parts", 13, "--resume")
    assert older.exit_code == 0, older.stderr


@pytest.mark.parametrize("how", ["Ctrl-C", "kill", "kill in a write"])
def test_an_interruption_keeps_what_is_finished(
    how: str, faces: Path, world: World, tmp_path: Path
) -> None:
    class KilledError(Exception):
        """Stands in for the end of the process: nothing of ours catches it."""

    def stop(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt if how == "Ctrl-C" else KilledError

    out = tmp_path / "out"
    arguments = ["tune", faces, "--trials", "5", *SMALL]
    world.before = stop
    result = run(*arguments, "--out", out)
    if how == "Ctrl-C":
        assert result.exit_code == 130
        (line,) = result.stderr.splitlines()
        assert line == f"edge-emotion: interrupted: what is finished is in {out}: --resume goes on"
    else:
        assert isinstance(result.exception, KilledError)
    assert len(settings(out, "trained")) == 2
    assert not (out / ".tune").exists()
    if how == "kill in a write":
        with (out / JOURNAL_NAME).open("ab") as file:
            file.write(b'{"op_code":5,"worker')
    world.before = lambda number: None
    result = run(*arguments, "--out", out, "--resume")
    assert result.exit_code == 0, result.stderr
    assert run(*arguments, "--out", tmp_path / "whole").exit_code == 0
    assert settings(out, "trained") == settings(tmp_path / "whole", "trained")
    assert len(settings(out, "trained")) == 5
    assert [row["outcome"] for row in rows(out)].count("interrupted") == 1


def test_a_trial_that_ends_the_search_again_and_again_is_passed_over(
    faces: Path, world: World, tmp_path: Path
) -> None:
    """As one that is too large for the memory: the kernel ends the process, and nothing is told."""

    class KilledError(Exception):
        pass

    def stop(number: int) -> None:
        if number == 1:
            raise KilledError

    out = tmp_path / "out"
    arguments = ["tune", faces, "--trials", "3", *SMALL, "--out", out]
    world.before = stop
    for resume in ([], *[["--resume"]] * (tune_module.MOST_INTERRUPTIONS - 1)):
        assert isinstance(run(*arguments, *resume).exception, KilledError)
    world.before = lambda number: None
    result = run(*arguments, "--resume")
    assert result.exit_code == 0, result.stderr
    killed = [row["settings"] for row in rows(out) if row["outcome"] == "interrupted"]
    assert killed == settings(out, "infeasible") * tune_module.MOST_INTERRUPTIONS
    assert len(settings(out, "trained")) == 2


def test_a_trial_that_the_user_ends_again_and_again_is_not_to_blame(
    faces: Path, world: World, tmp_path: Path
) -> None:
    def stop(number: int) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    arguments = ["tune", faces, "--trials", "1", *SMALL, "--out", out]
    world.before = stop
    for resume in ([], *[["--resume"]] * (tune_module.MOST_INTERRUPTIONS)):
        assert run(*arguments, *resume).exit_code == 130
    world.before = lambda number: None
    result = run(*arguments, "--resume")
    assert result.exit_code == 0, result.stderr
    assert "(default)" in result.stdout


@pytest.mark.parametrize("own", ["trials.json", "front-7.toml", ".tune/p", "journal.log"])
def test_what_no_search_wrote_stays(faces: Path, world: World, tmp_path: Path, own: str) -> None:
    path = tmp_path / "out" / own
    path.parent.mkdir(parents=True)
    path.write_text("mine\nwithout an end")
    for resume in ([], ["--resume"]):
        result = run("tune", faces, "--trials", "1", *SMALL, "--out", tmp_path / "out", *resume)
        assert result.exit_code == 2
        assert f"holds {own.partition('/')[0]}, and no search that it is of" in result.stderr
        assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == [path]
        assert path.read_text() == "mine\nwithout an end"
    assert not world.trained


def test_a_search_that_was_killed_before_its_first_trial_is_gone_over(
    faces: Path, world: World, tmp_path: Path
) -> None:
    work = tmp_path / "out" / ".tune"
    work.mkdir(parents=True)
    (work / "pixels-32.npy").write_bytes(b"half")
    (tmp_path / "out" / JOURNAL_NAME).touch()
    result = run("tune", faces, "--trials", "1", *SMALL, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert not work.exists()


def test_a_full_disk_keeps_what_is_finished(
    faces: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.storages.journal import JournalFileBackend

    real = JournalFileBackend.append_logs

    def full(self: Any, logs: Any) -> None:
        if len(world.trained) == 2:
            with (tmp_path / "out" / JOURNAL_NAME).open("ab") as file:
                file.write(b'{"op_code":')
            raise OSError(28, "No space left on device")
        real(self, logs)

    arguments = ["tune", faces, "--out", tmp_path / "out", "--trials", "4", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", full)
        result = run(*arguments)
    assert result.exit_code == 5
    (line,) = result.stderr.splitlines()
    assert "No space left on device" in line
    assert "--resume" in line
    assert len(settings(tmp_path / "out", "trained")) == 1
    world.trained.clear()
    assert run(*arguments, "--resume").exit_code == 0
    assert len(settings(tmp_path / "out", "trained")) == 4
    assert len(world.trained) == 3


def test_a_folder_belongs_to_one_search(faces: Path, world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["tune", faces, "--out", out, "--trials", "2", *SMALL]
    assert run(*arguments).exit_code == 0
    before = {p: p.read_bytes() for p in out.iterdir()}
    other = write_class_folders(tmp_path / "other" / "faces", 14, first_seed=300)
    for changed, words in (
        (arguments, "holds an earlier search: pass --resume"),
        ([*arguments, "--resume", "--seed", "9"], "differs in settings, named"),
        ([*arguments, "--resume", "--epochs", "9"], "differs in epochs"),
        ([*arguments, "--resume", "--widths", "1,2"], "differs in space"),
        ([*arguments, "--resume", "--max-latency", "2"], "differs in max_latency"),
        (["tune", other, *arguments[2:], "--resume"], "differs in pictures"),
    ):
        result = run(*changed)
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert words in line
    assert {p: p.read_bytes() for p in out.iterdir()} == before
    with hold(out):
        busy = run(*arguments, "--resume")
    assert busy.exit_code == 5
    assert "another edge-emotion tune" in busy.stderr
    damages = [(JOURNAL_NAME, b'{"op_code":99}\n'), (STUDY_NAME, b"[1]"), (STUDY_NAME, b"{}")]
    for name, damage in damages:
        (out / name).write_bytes(damage)
        result = run(*arguments, "--resume")
        assert result.exit_code == 4
        (line,) = result.stderr.splitlines()
        assert f"{name}: damaged: name another --out" in line
        (out / name).write_bytes(before[out / name])
    (out / JOURNAL_NAME).unlink()
    result = run(*arguments, "--resume")
    assert result.exit_code == 4
    assert f"{JOURNAL_NAME} is missing" in result.stderr
    assert not (out / JOURNAL_NAME).exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--trials", "0"], 2, "--trials must be 1 or more"),
        (["--epochs", "0"], 2, "--epochs must be 1 or more"),
        (["--fraction", "0"], 2, "--fraction must be above 0"),
        (["--fraction", "nan"], 2, "--fraction must be above 0"),
        (["--max-latency", "-1"], 2, "--max-latency must be above 0"),
        (["--sizes", "48,x"], 2, "--sizes: 'x' is not a whole number"),
        (["--widths", "1,x"], 2, "--widths: 'x' is not a number"),
        (["--sizes", "4"], 2, "--sizes: size must be 8 to 1024, not 4"),
        (["--widths", "99"], 2, "--widths: width must be 0.05 to 8, not 99"),
        (["--sizes", ","], 2, "--sizes: name one or more"),
        (["--learn-all"], 2, "--learn-all goes with --labels"),
        (["--labels", "sad,hapy"], 2, "did you mean 'happy'"),
        (["--config", "missing.toml"], 4, "missing.toml"),
        (["--out", "/proc/tune"], 5, "cannot write /proc/tune"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], code: int, words: str, faces: Path, world: World, tmp_path: Path
) -> None:
    result = run("tune", faces, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == code, result.stderr
    (line,) = result.stderr.splitlines()
    assert words in line


def test_teachers_are_for_the_training_that_follows(faces: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.toml"
    base.write_text("teachers = ['edge-cnn']\n")
    result = run("tune", faces, "--out", tmp_path / "out", "--config", base)
    assert result.exit_code == 2
    assert "teachers and initial weights go with one input size" in result.stderr


def test_a_missing_extra_is_the_pip_command(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("tune", faces, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "pip install 'edge-emotion[tune]'" in result.stderr


# With real trainings


def test_trials_are_real_trainings_and_test_pictures_are_left_alone(
    faces: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(beside, "Beside", world.make_meter)
    seen: list[np.ndarray] = []
    lengths: list[int] = []
    real_fit, real_predict = tune_module.fit, tune_module.predict_logits

    def fit(config: Any, loaded: Any, train: Any, valid: Any, *rest: Any, **more: Any) -> Any:
        lengths.append(config.epochs)
        seen.append(np.concatenate([train, valid]))
        return real_fit(config, loaded, train, valid, *rest, **more)

    scored: list[np.ndarray] = []

    def predict(model: Any, pixels: Any) -> Any:
        scored.append(np.array(pixels))
        return real_predict(model, pixels)

    monkeypatch.setattr(tune_module, "fit", fit)
    monkeypatch.setattr(tune_module, "predict_logits", predict)
    base = tmp_path / "base.toml"
    base.write_text("batch_size = 16\n")
    out = tmp_path / "out"
    result = run(
        "tune", faces, "--out", out, "--trials", "2", "--epochs", "2", "--config", base,
        "--sizes", "16,24", "--widths", "0.25", "--labels", "sad,happy", "--learn-all",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert lengths == [2, 2]
    config = TrainConfig()
    loaded, _ = load_pictures(read_dataset(faces), input_spec(config), near=True)
    groups, _ = duplicate_groups(loaded)
    parts, _, _ = split_pictures(
        loaded, groups, seed=config.seed, valid_fraction=config.valid_fraction,
        test_fraction=config.test_fraction,
    )  # fmt: skip
    assert len(parts["test"])
    for indices in seen:
        np.testing.assert_array_equal(indices, np.concatenate([parts["train"], parts["valid"]]))
    kept = parts["valid"][loaded.labels[parts["valid"]] != 0]  # not the angry ones
    for pixels, row in zip(scored, rows(out), strict=True):
        spec = input_spec(TrainConfig(size=row["settings"]["size"]))
        own, _ = load_pictures(read_dataset(faces), spec)
        np.testing.assert_array_equal(pixels, own.pixels[kept])
        assert row["score"]["samples"] == len(kept)
        assert row["score"]["epochs"] == 2


def test_a_fraction_keeps_every_label() -> None:
    labels = np.repeat([0, 1, 2], [100, 40, 3])
    indices = np.arange(0, 143)
    kept = thin(indices, labels, 0.1, seed=1)
    assert np.bincount(labels[kept]).tolist() == [10, 4, 1]
    np.testing.assert_array_equal(kept, thin(indices, labels, 0.1, seed=1))
    assert not np.array_equal(kept, thin(indices, labels, 0.1, seed=2))
    np.testing.assert_array_equal(thin(indices, labels, 1.0, seed=1), indices)
