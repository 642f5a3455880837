"""What is kept back while a library speaks, and when it comes out."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_emotion import UsageError
from edge_emotion.quiet import quiet
from tests.generated import draw_face

#: The command, where a model speaks as it is loaded, whatever TensorFlow is told.
MAIN = """
import os
from edge_emotion.cli import main
from edge_emotion.runtimes import keras

load = keras.load_keras_model
keras.load_keras_model = lambda path: (os.write(1, b"x"), print("y"), load(path))[-1]
main()
"""


def speak(error: Exception | None = None) -> None:
    """On both channels, past Python, as native code does, and from it; then fail with `error`."""
    os.write(1, b"x")
    os.write(2, b"x")
    print("y")
    print("y", file=sys.stderr)
    if error is not None:
        raise error


def both_channels_are_open_again(capfd: pytest.CaptureFixture[str]) -> bool:
    os.write(1, b"z")
    print("z")
    os.write(2, b"z")
    print("z", file=sys.stderr)
    return tuple(capfd.readouterr()) == ("zz\n", "zz\n")


def test_what_the_block_writes_is_kept_back_and_what_follows_is_not(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with quiet():
        speak()
    os.write(1, b"z")
    assert tuple(capfd.readouterr()) == ("z", "")
    assert both_channels_are_open_again(capfd)


def test_what_was_printed_before_the_block_comes_out_first() -> None:
    """In a process of its own, whose stdout into a pipe is buffered."""
    code = (
        "import os\n"
        "from edge_emotion.quiet import quiet\n"
        "print('before')\n"
        "with quiet():\n"
        "    os.write(1, b'x')\n"
        "os.write(1, b'after')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("before\nafter", "")


def test_an_unforeseen_error_brings_everything_out_on_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match="unforeseen"), quiet():
        speak(ValueError("unforeseen"))
    assert tuple(capfd.readouterr()) == ("", "xxy\ny\n")
    assert both_channels_are_open_again(capfd)


def test_what_cannot_be_encoded_does_not_take_the_error_s_place(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        print("caf\udce9")
        raise ValueError("unforeseen")

    with pytest.raises(ValueError, match="unforeseen"), quiet():
        fail()
    assert tuple(capfd.readouterr()) == ("", "caf?\n")


def test_an_error_of_our_own_says_all_there_is_to_say(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="foreseen"), quiet():
        speak(UsageError("foreseen"))
    assert tuple(capfd.readouterr()) == ("", "")
    assert both_channels_are_open_again(capfd)


def test_predict_with_keras_prints_its_line_alone(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("needs the extra train")
    picture = tmp_path / "a.png"
    draw_face("happy", 1).save(picture)
    command = [sys.executable, "-c", MAIN, "predict", "--runtime", "keras", "--faces", "off",
               str(picture)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{picture}: ")
