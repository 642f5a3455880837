"""A search for networks that are more accurate or faster than the default one.

Two aims at once: the balanced accuracy on validation pictures after a short training, and the int8
latency on this machine. Test pictures are divided off exactly as `train` divides them and then left
alone.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edge_emotion.errors import CheckError, ConversionError, DataError, UsageError
from edge_emotion.evaluation import balanced_interval, evaluate
from edge_emotion.files import check_folder, tool_versions
from edge_emotion.machine import read_machine
from edge_emotion.training.architectures import EDGE_CNN_BODY, keep_outputs, multiply_adds
from edge_emotion.training.config import TrainConfig
from edge_emotion.training.fit import build, fit, input_spec, predict_logits
from edge_emotion.training.gather import Labelled, fingerprint, gather, read_labelled, thin
from edge_emotion.training.loading import LoadedPictures, keep_labels, load_pictures
from edge_emotion.training.space import Space, configure, first_settings
from edge_emotion.training.splits import split_pictures
from edge_emotion.training.study import WORK_NAME, Study, check_place, claim, hold, plain
from edge_emotion.training.trials import Cost, Score, Trial, write_front, write_trials

Progress = Callable[[str], Callable[[Iterable[int]], Iterable[int]]]
#: Measures an untrained network; raises ConversionError where it has no int8 form.
Meter = Callable[[keras.Model], Cost]

#: A trial that was under way so often when the search ended, and nobody asked it to, is not begun
#: again.
MOST_INTERRUPTIONS = 3
ENGINES = ("ai-edge-litert", "onnxruntime")


@dataclass(frozen=True)
class TunePlan:
    """What a search may cost, and where it writes."""

    out: Path
    trials: int = 30  # in all, those of an earlier run included
    epochs: int = 8  # of a trial
    fraction: float = 1.0  # of the training pictures that trials learn from, 0..1
    max_latency: float | None = None  # ratio to the default edge-cnn; slower ones are not trained
    resume: bool = False

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UsageError(f"--trials must be 1 or more, not {self.trials}")
        if self.epochs < 1:
            raise UsageError(f"--epochs must be 1 or more, not {self.epochs}")
        if not 0 < self.fraction <= 1:
            raise UsageError(f"--fraction must be above 0 and at most 1, not {self.fraction}")
        if self.max_latency is not None and not self.max_latency > 0:
            raise UsageError(f"--max-latency must be above 0, not {self.max_latency}")


@dataclass(frozen=True)
class Found:
    """What a search found."""

    front: list[Trial]  # fastest first: no trial is better than one of these in both respects
    default: Trial | None  # with the default settings; None: it was not trained


def tune(
    data: Sequence[Path],
    base: TrainConfig,
    named: Collection[str],
    space: Space,
    plan: TunePlan,
    make_meter: Callable[[keras.Model], Meter],
    *,
    progress: Progress = lambda _: lambda items: items,
    callbacks: Callable[[str], list[Any]] = lambda _: [],
    report: Callable[[Trial], None] = lambda trial: None,
    log: Callable[[str], None] = lambda line: None,
    warn: Callable[[str], None] = lambda line: None,
) -> Found:
    """Search, and write each trial and the front as soon as it is known.

    Args:
        data: see `edge_emotion.training.train.train_model`.
        base: what is not searched. Its epochs are those of the training that follows the search.
        named: fields of `base` that the user gave.
        space: what is searched; see `make_space`.
        plan: how much, and where to.
        make_meter: given the default edge-cnn, makes what measures networks beside it.
        progress: title -> wrapper of a loop.
        callbacks: title -> further Keras callbacks of one training.
        report: is told of each trial.
        log: told in a line what happens.
        warn: told in a line of each picture that cannot be read.

    Raises:
        UsageError: the folder holds another search, or teachers were named.
        DataError: the pictures cannot be read or divided.
        CheckError: no trial could be trained, or all were too slow.
        OutputError: the folder cannot be written.
        KeyboardInterrupt: finished trials are kept.
    """
    if base.teachers or base.initial:
        raise UsageError(
            "teachers and initial weights go with one input size: name them in the training that "
            "follows"
        )
    if base.learn_all and base.labels is None:
        raise UsageError("--learn-all goes with --labels")
    labelled = read_labelled(data, base)
    check_place(plan.out, plan.resume)
    check_folder(plan.out)
    first = first_settings(base, space)
    work = plan.out / WORK_NAME
    with hold(plan.out):
        shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
        try:
            search = _Search(
                labelled, base, named, space, plan, make_meter, progress, callbacks, log, warn
            )
            study = Study(plan.out, space, first, base.seed)
            return _loop(study, search, plan, first, report, log)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _loop(
    study: Study,
    search: _Search,
    plan: TunePlan,
    first: dict[str, Any],
    report: Callable[[Trial], None],
    log: Callable[[str], None],
) -> Found:
    trials = study.trials()
    for trial in trials:
        search.know(trial)
    _write(study, search)
    while sum(trial.outcome != "interrupted" for trial in trials) < plan.trials:
        asked = study.ask()
        if asked is None:
            log(f"{len(trials)} trials: there is nothing else to try")
            break
        number, settings = asked
        try:
            trial, violation = search.run(number, settings, trials)
        except KeyboardInterrupt:
            study.abandon()
            raise
        study.tell(trial, violation)
        _write(study, search)
        report(trial)
        trials = study.trials()
    front = study.front()
    if not front:
        over = [trial for trial in trials if trial.outcome != "interrupted"]
        reasons = "; ".join(dict.fromkeys(trial.reason for trial in over if trial.reason))
        raise CheckError(f"none of {len(over)} trials was trained: {reasons}")
    default = next((t for t in trials if t.settings == first and t.score is not None), None)
    return Found(front, default)


def _write(study: Study, search: _Search) -> None:
    front = study.front()
    write_trials(search.plan.out, study.trials(), {trial.number for trial in front})
    configs = [search.config(trial.settings) for trial in front]
    # `train` knows how long a full training is, unless the user knows better.
    write_front(search.plan.out, front, configs, {"epochs"} - set(search.named))


class _Search:
    """The pictures, read once a size, and what is known of shapes."""

    def __init__(
        self,
        labelled: Labelled,
        base: TrainConfig,
        named: Collection[str],
        space: Space,
        plan: TunePlan,
        make_meter: Callable[[keras.Model], Meter],
        progress: Progress,
        callbacks: Callable[[str], list[Any]],
        log: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self.base, self.named, self.plan = base, named, plan
        self._progress, self._callbacks, self._log = progress, callbacks, log
        config = self.config(first_settings(base, space))
        size = input_spec(config).height
        gathered = gather(
            labelled, config, self._cache(size), progress=progress, log=log, warn=warn
        )
        parts, _, _ = split_pictures(
            gathered.loaded,
            gathered.groups,
            seed=base.seed,
            valid_fraction=base.valid_fraction,
            test_fraction=base.test_fraction,
        )
        self._gathered = gathered
        self._pictures = {size: gathered.loaded}
        self._train = thin(parts["train"], gathered.loaded.labels, plan.fraction, base.seed)
        self._valid = parts["valid"]
        self._outputs = [index for _, index in gathered.chosen]
        self._costs: dict[tuple[Any, ...], Cost] = {}
        reference = build(TrainConfig(), len(self._outputs))
        machine = read_machine()
        claim(
            plan.out,
            {
                "settings": base.as_dict(),
                "named": sorted(named),
                "epochs": plan.epochs,
                "labels": gathered.dataset.labels,
                "space": plain(space),
                "fraction": plan.fraction,
                "max_latency": plan.max_latency,
                "pictures": fingerprint(gathered.loaded, parts),
                "reference": [multiply_adds(reference), reference.count_params()],
                # Ratios of two machines do not belong into one front.
                "machine": [machine.cpu, machine.board],
                "engines": tool_versions(ENGINES),
            },
        )
        self._measure = make_meter(reference)

    def config(self, settings: Mapping[str, Any]) -> TrainConfig:
        """The full training that a trial shortens."""
        return configure(self.base, self.named, settings)

    def know(self, trial: Trial) -> None:
        """Take over what an earlier run measured of a shape."""
        if trial.cost is not None:
            self._costs[_shape(self.config(trial.settings))] = trial.cost

    def run(
        self, number: int, settings: dict[str, Any], earlier: Sequence[Trial]
    ) -> tuple[Trial, float]:
        """Measure and, if it is fast enough, train a candidate; and how far outside it is."""
        ended = sum(
            t.settings == settings and t.outcome == "interrupted" and t.reason is None
            for t in earlier
        )
        if ended >= MOST_INTERRUPTIONS:  # it may be what ends the search, out of memory
            return Trial(number, "infeasible", settings, f"ended the search {ended} times"), 1.0
        config = self.config(settings)
        try:
            cost = self._cost(config)
        except (UsageError, ConversionError) as error:
            return Trial(number, "infeasible", settings, str(error)), 1.0
        most = self.plan.max_latency
        if most is not None and cost.latency > most:
            reason = f"{cost.latency:.2f} times the latency, more than {most:g}"
            return Trial(number, "too slow", settings, reason, cost), cost.latency - most
        try:
            score = self._score(number, config)
        except CheckError as error:
            return Trial(number, "infeasible", settings, str(error), cost), 1.0
        return Trial(number, "trained", settings, None, cost, score), 0.0

    def _cost(self, config: TrainConfig) -> Cost:
        shape = _shape(config)
        if shape not in self._costs:
            keras.backend.clear_session()
            cost = self._measure(build(config, len(self._outputs)))
            if shape == _shape(TrainConfig()):  # beside itself: 1, without the measurement's noise
                cost = replace(cost, latency=1.0, onnx_latency=1.0)
            self._costs[shape] = cost
        return self._costs[shape]

    def _score(self, number: int, config: TrainConfig) -> Score:
        """Train for a while and score on validation pictures.

        Raises:
            CheckError: the training diverged.
        """
        loaded = self._at(config)
        keras.backend.clear_session()
        folder = self.plan.out / WORK_NAME / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        start = time.monotonic()
        fitted = fit(
            replace(config, epochs=self.plan.epochs), loaded, self._train, self._valid, folder,
            self._gathered.dataset.labels,
            callbacks=self._callbacks(f"trial {number}"), log=self._log,
        )  # fmt: skip
        model, valid = fitted.logits_model, self._valid
        if config.learn_all:
            model = keep_outputs(model, self._outputs)
            loaded, parts = keep_labels(loaded, {"valid": valid}, self._outputs)
            valid = parts["valid"]
        logits = predict_logits(model, loaded.pixels[valid])
        found = evaluate(
            logits, loaded.labels[valid], [name for name, _ in self._gathered.chosen],
            data=f"{self._gathered.dataset.name} valid", protocol="held-out",
        )  # fmt: skip
        return Score(
            balanced_accuracy=found.balanced_accuracy,
            balanced_interval=balanced_interval(found),
            accuracy=found.accuracy,
            samples=found.samples,
            epochs=len(fitted.history),
            seconds=round(time.monotonic() - start, 1),
        )

    def _at(self, config: TrainConfig) -> LoadedPictures:
        """The pictures at the input size of `config`.

        Raises:
            DataError: a picture that could be read before cannot be any more, or the reverse.
        """
        size = input_spec(config).height
        if size not in self._pictures:
            dataset = self._gathered.dataset
            loaded, _ = load_pictures(
                dataset,
                input_spec(config),
                cache=self._cache(size),
                progress=self._progress(f"reading {dataset.name} at {size} x {size}"),
            )
            # Hashes are of the pictures as they are: the division stays the same.
            if not np.array_equal(loaded.hashes, self._gathered.loaded.hashes):
                raise DataError(f"{dataset.name}: its pictures changed while they were in use")
            self._pictures[size] = loaded
        return self._pictures[size]

    def _cache(self, size: int) -> Path:
        return self.plan.out / WORK_NAME / f"pixels-{size}.npy"


def _shape(config: TrainConfig) -> tuple[Any, ...]:
    """What latency depends on."""
    body = config.body or EDGE_CNN_BODY
    return config.architecture, input_spec(config), config.width, body
