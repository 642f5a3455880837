"""Files are whole or not there."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from pathlib import Path

import pytest

from edge_emotion import OutputError
from edge_emotion.files import check_folder, replacing, sha256, write_bytes
from tests.tiny import make_card

OLD, NEW = b"old", b"new" * 9999


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "file.bin"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def untouched(path: Path) -> bool:
    return path.read_bytes() == OLD and list(path.parent.iterdir()) == [path]


def test_new_file_replaces_the_old_and_folders_are_made(path):
    write_bytes(path, NEW)
    assert path.read_bytes() == NEW
    write_bytes(path.parent / "a" / "b" / "c", NEW)
    assert (path.parent / "a" / "b" / "c").read_bytes() == NEW
    assert not list(path.parent.rglob(".*"))


def test_a_write_that_the_kernel_ends_leaves_the_old_file(path, full_disk):
    with pytest.raises(OutputError, match=r"cannot write .*file\.bin: File too large"):
        write_bytes(path, NEW)
    assert untouched(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fills_up_late_leaves_the_old_file(path, step, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        if step == "fsync":
            full.setattr(os, "fsync", fail)
        else:
            full.setattr(Path, "replace", fail)
        with pytest.raises(OutputError, match="No space left on device; free space"):
            write_bytes(path, NEW)
    assert untouched(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_the_old_file(path, error):
    def interrupted():
        with replacing(path) as temporary:
            temporary.write_bytes(NEW[:10])
            raise error

    with pytest.raises(error):
        interrupted()
    assert untouched(path)


def test_card_that_cannot_be_written_leaves_the_old_card(tmp_path, full_disk):
    make_card().write(tmp_path)
    long = make_card(intended_use="x" * 5000)
    with pytest.raises(OutputError, match=r"card\.json"):
        long.write(tmp_path)
    assert type(long).read(tmp_path) == make_card()


def test_places_where_no_file_can_be(path):
    for place in (path / "below a file", path.parent, Path("/"), Path()):
        with pytest.raises(OutputError, match="cannot write"):
            write_bytes(place, NEW)
    assert untouched(path)


@pytest.mark.parametrize("below", ["x", "x/y/z"])
def test_a_file_in_the_way_is_named_and_that_a_folder_is_needed(path, below):
    words = rf"cannot write .*{below}.*: {re.escape(str(path))} is no folder, as is needed; name"
    with pytest.raises(OutputError, match=words):
        write_bytes(path / below, NEW)
    with pytest.raises(OutputError, match=words):
        check_folder(path / below)
    with pytest.raises(OutputError, match="is no folder"):
        check_folder(path)
    (path.parent / "dangling").symlink_to("nowhere")
    with pytest.raises(OutputError, match="dangling is no folder"):
        check_folder(path.parent / "dangling")
    (path.parent / "dangling").unlink()
    assert untouched(path)


def test_a_name_that_no_file_can_have(path):
    with pytest.raises(OutputError, match=r"cannot write .*: File name too long"):
        write_bytes(path.parent / ("x" * 300), NEW)
    assert untouched(path)


def test_hash_is_sha256(path):
    assert sha256(path) == hashlib.sha256(OLD).hexdigest()
