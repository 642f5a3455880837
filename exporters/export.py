"""The export: convert, read back, run beside the float model, and only then keep."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_emotion.artefacts import belonging, remove_exports, verify
from edge_emotion.card import (
    CALIBRATION_NAME,
    CARD_NAME,
    FAILURES_NAME,
    KERAS_NAME,
    RECIPES,
    TRAINED_ON_NAME,
    Agreement,
    ExportRecord,
    ModelCard,
    check_recipe,
)
from edge_emotion.errors import BudgetError, ConversionError, ModelError, UsageError
from edge_emotion.evaluation import compare, evaluate, may_be_guessing
from edge_emotion.files import (
    alone,
    check_folder,
    check_reachable,
    replacing,
    sha256,
    tool_versions,
    write_bytes,
)
from edge_emotion.gates import Gates
from edge_emotion.model_readme import write_readme
from edge_emotion.quiet import quiet
from edge_emotion.runtimes import check_fits, logits_of, open_runtime
from edge_emotion.runtimes.keras import KerasRuntime

from .embedding import embed_in_onnx, embed_in_tflite
from .onnx import convert_onnx, quantize_onnx
from .pictures import FROM_CARD, CalibrationSet, CheckSet, gather_pictures
from .tflite import convert_tflite

DEFAULT_RECIPES = tuple(recipe for recipe in RECIPES if recipe != "tflite-int8-dynamic")
CALIBRATED = ("onnx-int8", "tflite-int8")


@dataclass(frozen=True)
class Outcome:
    """What became of one recipe."""

    recipe: str
    path: Path
    record: ExportRecord
    violations: list[str]  # empty: kept; else the file has .rejected in its name


@dataclass(frozen=True)
class Exported:
    """What an export left behind."""

    outcomes: list[Outcome]  # in the order of the recipes
    failures: list[ConversionError]  # of the recipes that could not be converted


def export_model(
    folder: Path,
    recipes: Sequence[str] = DEFAULT_RECIPES,
    *,
    calibration: str | Path = FROM_CARD,
    data: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    gates: Gates | None = None,
    samples: int = 300,
    seed: int = 1,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda items: items,
    log: Callable[[str], None] = lambda line: None,
    warn: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Export a model folder's Keras model and check each file against it.

    Args:
        folder: with `model.keras` and `card.json`.
        recipes: of `RECIPES`.
        calibration: "card" for the folder's own distilled pictures, or labelled pictures of which
            only those the model was trained on are used.
        data: labelled pictures for the check, of which only held-out ones are used; None: those of
            `calibration`, or the folder's own.
        out: folder for the result; None: `folder`.
        overwrite: replace exports that are there.
        gates: see `Gates`.
        samples: pictures drawn for calibration from `calibration`.
        seed: of the draw.
        progress: wraps the reading of pictures.
        log: told in a line what happens.
        warn: told in a line of each picture that cannot be read.

    Returns:
        What became of each recipe; see `raise_if_refused`.

    Raises:
        UsageError: a file is there and `overwrite` is not given; calibration and check overlap;
            another export is at work in `out`.
        ChecksumError: `model.keras` is not the one that the card describes.
        ModelError, DataError: an input could not be read.
        OutputError: `out` cannot be written.
    """
    gates = gates or Gates()
    recipes = list(dict.fromkeys(check_recipe(recipe) for recipe in recipes))
    if not recipes:
        raise UsageError(f"no recipe to export: known: {', '.join(RECIPES)}")
    card = ModelCard.read(folder)
    verify(folder / KERAS_NAME, card.keras_sha256)
    out = out or folder
    _refuse_overwriting(out, card, recipes, overwrite)
    check_reachable(out)
    calibrated = [recipe for recipe in recipes if recipe in CALIBRATED]
    calibrations, check = gather_pictures(
        folder, card, calibrated, calibration, data, samples, seed, progress, log, warn
    )
    log(f"checking on {len(check.pixels)} pictures: {check.name}")
    passes = gates.passes(len(check.pixels))
    if check.labels is not None and passes > gates.max_drop:
        log(
            f"with so few a loss of up to {passes:.1f} points passes, since it may be chance: more "
            "labelled pictures (--data) tell"
        )
    if check.labels is None:
        log("these tell a broken export and not what it costs: --data with labelled pictures does")
    with quiet():
        keras_runtime = KerasRuntime(folder / KERAS_NAME)
        check_fits(keras_runtime, card.input, len(card.labels), folder / KERAS_NAME)
        reference = logits_of(keras_runtime, check.pixels)
    if not np.isfinite(reference).all():
        raise ModelError(f"{card.name}: its Keras model gives logits that are no numbers")
    check_folder(out)
    with alone(out, "export", "--out"):
        _refuse_overwriting(out, card, recipes, overwrite)  # another may have ended meanwhile
        if out.resolve() == folder.resolve():
            card = ModelCard.read(out)
        else:
            card = _copy_folder(folder, card, out)
        if check.labels is not None:
            _doubt(card, check, reference, log)
        exported = Exported([], [])
        before = card.exports
        maker = _Maker(keras_runtime.logits_model, card, check, reference, out)
        for recipe in recipes:
            try:
                outcome = maker.make(recipe, calibrations, gates)
            except ConversionError as error:
                log(str(error))
                exported.failures.append(error)
                continue
            exported.outcomes.append(outcome)
            if not outcome.violations:
                card = card.with_export(outcome.record)
                card.write(out)
            log(_describe(outcome))
        write_readme(out, card, measured=all(record in card.exports for record in before))
    return exported


