"""Puts a bundle together: model, wheels, installer, checksums; as a folder or an archive."""

from __future__ import annotations

import dataclasses
import gzip
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from edge_emotion import __version__
from edge_emotion.artefacts import Artefact, find_model, open_artefact, read_card
from edge_emotion.bundle.targets import FILES, GLIBC_MINOR, Target
from edge_emotion.bundle.wheels import download, own_wheel, pinned, unpacked_bytes
from edge_emotion.card import check_recipe
from edge_emotion.errors import InputError, ModelError, OutputError, UsageError
from edge_emotion.faces import BUNDLED
from edge_emotion.fetch import YUNET, is_whole
from edge_emotion.files import replacing, sha256
from edge_emotion.runtimes import runtime_name

MANIFEST = "MANIFEST.sha256"
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")
#: A folder is not meant by such a name.
OTHER_ARCHIVES = (".zip", ".tar", ".gz", ".xz", ".bz2", ".zst", ".7z")
LONGEST_NAME = 100  # of a file in a USTAR archive, bytes
#: An empty venv with pip in it, bytecode included.
_VENV_BYTES = 24 << 20


@dataclass(frozen=True)
class Bundle:
    """What was made."""

    path: Path
    recipe: str  # of the model inside
    detector: bool  # finds faces
    pythons: tuple[str, ...]
    wheels: int  # files
    bytes: int  # of the folder's files, or of the archive
    need_bytes: int  # free space that install.sh asks for


def make_bundle(
    out: Path,
    target: Target,
    *,
    model: str | Path = "edge-cnn",
    recipe: str | None = None,
    detector: Path | None = None,
    pythons: tuple[str, ...] | None = None,
    wheels: bool = True,
    overwrite: bool = False,
    note: Callable[[str], None] = lambda line: None,
) -> Bundle:
    """Make a bundle. The same input gives the same bytes.

    Args:
        out: folder, or file ending in .tar.gz or .tgz.
        target: the machine that it is for.
        model: shipped name, model folder, or exported file.
        recipe: which export of the model; None: the first of the target's advice that is there.
        detector: YuNet's file, which is packed too; None: the bundle reads pictures as one face.
        pythons: whose wheels are packed; None: the target's.
        wheels: False leaves out all but edge-emotion's own.
        overwrite: take the place of an older bundle, unless its folder holds other files too.
        note: is told what goes on.

    Raises:
        ModelError: there is no such export.
        InputError: a wheel cannot be got, or `detector` is another file.
        OutputError: it cannot be written, or something is there.
        UsageError: an unknown name, or a file's name that install.sh could not take.
    """
    pythons = pythons or target.pythons
    is_archive = out.name.endswith(ARCHIVE_SUFFIXES)
    _check_place(out, is_archive, overwrite)
    artefact = choose(model, target, recipe)
    if not re.fullmatch(r"[\w .+-]+", artefact.path.name):  # a shell and systemd will read it
        raise UsageError(f"{artefact.path}: rename it, in letters, digits, spaces and . + - _")
    if len(artefact.path.name.encode()) > LONGEST_NAME:
        raise UsageError(f"{artefact.path}: rename it, in {LONGEST_NAME} bytes at most")
    if detector is not None:
        _check_detector(detector)
    with _beside(out) as stage:
        folder = stage / f"edge-emotion-{__version__}-{target.name}"
        (folder / "wheels").mkdir(parents=True)
        own = own_wheel(folder / "wheels")
        extra = "litert" if runtime_name(artefact.path) == "litert" else ""
        need = _get_wheels(own, target, pythons, extra, wheels, note)
        _write_model(artefact, folder / "model")
        if detector is not None:
            _write_detector(detector, folder / BUNDLED)
        _write_files(folder, artefact, target, pythons, extra, wheels, need)
        _write_manifest(folder)
        packed = len(list((folder / "wheels").iterdir()))
        _check_place(out, is_archive, overwrite)  # where another may have put a bundle meanwhile
        if is_archive:
            note(f"writing {out}")
            with replacing(out) as temporary:
                _archive(folder, temporary)
            size = out.stat().st_size
        else:
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            _move(folder, out)
    return Bundle(out, artefact.recipe, detector is not None, pythons, packed, size, need)


