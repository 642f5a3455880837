"""``edge-emotion train``: what its card tells of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_emotion.cli.train import _command


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("/home/me/faces --out /home/me/model", "faces"),
        ("/home/me/faces --run=/home/me/run --resume --epochs 3", "faces --epochs 3"),
        ("/home/me/faces --initial /srv/first --seed=2", "faces --initial first --seed=2"),
        ("/home/me/faces --initial=/srv/first", "faces --initial=first"),
        ("--subject a=/b /home/me/faces", "--subject a=/b faces"),
    ],
)
def test_the_command_names_no_folder_of_this_machine(
    given: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/edge-emotion", "train", *given.split()])
    paths = [Path("/home/me/faces"), Path("/srv/first")]
    assert _command(paths) == f"edge-emotion train {told}"