def _doubt(
    card: ModelCard, check: CheckSet, reference: NDArray[np.float32], log: Callable[[str], None]
) -> None:
    """Say when the float model is no better than guessing: exports agree with it all the same."""
    assert check.labels is not None
    figures = evaluate(
        reference, check.labels, card.labels, data=check.name, protocol="held-out"
    )  # fmt: skip
    if may_be_guessing(figures):
        adopted = "scale" in card.training.config
        log(
            f"the Keras model itself has {figures.accuracy:.1%} of them right, which cannot be "
            "told from guessing: "
            + ("see that --scale and --offset are those of its training and --labels in the order "
               "of its outputs" if adopted else "are these the pictures that it is for?")
        )  # fmt: skip


def _refuse_overwriting(
    out: Path, card: ModelCard, recipes: Sequence[str], overwrite: bool
) -> None:
    there = [RECIPES[recipe] for recipe in recipes if (out / RECIPES[recipe]).exists()]
    if not _holds(out, card):
        # Also what is run without the Keras model, and what would be removed with the exports.
        files = (KERAS_NAME, CARD_NAME, *belonging())
        there = [f"another model's {name}" for name in files if (out / name).exists()]
    if there and not overwrite:
        raise UsageError(
            f"{out} already holds {', '.join(there)}: pass --overwrite, or another folder as --out"
        )


def _holds(out: Path, card: ModelCard) -> bool:
    """Whether a folder is of the same Keras model, read in the same way."""
    keras = out / KERAS_NAME
    if keras.exists() and sha256(keras) != card.keras_sha256:
        return False
    try:
        there = ModelCard.read(out)
    except ModelError:  # none, or an interrupted copy: the card comes last
        return keras.exists()
    own = (card.keras_sha256, card.labels, card.input)
    return (there.keras_sha256, there.labels, there.input) == own


def _copy_folder(folder: Path, card: ModelCard, out: Path) -> ModelCard:
    """Make `out` a model folder of the same Keras model; exports that it already has stay."""
    exports: list[ExportRecord] = []
    try:
        there = ModelCard.read(out)
    except ModelError:  # none, or an interrupted copy: the card comes last
        there = None
    if there is not None and _holds(out, card):
        exports = there.exports
    else:
        remove_exports(out)
    for name in (KERAS_NAME, CALIBRATION_NAME, TRAINED_ON_NAME, FAILURES_NAME):
        if (folder / name).exists():
            with replacing(out / name) as temporary:
                shutil.copyfile(folder / name, temporary)
    card = replace(card, exports=exports)
    card.write(out)
    return card


def _describe(outcome: Outcome) -> str:
    agreement = outcome.record.agreement
    assert agreement is not None  # measured for every outcome
    words = [
        f"{outcome.recipe}: {outcome.path.name}",
        f"{(outcome.record.bytes or 0) / 1e3:.0f} kB",
        f"labels agree {100 * agreement.label_agreement:.2f} %",
        f"probabilities differ by {agreement.mean_probability_difference:.4f} on average, "
        f"{agreement.max_probability_difference:.4f} at most",
    ]
    if agreement.accuracy_drop is not None and agreement.accuracy_drop_interval is not None:
        low, high = agreement.accuracy_drop_interval
        words.append(
            f"accuracy {agreement.accuracy_export:.1%}, "
            f"drop {100 * agreement.accuracy_drop:+.2f} points "
            f"(95 % {100 * low:+.2f} to {100 * high:+.2f})"
        )
    return ", ".join(words) + ("  REJECTED" if outcome.violations else "")