def choose(model: str | Path, target: Target, recipe: str | None = None) -> Artefact:
    """The export that goes into a bundle, checked against its card.

    Raises:
        ModelError: there is no such export.
        ChecksumError: it is not the file that the card describes.
        UsageError: an unknown name, or `recipe` of a file that is another.
    """
    if recipe is not None:
        check_recipe(recipe)
    path = find_model(model)
    if path.is_file():
        artefact = open_artefact(path)
        if artefact.recipe == "keras":
            raise ModelError(f"{path}: a bundle takes an export: edge-emotion export {path.parent}")
        if recipe not in (None, artefact.recipe):
            raise UsageError(f"{path} is {artefact.recipe}, not {recipe}: leave --recipe out")
        return artefact
    card = read_card(path)
    order = (recipe,) if recipe else target.advice.order
    for name in order:
        export = card.export(name)
        if export is not None and (path / export.file).is_file():
            return open_artefact(path / export.file)
    raise ModelError(
        f"{path}: no {recipe or 'export'} to bundle: edge-emotion export {path} --to {order[0]}"
    )


def _check_detector(path: Path) -> None:
    """See that a file is YuNet's, before anything is downloaded.

    Raises:
        InputError: it is another, damaged, or cannot be read.
    """
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        if is_whole(path, YUNET):
            return
        reason = f"damaged, or not {YUNET.name}"
    raise InputError(f"detector {path}: {reason}; get the right one with: edge-emotion fetch yunet")


def _check_place(out: Path, is_archive: bool, overwrite: bool) -> None:
    """See that `out` can be written, before anything is downloaded."""
    if not out.name or (out.suffix in OTHER_ARCHIVES and not is_archive):
        raise OutputError(f"cannot write {out}: name a new folder, or a file ending in .tar.gz")
    if is_archive:
        if not out.exists():
            return
        if not overwrite:
            raise OutputError(f"{out} exists: --overwrite replaces it, or name another file")
        if not _is_archive_of_ours(out):
            raise OutputError(f"{out} exists and is no bundle: name another file")
        return
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file() or not (out / "install.sh").is_file():
        raise OutputError(f"{out} exists and is no bundle: name a new folder, or FILE.tar.gz")
    if not overwrite:
        raise OutputError(f"{out} exists: --overwrite replaces it, or name another folder")
    if out.is_mount():
        raise OutputError(f"{out} is a mount point: name a new folder in it")
    _check_own(out)


def _check_own(folder: Path) -> None:
    """See that a bundle's folder holds nothing of the user's, which would go with it."""

    def unreadable(error: OSError) -> NoReturn:
        raise OutputError(
            f"{error.filename}: {error.strerror}: move it, or choose another --out"
        ) from error

    try:
        lines = (folder / MANIFEST).read_text("utf-8", "replace").splitlines()
    except OSError as error:
        unreadable(error)
    own = {MANIFEST, *(line[66:] for line in lines)}  # after the hash and two spaces
    for parent, folders, files in os.walk(folder, onerror=unreadable):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for path in (Path(parent, name) for name in [*files, *links]):
            name = path.relative_to(folder).as_posix()
            if name not in own:
                raise OutputError(
                    f"{folder} holds {name}, which is not the bundle's: move it, or choose "
                    "another --out"
                )


