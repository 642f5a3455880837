"""Files that are whole or not there: atomic writes, hashes, every file of a folder."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, EFBIG, ENOLCK, ENOSPC, EOPNOTSUPP
from pathlib import Path

from edge_emotion.errors import OutputError, UsageError


def put(temporary: Path, path: Path) -> None:
    """Rename a file that is written to the end, so that a power cut leaves this one or the old."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


@contextmanager
def replacing(path: Path, called: Path | None = None) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it onto `path` if the block succeeds.

    An interruption or a full disk leaves the old file as it was.

    Args:
        path: of the file.
        called: what an error says cannot be written; None: `path`.

    Raises:
        OutputError: the file cannot be written.
    """
    if not path.name:
        raise OutputError(f"cannot write {path}: it is a folder; name a file")
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        if path.exists() and not path.is_file():
            raise OutputError(f"cannot write {path}: it is no regular file; name another place")
        nearest = next((p for p in path.parents if os.path.lexists(p)), path.parent)
        if not nearest.is_dir():  # Python would say "File exists"
            raise OutputError(
                f"cannot write {called or path}: {nearest} is no folder, as is needed; name "
                "another place"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        put(temporary, path)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, RuntimeError) and "errno = " not in reason:
            raise  # h5py tells of a full disk by RuntimeError
        # Without a number it is h5py's, or a library's that does not say.
        full = getattr(error, "errno", None) in (None, ENOSPC, EDQUOT, EFBIG)
        advice = "free space or name" if full else "name"
        raise OutputError(
            f"cannot write {called or path}: {reason}; {advice} another place"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_folder(path: Path, called: Path | None = None) -> None:
    """Make a folder, unless it is there, and see that it takes files.

    Args:
        path: of the folder.
        called: what an error says cannot be written; None: `path`.

    Raises:
        OutputError: it cannot be made or written to.
    """
    with replacing(path / ".writable", called or path) as temporary:
        temporary.touch()
    (path / ".writable").unlink()


@contextmanager
def alone(folder: Path, command: str, option: str) -> Iterator[None]:
    """Keep other processes out of a folder; if this one is killed, it is free again.

    Args:
        folder: that is there.
        command: of ``edge-emotion``, which all take the same lock.
        option: by which the folder was named.

    Raises:
        UsageError: another process is at work in it: each would lose what the other wrote.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another edge-emotion {command} is at work in {folder}: name another {option}, or "
                "end it"
            ) from error
        except OSError as error:
            if error.errno not in (ENOLCK, EOPNOTSUPP):  # a file system without locks
                raise
        yield
    finally:
        os.close(fd)


def is_folder(path: Path) -> bool:
    """Whether a place to write to is a folder that is there.

    Raises:
        OutputError: nobody may look there, or there can be no such place.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; name another place") from error


def check_target(path: Path) -> None:
    """See that a file can be written; nothing is left.

    Raises:
        OutputError: it cannot.
    """
    if is_folder(path) or (path.exists() and not path.is_file()):
        raise OutputError(f"cannot write {path}: it is no regular file; name another place")
    check_reachable(path.parent, path)


def check_reachable(path: Path, called: Path | None = None) -> None:
    """See that a folder can be made there and takes files; nothing is left.

    Args:
        path: of the folder.
        called: what an error says cannot be written; None: `path`.

    Raises:
        OutputError: it cannot.
    """
    whole = path.absolute()
    nearest = next(place for place in (whole, *whole.parents) if os.path.lexists(place))
    check_folder(nearest, called or path)


def files_under(folder: Path, failed: Callable[[OSError], None]) -> list[Path]:
    """Every file in a folder and its sub-folders, sorted; links to folders are not followed.

    A link to nothing counts as one, and so does a name of which nobody may know what it is (in a
    folder that can be listed, but not entered): who reads it is told why not.

    Args:
        folder: to look in.
        failed: told of each folder that cannot be listed, which `Path.rglob` would pass over.
    """
    walk = os.walk(folder, onerror=failed)
    found = (Path(parent, name) for parent, _, names in walk for name in names)
    return sorted(path for path in found if _may_be_file(path))


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a name on the way from `folder` to `path` begins with a dot.

    Thumbnails, what a Mac leaves beside each file (``._a.jpg``), and half-written files.
    """
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _may_be_file(path: Path) -> bool:
    try:
        return path.is_file() or (path.is_symlink() and not path.exists())
    except OSError:
        return True


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tool_versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of each installed package, from its metadata; nothing is imported."""
    versions = {}
    for package in packages:
        for name in (package, f"{package}-cpu"):  # tensorflow-cpu is tensorflow
            with suppress(importlib.metadata.PackageNotFoundError):
                versions[package] = importlib.metadata.version(name)
                break
    return versions
