"""What ``edge-emotion bundle`` packs and refuses. The installer: test_bundle_install.py."""

from __future__ import annotations

import errno
import gzip
import hashlib
import importlib.metadata
import io
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import canonicalize_name
from typer.testing import CliRunner, Result

from edge_emotion import InputError, ModelCard, OutputError
from edge_emotion.artefacts import open_artefact
from edge_emotion.bundle import TARGETS, make, make_bundle, wheels
from edge_emotion.bundle.make import choose
from edge_emotion.bundle.targets import FILES, PYTHONS
from edge_emotion.cli import app
from tests import tiny

ROOT = Path(__file__).parents[1]
PI = TARGETS["pi"]


def fake_own_wheel(folder: Path) -> Path:
    path = folder / "edge_emotion-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("edge_emotion/__init__.py"), "code = 1\n" * 1000)
    return path


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for pip: a wheel for each pinned package, of one file."""

    def fake_download(target: object, python: str, extra: str, folder: Path) -> None:
        for pin in wheels.pinned(extra):
            name, _, version = pin.replace("-", "_").partition("==")
            shutil.copy(fake_own_wheel(folder), folder / f"{name}-{version}-cp{python}-x.whl")
        (folder / "edge_emotion-0.1.0-py3-none-any.whl").unlink()

    monkeypatch.setattr(make, "own_wheel", fake_own_wheel)
    monkeypatch.setattr(make, "download", fake_download)


def bundle(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["bundle", *map(str, arguments)])


def test_a_folder_has_what_a_pi_needs(tmp_path: Path) -> None:
    out = tmp_path / "new" / "pi"
    result = bundle("--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{out}: tflite-int8, Python 3.11, 3.13, 41 wheels, ")
    assert sorted(p.name for p in out.iterdir()) == [
        "MANIFEST.sha256", "README.txt", "edge-emotion-watch.service", "install.sh", "model",
        "pins.txt", "wheels",
    ]  # fmt: skip
    assert sorted(p.name for p in (out / "model").iterdir()) == ["card.json", "model-int8.tflite"]
    installer = (out / "install.sh").read_text()
    assert "MACHINE='aarch64' " in installer
    assert "PYTHONS='3.11 3.13' " in installer
    assert "OFFLINE='yes' " in installer
    for name in ("install.sh", "README.txt"):
        assert not re.search("@[A-Z_]+@", (out / name).read_text().replace("|@", ""))
    assert (out / "install.sh").stat().st_mode & 0o777 == 0o755
    assert [p.name for p in out.parent.iterdir()] == ["pi"]


def test_the_manifest_has_every_other_file(tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "b", PI)
    listed = {}
    for line in (tmp_path / "b" / "MANIFEST.sha256").read_text().splitlines():
        digest, name = line.split("  ", 1)
        listed[name] = digest
    files = {p.relative_to(made.path).as_posix(): p for p in made.path.rglob("*") if p.is_file()}
    del files["MANIFEST.sha256"]
    assert list(listed) == sorted(files)
    for name, path in files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == listed[name]


def test_an_archive_is_the_same_bytes_each_time_and_tells_of_nobody(tmp_path: Path) -> None:
    archives = []
    for name in ("a.tar.gz", "other/b.tgz"):
        make_bundle(tmp_path / name, PI)
        archives.append((tmp_path / name).read_bytes())
    assert archives[0] == archives[1]
    assert archives[0][4:8] == b"\0" * 4  # gzip's time
    with tarfile.open(fileobj=io.BytesIO(archives[0])) as archive:
        members = archive.getmembers()
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-xzf", tmp_path / "a.tar.gz", "-C", tmp_path / "unpacked"], check=True)
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {(0, 0, "", "", 0)}
    assert {m.mode for m in members} == {0o644, 0o755}
    assert [m.name for m in members] == sorted(m.name for m in members)
    (top,) = (tmp_path / "unpacked").iterdir()
    assert top.name == "edge-emotion-0.1.0-pi"
    folder = make_bundle(tmp_path / "folder", PI).path
    for path in folder.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (top / path.relative_to(folder)).read_bytes()


def test_without_wheels_only_edge_emotion_s_own_is_packed(tmp_path: Path) -> None:
    result = bundle("--out", tmp_path / "b", "--no-wheels", "--python", "3.13")
    assert result.exit_code == 0
    assert "Python 3.13, 1 wheel, " in result.stdout
    assert [p.name for p in (tmp_path / "b" / "wheels").iterdir()] == [
        "edge_emotion-0.1.0-py3-none-any.whl"
    ]
    installer = (tmp_path / "b" / "install.sh").read_text()
    assert "OFFLINE='no' " in installer
    assert "PYTHONS='3.13' " in installer


def test_pythons_are_those_asked_for(tmp_path: Path) -> None:
    assert bundle("--out", tmp_path / "b", "--python", "3.13", "--python", "3.11").exit_code == 0
    assert "PYTHONS='3.11 3.13' " in (tmp_path / "b" / "install.sh").read_text()
    wrong = bundle("--out", tmp_path / "c", "--python", "3.10")
    assert (wrong.exit_code, wrong.stderr) == (
        2, "edge-emotion: unknown Python '3.10': did you mean '3.13'? known: 3.11, 3.12, 3.13\n"
    )  # fmt: skip


# --- the model


@pytest.mark.parametrize(
    ("target", "recipes", "asked", "chosen"),
    [
        ("pi", ("onnx-f32", "onnx-int8", "tflite-int8"), None, "tflite-int8"),
        ("x86", ("onnx-f32", "onnx-int8", "tflite-int8"), None, "onnx-int8"),
        ("pi", ("onnx-f32", "onnx-int8"), None, "onnx-int8"),
        ("pi", ("onnx-f32",), None, "onnx-f32"),
        ("pi", ("onnx-int8", "tflite-int8"), "onnx-int8", "onnx-int8"),
    ],
)
def test_which_export_is_packed(
    tmp_path: Path, target: str, recipes: tuple[str, ...], asked: str | None, chosen: str
) -> None:
    model = tiny.write_model_folder(tmp_path / "tiny", recipes)
    made = make_bundle(
        tmp_path / "b", TARGETS[target], model=model, recipe=asked, pythons=("3.11",)
    )
    assert made.recipe == chosen
    (file,) = [p for p in (tmp_path / "b" / "model").iterdir() if p.name != "card.json"]
    artefact = open_artefact(file)  # checks it against the card beside it
    assert artefact.recipe == chosen
    card = ModelCard.read(tmp_path / "b" / "model")
    assert [export.file for export in card.exports] == [file.name]
    pins = (tmp_path / "b" / "pins.txt").read_text()
    assert ("ai-edge-litert==" in pins) == chosen.startswith("tflite")
    assert "numpy==" in pins


def test_a_single_file_with_its_card_inside_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "anything.tflite"
    file.write_bytes(tiny.export_bytes("tflite-int8"))
    make_bundle(tmp_path / "b", PI, model=file)
    assert open_artefact(tmp_path / "b" / "model" / "anything.tflite").recipe == "tflite-int8"
    assert ModelCard.read(tmp_path / "b" / "model").exports[0].sha256 is not None


def test_a_name_that_no_archive_takes(tmp_path: Path) -> None:
    file = tmp_path / f"{'n' * 120}.tflite"
    file.write_bytes(tiny.export_bytes("tflite-int8"))
    result = bundle("--out", tmp_path / "b.tar.gz", "--model", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "rename it, in 100 bytes at most" in result.stderr


@pytest.mark.parametrize("name", ["it's.tflite", "$(id).tflite", "100%.tflite", "a\nb.tflite"])
def test_a_name_that_a_shell_would_read_otherwise(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(tiny.export_bytes("tflite-int8"))
    result = bundle("--out", tmp_path / "b", "--model", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "rename it, in letters, digits, spaces" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_what_cannot_be_packed(tmp_path: Path) -> None:
    model = tiny.write_model_folder(tmp_path / "tiny", ("onnx-int8",))
    out = tmp_path / "b"
    for arguments, code, words in (
        (["--model", model, "--recipe", "tflite-int8"], 4, f"edge-emotion export {model} --to"),
        (["--model", model, "--recipe", "tflite-in8"], 2, "did you mean 'tflite-int8'"),
        (["--model", model / "model-int8.onnx", "--recipe", "onnx-f32"], 2, "is onnx-int8, not"),
        (["--model", tmp_path / "none"], 4, "no such model"),
        (["--target", "pie"], 2, "did you mean 'pi'"),
        (["--target", "armv7l"], 2, "install the 64-bit Raspberry Pi OS"),
    ):
        result = bundle("--out", out, *arguments)
        assert (result.exit_code, len(result.stderr.splitlines())) == (code, 1), result.stderr
        assert words in result.stderr
    other = tiny.export_bytes("onnx-int8", tiny.make_card(name="other"))
    (model / "model-int8.onnx").write_bytes(other)
    assert bundle("--out", out, "--model", model).exit_code == 1
    assert not out.exists()


def test_a_keras_file_is_not_an_export() -> None:
    with pytest.raises(InputError, match="a bundle takes an export"):
        choose(ROOT / "models" / "edge-cnn" / "model.keras", PI)


# --- the place


def test_an_older_bundle_is_replaced_only_when_told(tmp_path: Path) -> None:
    for name in ("b", "b.tar.gz"):
        out = tmp_path / name
        assert bundle("--out", out).exit_code == 0
        again = bundle("--out", out, "--recipe", "onnx-int8")
        assert again.exit_code == 5
        assert f"{out} exists: --overwrite replaces it" in again.stderr
        before = out.stat().st_ino
        assert bundle("--out", out, "--recipe", "onnx-int8", "--overwrite").exit_code == 0
        assert out.stat().st_ino != before
    assert (tmp_path / "b" / "model" / "model-int8.onnx").is_file()
    assert not (tmp_path / "b" / "model" / "model-int8.tflite").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "b.tar.gz"]


def test_a_bundle_that_another_put_there_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b"
    write = make._write_manifest

    def while_another_ends(folder: Path) -> None:
        write(folder)
        shutil.copytree(folder, out)
        (out / "of the other").touch()

    monkeypatch.setattr(make, "_write_manifest", while_another_ends)
    result = bundle("--out", out, "--no-wheels")
    assert result.exit_code == 5
    assert f"{out} exists: --overwrite replaces it" in result.stderr
    assert (out / "of the other").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_what_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    (tmp_path / "file").write_text("years")
    for out in (tmp_path / "mine", tmp_path / "file", tmp_path, Path("/")):
        with pytest.raises(OutputError):
            make_bundle(out, PI, overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
    (tmp_path / "empty").mkdir()
    make_bundle(tmp_path / "empty", PI)
    assert (tmp_path / "empty" / "install.sh").is_file()


def test_another_archive_is_not_made(tmp_path: Path) -> None:
    for name in ("b.zip", "b.tar", "b.tar.xz"):
        result = bundle("--out", tmp_path / name)
        assert result.exit_code == 5
        assert "name a new folder, or a file ending in .tar.gz" in result.stderr
    assert not list(tmp_path.iterdir())


def test_only_an_archive_of_ours_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b.tar.gz"
    make_bundle(out, PI)
    make_bundle(out, PI, overwrite=True)
    monkeypatch.setattr(make, "download", lambda *arguments: pytest.fail("downloaded"))
    for content in (b"years", b"", gzip.compress(b"years"), b"\x1f\x8b"):
        out.write_bytes(content)
        result = bundle("--out", out, "--overwrite")
        assert result.exit_code == 5
        assert result.stderr == f"edge-emotion: {out} exists and is no bundle: name another file\n"
        assert out.read_bytes() == content
    out.unlink()
    out.mkdir()
    assert bundle("--out", out, "--overwrite").exit_code == 5


def test_a_bundle_on_a_mount_point_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not be moved away, which would come out after all the work."""
    out = tmp_path / "b"
    make_bundle(out, PI)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == out)
    with pytest.raises(OutputError, match="b is a mount point: name a new folder in it"):
        make_bundle(out, PI, overwrite=True)


