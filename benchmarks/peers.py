"""Our exports beside other people's expression models, in one run on the user's pictures.

``python -m edge_emotion.benchmarks.peers DATA --peers FOLDER`` runs them; ``--fetch`` downloads the
peers into FOLDER first. Every model is given the same faces, cut out and as they are: expression
models are compared, not face detectors. Each prepares them by its own steps.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_emotion.artefacts import read_trained_on
from edge_emotion.card import ModelCard
from edge_emotion.cli.terminal import LeftOut, note, progress
from edge_emotion.errors import DataError, EdgeEmotionError, InputError, UsageError
from edge_emotion.machine import environment_name, read_conditions, read_machine
from edge_emotion.preprocess import open_picture
from edge_emotion.training.data import read_dataset
from edge_emotion.training.loading import photograph_of, pixel_hash
from edge_emotion.training.samples import canonical

from .contenders import Contender, Faces, measure, others, ours, summary
from .crops import Crops
from .module import named_path, place_for, raise_failures, run_module, write_report
from .peer_packages import PEERS, fetch
from .peers_markdown import peers_table
from .peers_schema import PeersReport, Task, file_name


def common_labels(card: ModelCard, available: Sequence[str]) -> list[str]:
    """The labels of a model that all peers and the data know too, in the model's order."""
    known = {canonical(label) for label in available}
    for peer in PEERS:
        known &= {canonical(label) for label in peer.labels}
    return [canonical(label) for label in card.labels if canonical(label) in known]


def read_faces(
    data: Path,
    labels: Sequence[str],
    seen: NDArray[np.uint64],
    into: Path,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda items: items,
    warn: Callable[[str], None] = lambda line: None,
) -> Faces:
    """Faces as the data hold them, upright RGB: the publisher's test split if there is one.

    Of crops with surroundings the face square, without them.

    Args:
        data: see `read_dataset`.
        labels: which; a picture whose first choice is another is left out.
        seen: hashes of pictures that a model of ours was trained or validated on; left out.
        into: file for the pixels.
        progress: wraps the loop over pictures.
        warn: told of each picture that cannot be read.

    Raises:
        DataError: nothing is left.
    """
    dataset = read_dataset(data, labels)
    left_out = Counter(dataset.dropped)
    name, samples = dataset.name, dataset.samples
    if dataset.has_split:
        name += " test"
        samples = [s for s in samples if s.split == "test"]
        left_out["not in the publisher's test split"] = len(dataset.samples) - len(samples)
    shapes, found = [], []
    are_crops = False
    with into.open("wb") as file:
        for i in progress(range(len(samples))):
            try:
                image = open_picture(samples[i].read())
            except (InputError, OSError, KeyError) as error:
                left_out["unreadable"] += 1
                warn(samples[i].left_out(error))
                continue
            origins = pixel_hash(image), photograph_of(image) if samples[i].crop else 0
            if np.isin(np.array(origins, np.uint64), seen).any():
                left_out["a model of ours was trained on it"] += 1
                continue
            are_crops |= origins[1] != 0
            width, height = (round(side / samples[i].context) for side in image.size)
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
            file.write(np.asarray(image).tobytes())
            shapes.append((image.height, image.width))
            found.append(canonical(dataset.labels[samples[i].label]))
    if not shapes:
        raise DataError(f"{data}: no picture left that the models were not trained on")
    return Faces(name, into, shapes, found, +left_out, are_crops)


def resized(faces: Faces, side: int, count: int, into: Path) -> Faces:
    """The first faces at another size.

    Args:
        faces: from `read_faces`.
        side: pixels.
        count: how many at most.
        into: file for the pixels.
    """
    shapes = faces.shapes[:count]
    with into.open("wb") as file:
        for pixels in Crops(faces.path, shapes):
            image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
            file.write(np.asarray(image).tobytes())
    return replace(faces, path=into, shapes=[(side, side)] * len(shapes))


