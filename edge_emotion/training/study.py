"""A search that outlives its process: Optuna's study in a journal file."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_emotion.errors import InputError, MissingExtraError, OutputError, UsageError
from edge_emotion.files import write_bytes
from edge_emotion.training.config import same_settings
from edge_emotion.training.space import Space
from edge_emotion.training.trials import TRIALS_NAME, Trial, old_fronts

try:
    import optuna
    from optuna.distributions import distribution_to_json
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState
except ImportError as error:
    raise MissingExtraError("searching hyper-parameters", "tune") from error

#: Pixels and checkpoints while a search runs; removed at its end.
WORK_NAME = ".tune"
STUDY_NAME = "study.json"
JOURNAL_NAME = "journal.log"
#: Random trials before the sampler has something to go by.
RANDOM_TRIALS = 10

#: Draws of which the sampler suggests the best: Optuna's default.
CANDIDATES = 24
#: Suggestions that are looked at for one that was not tried: by the sampler, then at random.
GUIDED, RANDOM = 20, 1000

# Keys among the attributes that Optuna keeps.
_RECORD = "trial"  # a `Trial`
_REPEATED = "repeated"  # a suggestion that was passed over
_ASKED_TO_END = "asked to end"  # by Ctrl-C or a signal
_STATES = {
    "trained": TrialState.COMPLETE,
    "too slow": TrialState.PRUNED,
    "infeasible": TrialState.PRUNED,
    "interrupted": TrialState.FAIL,  # neither good nor bad: the sampler passes over these
}


def check_place(folder: Path, resume: bool) -> None:
    """See that a search may begin in a folder, before anything is read or written.

    Raises:
        UsageError: an earlier search is there, and `resume` is not given; or what a search would
            write over, and no search put there.
        InputError: an earlier search is there without its journal.
    """
    journal = folder / JOURNAL_NAME
    if (folder / STUDY_NAME).exists():
        if not resume:
            raise UsageError(
                f"{folder} holds an earlier search: pass --resume to go on, or name another --out"
            )
        if not journal.exists():
            raise InputError(f"{journal} is missing: put it back, or name another --out")
        return
    # A search that was killed while it read pictures leaves an empty journal, and its pixels.
    began = journal.is_file() and journal.stat().st_size == 0
    foreign = [path for path in (journal, folder / WORK_NAME) if path.exists() and not began]
    foreign += [folder / TRIALS_NAME] if (folder / TRIALS_NAME).exists() else []
    foreign += old_fronts(folder)
    if foreign:
        raise UsageError(
            f"{folder} holds {foreign[0].name}, and no search that it is of: name another --out"
        )


def claim(folder: Path, identity: dict[str, Any]) -> None:
    """A folder belongs to one search: settings, space, pictures, machine.

    Args:
        folder: of the search.
        identity: plain values; of "settings" an option that an older record lacks has its default.

    Raises:
        UsageError: it holds another search.
        InputError: what it holds is damaged.
    """
    path = folder / STUDY_NAME
    data = json.dumps(identity, indent=1).encode()
    own = json.loads(data)
    if path.exists():
        try:
            old = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            if same_settings(own["settings"], old["settings"]):
                old["settings"] = own["settings"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"{path}: damaged: name another --out") from error
        if other := [key for key in own | old if own.get(key) != old.get(key)]:
            raise UsageError(
                f"{folder} holds another search: it differs in {', '.join(other)} ({STUDY_NAME}): "
                "name another --out"
            )
    write_bytes(path, data)


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes from searching in a folder; if this one is killed, it is free again.

    Raises:
        OutputError: another process searches there, or the journal cannot be written.
    """
    path = folder / JOURNAL_NAME
    with _writing(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with _writing(path):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            data = path.read_bytes()
            if not data.endswith(b"\n"):  # a kill or a full disk left half a line
                os.ftruncate(fd, data.rfind(b"\n") + 1)
        yield
    finally:
        os.close(fd)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except BlockingIOError as error:
        raise OutputError(
            f"{path} is being written by another edge-emotion tune: name another --out, or end "
            "that one"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; free space and go on with --resume, "
            "or name another --out"
        ) from error


class _HeldLock:
    """Nothing to do: see `hold`."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class Study:
    """Asks for settings, and remembers what became of them.

    What is suggested follows from the seed, the number of finished trials and their results, so a
    resumed search goes on as an unbroken one.
    """

    def __init__(self, folder: Path, space: Space, first: dict[str, Any], seed: int) -> None:
        """Open the journal, or begin one.

        Args:
            folder: of the search; see `claim` and `hold`.
            space: what is searched.
            first: settings of the first trial.
            seed: of the suggestions.

        Raises:
            OutputError: the journal cannot be written.
            InputError: the journal is damaged.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._seed = space, seed
        self._path = folder / JOURNAL_NAME
        with _writing(self._path):
            self._study = self._load()
            self._recover(first)

    def trials(self) -> list[Trial]:
        """Every trial that is over, in order."""
        return [
            _record(trial)
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state.is_finished() and _REPEATED not in trial.user_attrs
        ]

    def front(self) -> list[Trial]:
        """The trained trials that no other is better than in both respects, fastest first."""
        best = {trial.number for trial in self._study.best_trials}
        found = [trial for trial in self.trials() if trial.number in best]
        return sorted(found, key=lambda trial: trial.cost.latency if trial.cost else 0.0)

    def ask(self) -> tuple[int, dict[str, Any]] | None:
        """The next trial: its number and settings; None if all that there is was tried.

        Where few values can be chosen the sampler soon suggests what it knows to be good, again and
        again. In place of that something is drawn that was not tried: from where the good ones
        are, else at random.
        """
        tried = [trial.settings for trial in self.trials() if trial.outcome != "interrupted"]
        # A sampler for each trial: one that lives on would begin anew with every process.
        seeds = np.random.SeedSequence([self._seed, len(tried)]).generate_state(1 + GUIDED)
        with _writing(self._path):
            for number, seed in enumerate(seeds):
                self._study.sampler = optuna.samplers.TPESampler(
                    n_startup_trials=RANDOM_TRIALS, multivariate=True, seed=int(seed),
                    # Later ones are not the best of many that were drawn among the good ones.
                    n_ei_candidates=1 if number else CANDIDATES,
                )  # fmt: skip
                if found := self._ask(tried):
                    return found
            if new := self._draw(tried, int(seeds[0])):
                self._study.enqueue_trial(new)
                return self._ask(tried)
        return None

    def _ask(self, tried: Sequence[dict[str, Any]]) -> tuple[int, dict[str, Any]] | None:
        """What Optuna suggests, unless it was tried: then it is told so, and passed over."""
        self._asked = self._study.ask(fixed_distributions=self._space)
        if self._asked.params not in tried:
            return self._asked.number, dict(self._asked.params)
        self._asked.set_user_attr(_REPEATED, True)
        self._study.tell(self._asked, state=TrialState.FAIL)
        return None

    def _draw(self, tried: Sequence[dict[str, Any]], seed: int) -> dict[str, Any] | None:
        """Settings that are none of `tried`, at random; None if there are none, or next to none."""
        sampler = optuna.samplers.RandomSampler(seed)
        blank = optuna.trial.create_trial(state=TrialState.WAITING)
        for _ in range(RANDOM):
            drawn = {
                name: sampler.sample_independent(self._study, blank, name, distribution)
                for name, distribution in self._space.items()
            }
            if drawn not in tried:
                return drawn
        return None

    def tell(self, trial: Trial, violation: float = 0.0) -> None:
        """What became of the trial that was asked for last.

        Args:
            trial: with the number that was given.
            violation: above 0, how far it is outside of what is allowed.

        Raises:
            OutputError: the journal cannot be written.
        """
        with _writing(self._path):
            if violation > 0:
                self._asked.set_constraint("allowed", violation)
            self._asked.set_user_attr(_RECORD, msgspec.to_builtins(trial))
            values = None
            if trial.outcome == "trained":
                assert trial.score is not None
                assert trial.cost is not None
                values = [trial.score.balanced_accuracy, trial.cost.latency]
            self._study.tell(self._asked, values, state=_STATES[trial.outcome])

    def abandon(self) -> None:
        """The user ended the search in the trial that was asked for last: it is not to blame."""
        with _writing(self._path):
            self._asked.set_user_attr(_ASKED_TO_END, True)

    def _load(self) -> optuna.Study:
        try:
            storage = JournalStorage(JournalFileBackend(str(self._path), _HeldLock()))
            study = optuna.create_study(
                storage=storage,
                study_name="edge-emotion",
                directions=["maximize", "minimize"],
                load_if_exists=True,
            )
            for trial in study.get_trials(deepcopy=False):
                _record(trial)
        except OSError:
            raise
        except Exception as error:  # Optuna raises whatever the damaged part raised
            raise InputError(f"{self._path}: damaged: name another --out") from error
        return study

    def _recover(self, first: dict[str, Any]) -> None:
        """The first trial of a new search; of an interrupted one the trial that was under way."""
        trials = self._study.get_trials(deepcopy=False)
        if not trials:
            self._study.enqueue_trial(first)
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                if self._space.keys() == trial.params.keys():
                    self._study.enqueue_trial(trial.params)
                self._study.tell(trial.number, state=TrialState.FAIL)


def _record(trial: optuna.trial.FrozenTrial) -> Trial:
    """What `Study.tell` was told; a trial of which it was not told all was interrupted."""
    if _RECORD in trial.user_attrs:
        record = msgspec.convert(trial.user_attrs[_RECORD], Trial)
        if _STATES[record.outcome] == trial.state:
            return record
    reason = _ASKED_TO_END if _ASKED_TO_END in trial.user_attrs else None
    return Trial(trial.number, "interrupted", dict(trial.params), reason)


def plain(space: Space) -> dict[str, Any]:
    """A space in plain values."""
    return {name: json.loads(distribution_to_json(d)) for name, d in space.items()}