def test_a_bundle_with_a_folder_that_cannot_be_looked_into_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b"
    make_bundle(out, PI)
    (out / "private").mkdir()
    (out / "private" / "mine.txt").write_text("years")
    scandir = os.scandir

    def refused(path: str) -> Any:
        if str(path).endswith("private"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    result = bundle("--out", out, "--overwrite")
    assert result.exit_code == 5
    assert result.stderr == (
        f"edge-emotion: {out / 'private'}: Permission denied: move it, or choose another --out\n"
    )
    assert (out / "private" / "mine.txt").read_text() == "years"


def test_a_bundle_with_a_file_of_the_user_s_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b"
    make_bundle(out, PI)
    (out / "model" / "notes").mkdir()
    make_bundle(out, PI, overwrite=True)  # an empty folder is nothing to lose
    monkeypatch.setattr(make, "download", lambda *arguments: pytest.fail("downloaded"))
    for name in ("results.jsonl", "model/notes/a.txt", "wheels/link"):
        own = out / name
        own.parent.mkdir(exist_ok=True)
        own.symlink_to("/nowhere") if name.endswith("link") else own.write_text("years")
        result = bundle("--out", out, "--overwrite")
        assert result.exit_code == 5
        assert result.stderr == (
            f"edge-emotion: {out} holds {name}, which is not the bundle's: move it, or choose "
            "another --out\n"
        )
        own.unlink()


@pytest.mark.parametrize("name", ["b", "b.tar.gz"])
@pytest.mark.parametrize(
    "failure", [InputError("no network"), KeyboardInterrupt(), OSError(28, "")]
)
def test_whatever_fails_leaves_the_older_bundle_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, failure: BaseException
) -> None:
    out = tmp_path / name
    make_bundle(out, PI)
    before = sorted((p, p.stat().st_ino) for p in tmp_path.rglob("*"))

    def fail(*arguments: object) -> None:
        raise failure

    monkeypatch.setattr(make, "download", fail)
    expected = OutputError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected):
        make_bundle(out, PI, overwrite=True)
    assert sorted((p, p.stat().st_ino) for p in tmp_path.rglob("*")) == before


