"""``edge-emotion crop``: photographs to a folder that training reads as prediction reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from edge_emotion import DataError, FaceCrop, InputSpec, ModelError, UsageError
from edge_emotion.alignment import cut_square, face_square
from edge_emotion.cli import app
from edge_emotion.faces import YuNet
from edge_emotion.preprocess import to_tensor
from edge_emotion.training.crops import crop_faces
from edge_emotion.training.data import CROPS_NAME, read_dataset
from edge_emotion.training.loading import load_pictures
from tests import patches
from tests.datasets import noise, write_class_folders, write_ferplus
from tests.generated import draw_portrait

pytestmark = pytest.mark.usefixtures("tiny_yunet")

#: Two photographs of each label; the middle of a blue square in each.
PLACES = {"happy/a": (112, 112), "happy/b": (208, 112), "sad/a": (144, 144), "sad/c": (176, 112)}


def photograph(place: tuple[int, int], size: int = 96) -> Image.Image:
    """A blue square of 96 pixels, or a smaller one inside of it, on a ground with texture."""
    image = Image.fromarray(noise(sum(place), 240, 320, 3) // 4 + 60)
    image.paste((0, 0, 255), tuple(v + d for d in (-size // 2, size // 2) for v in place))
    return image


@pytest.fixture
def photographs(tmp_path):
    for name, place in PLACES.items():
        path = tmp_path / "photographs" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(place).save(path)
    return tmp_path / "photographs"


def crop(*arguments):
    return CliRunner().invoke(app, ["crop", *map(str, arguments)])


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.png")}


def test_a_crop_for_each_photograph_and_a_record(photographs, tmp_path):
    result = crop(photographs, "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{tmp_path / 'out'}: 4 faces, 0 photographs without one\n"
    assert set(files(tmp_path / "out")) == {f"{name}.png" for name in PLACES}
    assert json.loads((tmp_path / "out" / CROPS_NAME).read_text()) == {
        "context": 1.5, "face": {"margin": 2.5, "drop": 0.32}, "finder": "yunet", "pictures": 4,
        "without_face": 0, "unreadable": 0,
    }  # fmt: skip


def test_the_face_is_in_the_middle_with_its_surroundings(photographs, tmp_path):
    """Eyes 51.2 pixels apart: a square of 128, surroundings of 192, of which the square has 96."""
    crop(photographs, "--out", tmp_path / "out", "--size", 96)
    for name in PLACES:
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            pixels = np.asarray(image).astype(int)
        assert pixels.shape == (96, 96, 3)
        blue = pixels[:, :, 2] - pixels[:, :, 0] > 150
        columns, rows = np.flatnonzero(blue[48]), np.flatnonzero(blue[:, 48])
        assert (columns[0], columns[-1]) == (pytest.approx(24, abs=1), pytest.approx(71, abs=1))
        # The square's middle is 2.7 pixels above that of the box.
        assert (rows[0], rows[-1]) == (pytest.approx(25.3, abs=1), pytest.approx(72.3, abs=1))


def test_training_reads_of_a_crop_what_prediction_reads_of_the_photograph(photographs, tmp_path):
    crop(photographs, "--out", tmp_path / "out", "--size", 144)
    spec = InputSpec(48, 48, 1)
    loaded = load_pictures(read_dataset(tmp_path / "out"), spec)[0]
    finder = YuNet(patches.FILE)
    for key, pixels in zip(loaded.keys, loaded.pixels, strict=True):
        with Image.open(photographs / key) as image:
            (face,) = finder.find(image)
            cut = cut_square(image, face_square(face.landmarks, FaceCrop()), 48)
        difference = np.abs(to_tensor(cut, spec).astype(int) - pixels)
        assert difference.mean() < 2, key  # grey levels


def test_a_crop_knows_its_photograph(photographs, tmp_path):
    crop(photographs, "--out", tmp_path / "out")
    whole = load_pictures(read_dataset(photographs), InputSpec(48, 48, 1))[0]
    assert whole.photographs.tolist() == [0] * 4
    crops = load_pictures(read_dataset(tmp_path / "out"), InputSpec(48, 48, 1))[0]
    assert crops.photographs.tolist() == whole.hashes.tolist()
    assert crops.photographs_known
    assert set(crops.seen(np.array([0, 2]))) == {
        *crops.hashes[[0, 2]].tolist(), *whole.hashes[[0, 2]].tolist(),
    }  # fmt: skip

    path = tmp_path / "out" / "happy" / "a.png"
    with Image.open(path) as image:  # as an older version, or another program, writes it
        image.load()
        image.save(path)
    crops = load_pictures(read_dataset(tmp_path / "out"), InputSpec(48, 48, 1))[0]
    assert not crops.photographs_known
    assert crops.photographs.tolist() == [0, *whole.hashes[1:].tolist()]  # the others still do
    assert crops.seen(np.array([0, 2])).tolist() == [
        *crops.hashes[[0, 2]].tolist(), whole.hashes[2],
    ]  # fmt: skip


def test_two_photographs_of_one_name_are_refused_before_any_is_cut(photographs, tmp_path):
    for name in ("a.jpg", "a.jpg.png"):  # beside a.png: a.jpg becomes a.jpg.png, as the other does
        photograph((112, 112)).save(photographs / "happy" / name)
    result = crop(photographs, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "happy/a.jpg and happy/a.jpg.png have one name" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("height", "width"), [(48, 24), (24, 48), (64, 48)])
def test_a_network_that_is_not_square_sees_the_whole_face_square(
    photographs, tmp_path, height, width
):
    """Stretched to the input, as prediction stretches it."""
    crop(photographs, "--out", tmp_path / "out", "--size", 144)
    spec = InputSpec(height, width, 1)
    loaded = load_pictures(read_dataset(tmp_path / "out"), spec)[0]
    for key, pixels in zip(loaded.keys, loaded.pixels, strict=True):
        with Image.open(tmp_path / "out" / key) as image:
            face = to_tensor(image.convert("RGB").crop((24, 24, 120, 120)), spec)
        assert np.abs(face.astype(int) - pixels).mean() < 2, key  # grey levels


def test_surroundings_are_read_and_their_middle_is_the_face(photographs, tmp_path):
    crop(photographs, "--out", tmp_path / "out")
    dataset = read_dataset(tmp_path / "out")
    assert {sample.context for sample in dataset.samples} == {1.5}
    loaded = load_pictures(dataset, InputSpec(48, 48, 1))[0]
    assert loaded.pixels.shape == (4, 48, 48, 1)
    assert loaded.surroundings.shape == (4, 72, 72, 1)
    assert np.array_equal(loaded.surroundings[:, 12:-12, 12:-12], loaded.pixels)
    with Image.open(tmp_path / "out" / "happy" / "a.png") as image:
        whole = to_tensor(image.convert("RGB"), InputSpec(72, 72, 1))
    assert np.array_equal(loaded.surroundings[0], whole)

    face = load_pictures(dataset, InputSpec(48, 48, 1), middle=True, cache=tmp_path / "face.npy")[0]
    assert face.surroundings is None
    assert np.array_equal(face.pixels, loaded.pixels)
    assert np.array_equal(np.load(tmp_path / "face.npy"), loaded.pixels)


def test_the_largest_face_of_several(photographs, tmp_path):
    image = patches.scene((320, 240), [(8, 44, 44), (16, 232, 200), (8, 44, 84)])
    image.save(photographs / "sad" / "many.png")
    crop(photographs, "--out", tmp_path / "out")
    with Image.open(tmp_path / "out" / "sad" / "many.png") as image:
        assert image.getpixel((48, 48))[1] > 250  # green, the middle one of the stub's sizes


def test_photographs_without_a_face_or_damaged_are_left_out_and_named(photographs, tmp_path):
    Image.new("RGB", (320, 240), "white").save(photographs / "happy" / "back.jpg")
    (photographs / "sad" / "damaged.jpg").write_bytes(b"\xff\xd8\xff no picture")
    result = crop(photographs, "--out", tmp_path / "out")
    assert result.exit_code == 4
    assert result.stdout == f"{tmp_path / 'out'}: 4 faces, 1 photographs without one\n"
    without, damaged = result.stderr.splitlines()
    assert without == "left out: happy/back.jpg: no face found"
    assert damaged.startswith("left out: ")
    assert "damaged.jpg" in damaged
    record = json.loads((tmp_path / "out" / CROPS_NAME).read_text())
    assert (record["without_face"], record["unreadable"]) == (1, 1)


def test_photographs_of_one_name_are_all_cropped(photographs, tmp_path):
    photograph((112, 112)).save(photographs / "happy" / "a.jpg", quality=95)
    photograph((208, 112)).save(photographs / "sad" / "b.jpg", quality=95)  # no other b in sad
    result = crop(photographs, "--out", tmp_path / "out")
    assert "6 faces" in result.stdout
    assert set(files(tmp_path / "out")) == {
        "happy/a.jpg.png", "happy/a.png.png", "happy/b.png", "sad/a.png", "sad/b.png", "sad/c.png",
    }  # fmt: skip


def test_a_publisher_s_split_is_kept(photographs, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(photographs, tmp_path / "divided" / split)
    crop(tmp_path / "divided", "--out", tmp_path / "out")
    dataset = read_dataset(tmp_path / "out")
    assert dataset.labels == ["happy", "sad"]
    assert [sample.split for sample in dataset.samples].count("test") == 4


class Interrupted:
    """The stub, until Ctrl-C is pressed."""

    name = "yunet"

    def __init__(self, after):
        self.finder, self.left, self.looked = YuNet(patches.FILE), after, 0

    def find(self, image):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.looked += 1
        return self.finder.find(image)


def test_crops_of_photographs_that_were_moved_are_not_left_for_training(photographs, tmp_path):
    out = tmp_path / "out"
    assert crop(photographs, "--out", out).exit_code == 0
    (photographs / "happy" / "a.png").rename(photographs / "sad" / "was-happy.png")
    result = crop(photographs, "--out", out)
    assert result.exit_code == 2
    assert f"crops of 1 photographs that are not in {photographs} (any more)" in result.stderr
    assert str(out / "happy" / "a.png") in result.stderr
    (out / "happy" / "a.png").unlink()
    assert crop(photographs, "--out", out).exit_code == 0
    assert (out / "sad" / "was-happy.png").exists()


def test_what_a_killed_run_left_half_written_is_no_crop(photographs, tmp_path):
    out = tmp_path / "faces"
    assert crop(photographs, "--out", out).exit_code == 0
    half = next(out.rglob("*.png")).with_name(".4711-9-1.png")
    half.write_bytes(b"half")
    result = crop(photographs, "--out", out)
    assert result.exit_code == 0, result.stderr


def test_a_photograph_that_took_the_name_of_another_is_cut_anew(photographs, tmp_path):
    out, path = tmp_path / "out", photographs / "happy" / "a.png"
    assert crop(photographs, "--out", out).exit_code == 0
    before = {p: p.read_bytes() for p in out.rglob("*.png")}
    path.touch()  # the same photograph
    assert crop(photographs, "--out", out).exit_code == 0
    assert {p: p.read_bytes() for p in out.rglob("*.png")} == before
    shutil.copy2(photographs / "sad" / "c.png", path)  # with its time, which is older
    assert crop(photographs, "--out", out).exit_code == 0
    after = {p: p.read_bytes() for p in out.rglob("*.png")}
    assert [p for p in after if after[p] != before[p]] == [out / "happy" / "a.png"]
    assert after[out / "happy" / "a.png"] == before[out / "sad" / "c.png"]
    # What is no photograph any more, or shows no face, costs its own crop and no other.
    path.write_bytes(b"damaged")
    Image.new("RGB", (320, 240)).save(photographs / "happy" / "b.png")
    result = crop(photographs, "--out", out)
    assert result.exit_code == 4
    assert result.stdout.startswith(f"{out}: 2 faces, 1 photographs without one")
    assert {p for p in before if p.exists()} == {out / "sad" / "a.png", out / "sad" / "c.png"}


def test_another_data_set_with_the_same_names_is_cut_anew(photographs, tmp_path):
    """All its photographs are older than the crops: no time stamp tells."""
    other, out = tmp_path / "other", tmp_path / "out"
    shutil.copytree(photographs, other)
    (other / "happy" / "a.png").rename(tmp_path / "a.png")
    (other / "sad" / "a.png").rename(other / "happy" / "a.png")
    (tmp_path / "a.png").rename(other / "sad" / "a.png")
    assert crop(photographs, "--out", out).exit_code == 0
    assert crop(other, "--out", out).exit_code == 0
    crop(other, "--out", tmp_path / "fresh")
    assert files(out) == files(tmp_path / "fresh")
    # As git-annex or DVC has it: what a link leads to is older, whatever it led to before.
    link = other / "happy" / "a.png"
    link.unlink()
    link.symlink_to(photographs / "happy" / "a.png")
    before = files(out)
    assert crop(other, "--out", out).exit_code == 0
    assert files(out) != before


def test_an_interrupted_run_goes_on(photographs, tmp_path, monkeypatch):
    finder = Interrupted(2)
    monkeypatch.setattr("edge_emotion.faces.open_finder", lambda *args, **named: finder)
    arguments = [photographs, "--out", tmp_path / "out"]
    assert crop(*arguments).exit_code == 130
    made = files(tmp_path / "out")
    assert len(made) == 2
    # What is there so far is not taken for whole pictures.
    assert read_dataset_context(tmp_path / "out") == {1.5}
    finder.left = 99
    result = crop(*arguments)
    assert result.stdout == f"{tmp_path / 'out'}: 4 faces, 0 photographs without one\n"
    assert finder.looked == 4
    crop(photographs, "--out", tmp_path / "unbroken")
    assert files(tmp_path / "out") == files(tmp_path / "unbroken")
    records = [(tmp_path / n / CROPS_NAME).read_bytes() for n in ("out", "unbroken")]
    assert records[0] == records[1]


def read_dataset_context(folder):
    (folder / "sad").mkdir(exist_ok=True)  # the interruption came before it
    return {sample.context for sample in read_dataset(folder).samples}


@pytest.mark.parametrize(
    "other", [["--margin", "2.6"], ["--context", "1.2"], ["--size", "64"], ["--faces", "hog"]]
)
def test_crops_of_other_settings_are_not_mixed(photographs, tmp_path, other):
    crop(photographs, "--out", tmp_path / "out")
    before = files(tmp_path / "out")
    result = crop(photographs, "--out", tmp_path / "out", *other)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "name another --out" in line
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"context": "wide"}', '{"context": 1.5}', '{"context": 1.5, "face": '
             '{"margin": 99, "drop": 0}, "finder": "", "pictures": 1, "without_face": 0}']
)  # fmt: skip
def test_a_damaged_record_is_not_guessed_at(photographs, tmp_path, text):
    crop(photographs, "--out", tmp_path / "out")
    (tmp_path / "out" / CROPS_NAME).write_text(text)
    with pytest.raises(DataError, match=r"crops\.json: damaged"):
        read_dataset(tmp_path / "out")
    result = crop(photographs, "--out", tmp_path / "out")
    assert result.exit_code == 4
    assert "crops.json: damaged" in result.stderr


def test_a_damaged_crop_is_not_taken_for_one(photographs, tmp_path):
    crop(photographs, "--out", tmp_path / "out")
    (tmp_path / "out" / "sad" / "a.png").write_bytes(b"")
    result = crop(photographs, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (4, "")
    (line,) = result.stderr.splitlines()
    assert "sad/a.png: damaged: remove it, or name another --out" in line


@pytest.mark.parametrize("context", [0, 0.5, -3, 5, 1e300])
def test_an_impossible_record_is_no_training(photographs, tmp_path, context):
    crop(photographs, "--out", tmp_path / "out")
    record = json.loads((tmp_path / "out" / CROPS_NAME).read_text())
    (tmp_path / "out" / CROPS_NAME).write_text(json.dumps(record | {"context": context}))
    with pytest.raises(DataError, match="not within 1 to 4"):
        load_pictures(read_dataset(tmp_path / "out"), InputSpec(48, 48, 1))


@pytest.mark.parametrize(
    "arguments",
    [["--context", "0.9"], ["--context", "5"], ["--size", "7"], ["--size", "2000"],
     ["--margin", "0"], ["--margin", "nan"], ["--faces", "cascade"],
     ["--margin", "6", "--context", "2"]],
)  # fmt: skip
def test_what_is_out_of_range(photographs, tmp_path, arguments):
    result = crop(photographs, "--out", tmp_path / "out", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_photographs_own_folder_is_not_written_to(photographs):
    before = {p: p.read_bytes() for p in photographs.rglob("*.*")}
    result = crop(photographs, "--out", photographs)
    assert result.exit_code == 2
    assert "name a folder outside of" in result.stderr
    assert {p: p.read_bytes() for p in photographs.rglob("*.*")} == before


def test_nor_is_one_with_other_pictures(photographs, tmp_path):
    own = tmp_path / "own" / "happy" / "mine.png"
    own.parent.mkdir(parents=True)
    photograph((0, 0)).save(own)
    result = crop(photographs, "--out", tmp_path / "own")
    assert result.exit_code == 2
    assert result.stderr.endswith("holds pictures that are not crops: name a new folder\n")
    assert [p for p in (tmp_path / "own").rglob("*") if p.is_file()] == [own]


@pytest.mark.parametrize("inside", ["crops", "happy", "happy/crops", "../photographs/new"])
def test_nor_is_a_folder_inside_of_it(photographs, inside):
    """Its crops would be photographs of the next run."""
    before = sorted(photographs.rglob("*"))
    result = crop(photographs, "--out", photographs / inside)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "is among the photographs" in line
    assert sorted(photographs.rglob("*")) == before
    beside = photographs.with_name("photographs-cropped")
    assert crop(photographs, "--out", beside).exit_code == 0


def test_a_file_where_the_crops_should_be(photographs, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("not ours")
    for out in (taken, taken / "crops"):
        result = crop(photographs, "--out", out)
        assert (result.exit_code, result.stdout) == (5, "")
        (line,) = result.stderr.splitlines()
        assert f"{taken} is no folder, as is needed; name another place" in line
    assert taken.read_text() == "not ours"


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_is_no_data(tmp_path, device):
    with pytest.raises(DataError, match=f"{device}: neither a file nor a folder"):
        read_dataset(Path(device))
    result = crop(device, "--out", tmp_path / "out")
    assert result.exit_code == 4
    assert result.stderr == f"edge-emotion: {device}: neither a file nor a folder\n"
    assert not (tmp_path / "out").exists()


def test_no_photographs(tmp_path, photographs):
    assert crop(tmp_path / "missing", "--out", tmp_path / "out").exit_code == 4
    ferplus = crop(write_ferplus(tmp_path / "ferplus"), "--out", tmp_path / "out")
    assert ferplus.exit_code == 4
    assert "photographs in class folders are needed, not FER+" in ferplus.stderr
    assert not (tmp_path / "out").exists()


def test_a_detector_that_fails_is_not_a_photograph_without_a_face(photographs, tmp_path):
    class Broken:
        name = "yunet"

        def find(self, image):
            raise ModelError("the detector cannot be run")

    with pytest.raises(ModelError):
        crop_faces(photographs, tmp_path / "out", Broken(), face=FaceCrop())


def test_dlib_crops_too(tmp_path):
    for number, label in enumerate(("happy", "sad")):
        folder = tmp_path / "drawn" / label
        folder.mkdir(parents=True)
        draw_portrait(240 + 60 * number).save(folder / "a.png")
    hog = [tmp_path / "drawn", "--out", tmp_path / "out", "--faces", "hog"]
    refused = crop(*hog, "--detector", tmp_path / "any.onnx")
    assert (refused.exit_code, "for finding faces with yunet" in refused.stderr) == (2, True)
    result = crop(*hog)
    assert result.stdout == f"{tmp_path / 'out'}: 2 faces, 0 photographs without one\n"


def test_crops_of_different_reach_and_whole_pictures_are_read_together(photographs, tmp_path):
    """Each at the scale of its own face square: the widest decides how much is around it."""
    from edge_emotion.training.samples import merge_datasets

    wide, narrow = tmp_path / "wide", tmp_path / "narrow"
    crop(photographs, "--out", wide, "--context", 1.5, "--size", 144)
    crop(photographs, "--out", narrow, "--context", 1.25, "--size", 120)
    whole = write_class_folders(tmp_path / "whole", ["happy/a.png", "sad/b.png"])
    spec = InputSpec(48, 48, 1)
    merged = merge_datasets([read_dataset(p) for p in (wide, narrow, whole)])
    loaded = load_pictures(merged, spec)[0]
    assert loaded.surroundings.shape == (10, 72, 72, 1)
    assert np.array_equal(loaded.surroundings[:, 12:-12, 12:-12], loaded.pixels)
    assert loaded.datasets == ["wide"] * 4 + ["narrow"] * 4 + ["whole"] * 2
    for one, other in zip(loaded.pixels[:4], loaded.pixels[4:8], strict=True):
        assert np.abs(one.astype(int) - other).mean() < 2  # grey levels: the same face, as large
    alone = load_pictures(read_dataset(whole), spec)[0]
    assert alone.surroundings is None
    assert np.array_equal(loaded.pixels[8:], alone.pixels)


def test_crop_faces_checks_before_it_reads(tmp_path):
    with pytest.raises(UsageError, match="--context must be 1 to 4"):
        crop_faces(tmp_path, tmp_path / "out", YuNet(patches.FILE), face=FaceCrop(), context=0.5)
