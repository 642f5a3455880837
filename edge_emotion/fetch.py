"""Files that are not ours to ship, from their publisher. Nothing is fetched without being asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_emotion.errors import ChecksumError, InputError, OutputError, UnknownNameError
from edge_emotion.files import put, sha256

#: Environment variable that names a detector's file.
DETECTOR_VARIABLE = "EDGE_EMOTION_DETECTOR"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a publisher, pinned."""

    name: str
    url: str  # https
    sha256: str
    size: int  # bytes
    what: str  # for the user, with its licence


YUNET = RemoteFile(
    name="face_detection_yunet_2026may.onnx",
    url="https://github.com/opencv/opencv_zoo/raw/main/"
    "models/face_detection_yunet/face_detection_yunet_2026may.onnx",
    sha256="ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0",
    size=229_738,
    what="YuNet face detector, (c) 2020 Shiqi Yu, MIT licence",
)
FILES = {"yunet": YUNET}


def user_file(file: RemoteFile) -> Path:
    """Where a fetched file lies: in the user's data folder."""
    import platformdirs

    return platformdirs.user_data_path("edge-emotion", appauthor=False) / file.name


def is_whole(path: Path, file: RemoteFile) -> bool:
    """Whether `path` holds that very file."""
    try:
        return path.stat().st_size == file.size and sha256(path) == file.sha256
    except OSError:
        return False


def fetch(
    name: str,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Fetch a file into the user's data folder; go on where an earlier attempt broke off.

    Args:
        name: one of `FILES`.
        progress: told of bytes done and in all.

    Returns:
        The file, whole and with the right checksum.

    Raises:
        UnknownNameError: another name.
        InputError: it cannot be reached; the message says where to put it by hand.
        ChecksumError: what came is another file.
        OutputError: it cannot be written.
    """
    if name not in FILES:
        raise UnknownNameError("file to fetch", name, FILES)
    file = FILES[name]
    path = user_file(file)
    if is_whole(path, file):
        return path
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if part.exists() and part.stat().st_size >= file.size:
            part.unlink()
        _download(file, part, progress)
        if not is_whole(part, file):
            part.unlink()
            raise ChecksumError(
                f"{file.url} gave another file than expected (sha256 {file.sha256}): try again "
                f"later, or put the right one at {path}"
            )
        put(part, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _download(file: RemoteFile, part: Path, progress: Callable[[int, int], None]) -> None:
    """Append to `part` what is missing of it, never more than the file's size."""
    import http.client
    import urllib.error
    import urllib.request

    class OnlyHttps(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
            if not newurl.startswith("https://"):
                fp.close()
                raise urllib.error.URLError("redirected away from https")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "edge-emotion"})
    if have:
        request.add_header("Range", f"bytes={have}-")

    def unreachable(reason: object) -> InputError:
        return InputError(
            f"cannot fetch {file.url}: {reason}; go on by asking again, or put the file at "
            f"{user_file(file)}"
        )

    try:
        answer = urllib.request.build_opener(OnlyHttps).open(request, timeout=30)
    except (OSError, http.client.HTTPException, ValueError) as error:  # the last: a proxy's URL
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            if error.code == 416:
                part.unlink()  # what is there cannot be continued
        raise unreachable(getattr(error, "reason", error)) from error
    with answer, part.open("ab" if answer.status == 206 else "wb") as out:
        done = have if answer.status == 206 else 0
        while done <= file.size:
            try:
                chunk = answer.read(min(65536, file.size + 1 - done))
            except (OSError, http.client.HTTPException) as error:
                raise unreachable(error) from error
            if not chunk:
                break
            out.write(chunk)
            done += len(chunk)
            progress(done, file.size)
    if done < file.size:
        raise unreachable(f"it broke off after {done} of {file.size} bytes")
    if done > file.size:
        with suppress(OSError):
            part.unlink()
        raise ChecksumError(f"{file.url} is larger than the {file.size} bytes that were expected")