def test_ctrl_c_between_the_two_renames_puts_the_older_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b"
    make_bundle(out, PI)
    before = sorted((p, p.stat().st_ino) for p in tmp_path.rglob("*"))
    replace = Path.replace

    def interrupted(source: Path, target: Path) -> Path:
        if target == out and source.name != "older":
            raise KeyboardInterrupt
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_bundle(out, PI, overwrite=True)
    assert sorted((p, p.stat().st_ino) for p in tmp_path.rglob("*")) == before


# --- wheels


def closure(extra: str, python: str) -> set[str]:
    """Every package that edge-emotion with an extra needs, by the metadata of those installed.

    Its own needs are those of the source tree, which an editable install may not have seen. Each
    one's pin is a version that whoever needs it takes.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    own_needs = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    pins = dict(pin.split("==") for pin in wheels.pinned(extra))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    pending: list[tuple[str, tuple[str, ...]]] = [("edge-emotion", (extra,))]
    while pending:
        name, extras = pending.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        needs_of = own_needs if name == "edge-emotion" else importlib.metadata.requires(name)
        for requirement in map(Requirement, needs_of or []):
            for own in ("", *extras):
                there = {"python_version": python, "python_full_version": f"{python}.0",
                         "platform_machine": "aarch64", "extra": own}  # fmt: skip
                if requirement.marker is None or requirement.marker.evaluate(there):
                    needs = canonicalize_name(requirement.name), tuple(sorted(requirement.extras))
                    pending.append(needs)
                    if needs[0] != "edge-emotion":
                        assert pins[needs[0]] in requirement.specifier, f"{name}: {requirement}"
    return {name for name, _ in seen} - {"edge-emotion"}


@pytest.mark.parametrize("extra", ["", "litert"])
@pytest.mark.parametrize("python", PYTHONS)
def test_the_pins_are_all_that_is_needed(extra: str, python: str) -> None:
    """Wheels are got by these pins alone."""
    try:
        needed = closure(extra, python)
    except importlib.metadata.PackageNotFoundError as error:
        pytest.skip(f"NOT INSTALLED: {error}: the pins are not compared")
    names = {canonicalize_name(pin.partition("==")[0]) for pin in wheels.pinned(extra)}
    assert names == needed


def test_the_pins_are_those_of_the_repository() -> None:
    constraints = (ROOT / "constraints.txt").read_text().split()
    assert set(wheels.pinned("litert")) < set(constraints)


@pytest.mark.parametrize("name", TARGETS)
def test_the_platforms_are_those_of_a_system_with_that_glibc(name: str) -> None:
    target = TARGETS[name]
    assert target.platforms[0] == f"manylinux_2_28_{target.machine}"
    assert f"manylinux_2_17_{target.machine}" in target.platforms
    tags = {*cpython_tags((3, 11), platforms=target.platforms), *compatible_tags()}
    assert f"cp311-cp311-manylinux2014_{target.machine}" in {str(tag) for tag in tags}


def test_a_wheel_put_together_again_is_the_wheel(tmp_path: Path) -> None:
    """As pip unpacks one, with what pip adds; the bytes of each file come back."""
    site, again = tmp_path / "site", tmp_path / "again"
    again.mkdir()
    info = "edge_emotion-0.1.0.dist-info"
    files = {
        "edge_emotion/__init__.py": b"",
        "edge_emotion/models/a/model.onnx": bytes(range(256)),
        f"{info}/METADATA": b"Metadata-Version: 2.4\nName: edge-emotion\nVersion: 0.1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": b"[console_scripts]\nedge-emotion = edge_emotion.cli:main\n",
    }
    added = ["../../../bin/edge-emotion", "edge_emotion/__pycache__/__init__.cpython-311.pyc",
             f"{info}/INSTALLER", f"{info}/REQUESTED", f"{info}/RECORD"]  # fmt: skip
    for name, data in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(data)
    (site / info / "RECORD").write_text("".join(f"{name},,\n" for name in [*files, *added]))
    distribution = importlib.metadata.Distribution.at(site / info)
    path = wheels._zip_again(distribution, again)
    assert path.name == "edge_emotion-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path) as wheel:
        inside = {name: wheel.read(name) for name in wheel.namelist()}
    record = inside.pop(f"{info}/RECORD").decode()
    assert inside == files
    assert len(record.splitlines()) == len(files) + 1
    first = path.read_bytes()
    assert wheels._zip_again(distribution, again).read_bytes() == first
    (site / "edge_emotion/__init__.py").unlink()
    with pytest.raises(InputError, match=r"is not whole: edge_emotion/__init__\.py"):
        wheels._zip_again(distribution, again)


def test_pip_s_last_error_is_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("INDEX_URL", "http://127.0.0.1:9"), ("RETRIES", "0"), ("FIND_LINKS", ""),
                        ("NO_INDEX", "1"), ("CONFIG_FILE", "/dev/null")):  # fmt: skip
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(InputError) as caught:
        wheels.download(PI, "3.11", "", tmp_path)
    assert str(caught.value).startswith(
        "getting the wheels for Python 3.11 on aarch64: pip says: No matching distribution found "
    )
    assert str(caught.value).endswith(
        "needs a network, or wheels in a folder that PIP_FIND_LINKS names"
    )


#: What pip 26 said on tmpfs of several sizes: while downloading, unpacking and building.
FULL_DISK = [
    "pip._vendor.requests.exceptions.ChunkedEncodingError: (\"Connection broken: OSError(28, 'No "
    "space left on device')\", OSError(28, 'No space left on device'))",
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n\n"
    "ERROR: Failed to build 'file:///x' when installing build dependencies",
    "WARNING: Failed to copy built wheel edge-emotion to /a: [Errno 28] Auf dem Gerät ist kein "
    "Speicherplatz mehr verfügbar: '/b' -> '/a'\nERROR: Failed to build one or more wheels",
]


@pytest.mark.parametrize("said", FULL_DISK)
def test_a_full_disk_is_no_missing_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """In a German pip too."""
    folders = []

    def run(command: list[str], env: dict[str, str], **options: object) -> object:
        folders.append(Path(env["TMPDIR"]))
        assert folders[-1].is_dir()
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(wheels.subprocess, "run", run)
    monkeypatch.setattr(make, "download", wheels.download)
    result = bundle("--out", tmp_path / "b")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.splitlines()[-1] == (
        f"edge-emotion: cannot write {tmp_path}/b: No space left on device; free space or name "
        "another place"
    )
    assert folders[0].is_relative_to(tmp_path)  # one disk has to have space, not /tmp too
    assert list(tmp_path.iterdir()) == []


def test_a_source_tree_that_does_not_fit_names_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own_wheel(folder: Path) -> Path:
        why = "[Errno 28] No space left on device: '/a: x/b' -> '/c/b'"
        raise shutil.Error([("/a: x/b", "/c/b", why), ("/a: x/d", "/c/d", why)])

    monkeypatch.setattr(make, "own_wheel", own_wheel)
    with pytest.raises(OutputError, match="b: No space left on device; free space"):
        make_bundle(tmp_path / "b", PI)


def test_the_templates_are_in_the_package() -> None:
    assert sorted(p.name for p in FILES.iterdir()) == [
        "README.txt", "edge-emotion-watch.service", "install.sh", "pins.txt", "yunet-licence.txt",
    ]  # fmt: skip