def run_peers(
    data: Path,
    models: Sequence[str],
    folder: Path | None,
    *,
    side: int | None = None,
    rounds: int = 4,
    runs: int = 100,
    warmup: int = 20,
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[PeersReport, list[EdgeEmotionError]]:
    """Measure models of ours and the peers side by side.

    Args:
        data: labelled faces, cut out; see `read_dataset`.
        models: of ours: shipped names, folders or files.
        folder: of the peers, filled by `fetch`; None: they are named as missing.
        side: of the faces that are timed, to which they are resized before; None: as they are.
        rounds: processes for each model, 1 or more.
        runs: timed in each, 1 or more.
        warmup: runs before them.
        warn: told of each picture that cannot be read.

    Returns:
        The report, and the errors of those that should have run.

    Raises:
        ModelError, DataError, UsageError: a model or the data do not fit.
        MissingExtraError: scikit-learn is not installed.
    """
    contenders: list[Contender] = []
    cards: list[ModelCard] = []
    records = []
    for model in models:
        card, where, found = ours(model)
        cards.append(card)
        contenders += found
        records.append(read_trained_on(where) if where is not None else None)
    seen = [record.all for record in records if record] or [np.empty(0, np.uint64)]
    contenders += others(folder)
    available = read_dataset(data).labels
    wanted = [common_labels(card, available) for card in cards]
    # The fewer labels first; a choice that two models share is one task.
    groups = sorted({tuple(sorted(labels)): labels for labels in wanted}.values(), key=len)
    if min(map(len, groups)) < 2:
        raise UsageError(
            f"{data} ({', '.join(available)}), the peers and the models have fewer than two labels "
            "in common: name other data"
        )
    every = sorted({label for labels in groups for label in labels})
    with tempfile.TemporaryDirectory(prefix="edge-emotion-") as scratch:
        faces = read_faces(
            data, every, np.unique(np.concatenate(seen)), Path(scratch) / "faces.rgb",
            progress("reading"), warn,
        )  # fmt: skip
        unrecorded = []
        for model, card, record in zip(models, cards, records, strict=True):
            if record is None or (faces.are_crops and not record.photographs):
                unrecorded.append(card.name)
                note(
                    f"{model}: no full record of what it was trained on: these faces, or other "
                    "crops of their photographs, may be among it"
                )
        counts = Counter(faces.labels)
        tasks = [Task(labels, sum(counts[x] for x in labels)) for labels in groups]
        timed = faces
        if side is not None:
            timed = resized(faces, side, warmup + runs, Path(scratch) / "timed.rgb")
        before = read_conditions()
        measure(
            contenders, faces, timed, rounds=rounds, runs=runs, warmup=warmup,
            progress=progress("timing"),
        )  # fmt: skip
        after = read_conditions()
        results = [summary(contender, faces, tasks) for contender in contenders]
    machine = read_machine()
    report = PeersReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment_name(machine),
        machine=machine,
        before=before,
        after=after,
        data=faces.name,
        left_out=dict(faces.left_out),
        rounds=rounds,
        runs=runs,
        warmup=warmup,
        models=[card.name for card in cards],
        tasks=tasks,
        results=results,
        unrecorded=unrecorded,
        size=timed.size,
    )
    return report, [c.error for c in contenders if c.error is not None]


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_emotion.benchmarks.peers",
        description="Our exports beside other people's expression models, on your pictures.",
    )
    add = parser.add_argument
    add("data", type=named_path, nargs="?", help="labelled faces: class folders, FER+, fer2013.csv")
    add("--model", action="append", help="of ours; may be repeated [default: edge-cnn]")
    add("--peers", type=named_path, metavar="FOLDER", help="where the peers are, or go")
    add("--fetch", action="store_true", help="first download the peers into FOLDER: 530 MB")
    add("--json", type=named_path, help="file, or folder that exists, for the report")
    add("--side", type=int, help="time on faces resized to this, pixels [default: as they are]")
    add("--rounds", type=int, default=4, help="processes for each figure [default: 4]")
    add("--runs", type=int, default=100, help="runs in each round [default: 100]")
    chosen = parser.parse_args(arguments)
    if chosen.fetch and chosen.peers is None:
        raise UsageError("--fetch needs --peers FOLDER to download into")
    if chosen.data is None and not chosen.fetch:
        raise UsageError("name the pictures: python -m edge_emotion.benchmarks.peers DATA")
    if min(chosen.rounds, chosen.runs) < 1:
        raise UsageError("--rounds and --runs must be 1 or more")
    if chosen.side is not None and not 8 <= chosen.side <= 1024:
        raise UsageError(f"--side must be 8 to 1024 pixels, not {chosen.side}")
    models = chosen.model or ["edge-cnn"]
    name = environment_name(read_machine())
    if chosen.side is not None:
        name += f"-{chosen.side}"
    target = place_for(chosen.json, file_name(name))
    if chosen.fetch:
        if chosen.data is not None:  # said before 530 MB are fetched
            read_dataset(chosen.data)
            for model in models:
                ours(model)
        fetch(chosen.peers, note)
    if chosen.data is None:
        return
    left_out = LeftOut()
    report, failures = run_peers(
        chosen.data, models, chosen.peers, side=chosen.side, rounds=chosen.rounds,
        runs=chosen.runs, warn=left_out,
    )  # fmt: skip
    write_report(target, report.to_json())  # first: a full disk behind stdout must not cost it
    print(peers_table(report))
    raise_failures(failures, len(report.results))
    left_out.raise_if_any()


if __name__ == "__main__":
    run_module(main)