def raise_if_refused(exported: Exported) -> None:
    """One error for all that was not converted, or for all that was rejected, with what to try.

    Raises:
        ConversionError: a recipe could not be converted.
        BudgetError: at least one export was rejected.
    """
    if len(exported.failures) > 1:
        count = len(exported.failures)
        first = exported.failures[0]
        raise ConversionError(f"{count} recipes could not be converted; the first: {first}")
    if exported.failures:
        raise exported.failures[0]
    rejected = [o for o in exported.outcomes if o.violations]
    if not rejected:
        return
    parts = [f"{o.recipe}: {'; '.join(o.violations)}; kept as {o.path.name}" for o in rejected]
    advice = "try --calibration with the pictures the model was trained on"
    if all(
        o.record.calibration is None or o.record.calibration.kind == "pictures" for o in rejected
    ):
        advice = "try tflite-int8-dynamic, or look for layers with wide ranges: bench --layers"
    raise BudgetError(f"rejected: {' | '.join(parts)}; {advice}")


class _Maker:
    """Converts, checks and writes one recipe at a time."""

    def __init__(
        self,
        logits_model: Any,
        card: ModelCard,
        check: CheckSet,
        reference: NDArray[np.float32],
        out: Path,
    ) -> None:
        self.logits_model, self.card, self.check = logits_model, card, check
        self.reference, self.out = reference, out
        self._onnx: Any = None

    def make(self, recipe: str, calibrations: list[CalibrationSet], gates: Gates) -> Outcome:
        used = calibrations[0] if recipe in CALIBRATED else None
        raw = self._convert(recipe, used)
        agreement = self._measure(recipe, raw, self.check.name)
        others = calibrations[1:] if used else []
        comparison = [
            self._measure(
                recipe,
                self._convert(recipe, other),
                f"{self.check.name}, calibrated on {other.record.samples} {other.record.source}",
            )
            for other in others
        ]
        record = ExportRecord(
            recipe=recipe,
            file=RECIPES[recipe],
            sha256=None,
            bytes=None,
            tools=_tools(recipe),
            calibration=used.record if used else None,
            agreement=agreement,
            comparison=comparison,
        )
        violations = gates.violations(agreement)
        path = self.out / RECIPES[recipe]
        rejected = path.with_name(f"{path.stem}.rejected{path.suffix}")
        if violations:
            path = rejected
        else:
            rejected.unlink(missing_ok=True)
        write_bytes(path, self._embed(recipe, raw, record))
        record = replace(record, sha256=sha256(path), bytes=path.stat().st_size)
        return Outcome(recipe, path, record, violations)

    def _convert(self, recipe: str, calibration: CalibrationSet | None) -> Any:
        pixels = calibration.pixels if calibration else None
        with quiet():
            if recipe.startswith("tflite"):
                return convert_tflite(self.logits_model, recipe, pixels)
            if self._onnx is None:
                self._onnx = convert_onnx(self.logits_model)
            return self._onnx if pixels is None else quantize_onnx(self._onnx, pixels)

    def _embed(self, recipe: str, raw: Any, record: ExportRecord) -> bytes:
        embed = embed_in_tflite if recipe.startswith("tflite") else embed_in_onnx
        return embed(raw, self.card, record)

    def _measure(self, recipe: str, raw: Any, data: str) -> Agreement:
        """Run the file as it will be, card and all, with the engine that users have."""
        draft = ExportRecord(recipe, RECIPES[recipe], None, None, {}, None, None)
        with tempfile.TemporaryDirectory() as name, quiet():
            path = Path(name, RECIPES[recipe])
            path.write_bytes(self._embed(recipe, raw, draft))
            logits = logits_of(open_runtime(path), self.check.pixels)
        if not np.isfinite(logits).all():
            raise ConversionError(f"{recipe}: the export gives logits that are no numbers")
        return compare(
            self.reference,
            logits,
            data=data,
            labels=self.check.labels,
            temperature=self.card.confidence.temperature,
        )


def _tools(recipe: str) -> dict[str, str]:
    packages = ["keras", "tensorflow"]
    if recipe.startswith("onnx"):
        packages += ["tf2onnx", "onnx", "onnxruntime"]
    else:
        packages.append("ai-edge-litert")
    return tool_versions(packages)