def _is_archive_of_ours(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:gz") as archive:
            first = archive.next()
    except (OSError, EOFError, tarfile.TarError, zlib.error):  # a folder, another file, a torn one
        return False
    return first is not None and first.name.startswith("edge-emotion-")


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A temporary folder on the same file system as `out`, gone afterwards.

    Raises:
        OutputError: nothing can be written there, by whatever happens in the block.
    """
    parent = out.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=parent))
    except OSError as error:
        raise OutputError(
            f"cannot write {out}: {error.strerror or error}; name another place"
        ) from error
    try:
        yield stage
    except OSError as error:
        reason = error.strerror or str(error)
        if isinstance(error, shutil.Error):  # of copytree: of each file source, copy and reason
            reason = re.sub(r"^\[Errno \d+\] |: '.*", "", str(error.args[0][0][2]))
        raise OutputError(
            f"cannot write {out}: {reason}; free space or name another place"
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _get_wheels(
    own: Path,
    target: Target,
    pythons: tuple[str, ...],
    extra: str,
    wheels: bool,
    note: Callable[[str], None],
) -> int:
    """Download beside edge-emotion's own wheel; give the bytes that an install needs."""
    if not wheels:
        return 500 << 20  # not known before pip has them; more than they ever took
    largest = 0
    folder = own.parent
    for python in pythons:
        note(f"getting wheels for Python {python} on {target.machine}")
        with tempfile.TemporaryDirectory(dir=folder.parent) as apart:
            download(target, python, extra, Path(apart))
            got = sorted(Path(apart).glob("*.whl"))
            largest = max(largest, unpacked_bytes([own, *got]))
            for wheel in got:
                wheel.replace(folder / wheel.name)
    return largest * 11 // 10 + _VENV_BYTES  # folders, and bytecode larger than its source


def _write_model(artefact: Artefact, folder: Path) -> None:
    """The exported file, and a card of it alone."""
    folder.mkdir()
    shutil.copyfile(artefact.path, folder / artefact.path.name)
    export = artefact.card.export(artefact.recipe)
    assert export is not None  # open_artefact found it there
    data = folder / artefact.path.name
    record = dataclasses.replace(
        export, file=data.name, sha256=sha256(data), bytes=data.stat().st_size
    )
    dataclasses.replace(artefact.card, exports=[record]).write(folder)


def _write_detector(path: Path, place: Path) -> None:
    """YuNet's file, and its licence, which goes with every copy."""
    place.parent.mkdir()
    shutil.copyfile(path, place)
    shutil.copyfile(FILES / "yunet-licence.txt", place.with_name("LICENSE"))


def _write_files(
    folder: Path,
    artefact: Artefact,
    target: Target,
    pythons: tuple[str, ...],
    extra: str,
    wheels: bool,
    need: int,
) -> None:
    words = {
        "VERSION": __version__,
        "MACHINE": target.machine,
        "PYTHONS": " ".join(pythons),
        "EXTRA": extra,
        "MODEL": artefact.path.name,
        "NEED_MB": str((need >> 20) + 1),
        "OFFLINE": "yes" if wheels else "no",
        "GLIBC_MINOR": str(GLIBC_MINOR),
        "NETWORK": "No network is needed." if wheels else "pip gets packages from the network.",
    }
    for name in ("install.sh", "README.txt", "edge-emotion-watch.service"):
        text = (FILES / name).read_text("utf-8")
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        (folder / name).write_text(text, "utf-8")
    (folder / "install.sh").chmod(0o755)
    (folder / "pins.txt").write_text("\n".join([*pinned(extra), ""]), "utf-8")


def _files(folder: Path) -> list[Path]:
    """Every file below a folder, in the order of the names' bytes."""
    return sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: path.relative_to(folder).as_posix().encode(),
    )


def _write_manifest(folder: Path) -> None:
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)]
    (folder / MANIFEST).write_text("".join(lines), "utf-8")


def _archive(folder: Path, path: Path) -> None:
    """A .tar.gz that says nothing of who made it where and when."""
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for source in _files(folder):
            entry = tarfile.TarInfo(source.relative_to(folder.parent).as_posix())
            entry.size = source.stat().st_size
            entry.mode = 0o755 if source.suffix == ".sh" else 0o644
            with source.open("rb") as data:
                archive.addfile(entry, data)


def _move(folder: Path, out: Path) -> None:
    """Put a finished folder in the place of an older one, or of nothing."""
    older = folder.with_name("older")
    try:
        if out.exists():
            out.replace(older)
        folder.replace(out)
    except BaseException:  # Ctrl-C too: `older` is removed with the folder that it lies in
        with suppress(OSError):
            older.replace(out)
        raise
