"""``install.sh`` with a service: its upgrades, its failures; and two installs at a time."""

# ruff: noqa: F811 - fixtures have their own names as arguments

from __future__ import annotations

import fcntl
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.test_bundle_install import (
    FAKE_PYTHON,
    UNIT,
    calls,
    fake,  # noqa: F401 - a fixture
    hollow,  # noqa: F401 - a fixture
    install,
    program,
    pytestmark,  # noqa: F401 - skips what that one skips
    refused,
    releases,
    run,
    sign_again,
)

# --- an upgrade of the service, and what fails in it


def state(fake: Path) -> dict[str, str]:
    """Everything that an install has of its own: files, where links lead, the unit, the account."""
    found = {}
    for folder in (fake.parent / "ee", fake.parent / "units", fake.parent / "account"):
        for path in sorted([folder, *folder.rglob("*")]):
            if path.is_symlink():
                found[str(path)] = str(path.readlink())
            elif path.is_file():
                found[str(path)] = path.read_bytes().hex()
    return found


def another_model(hollow: Path) -> None:
    """The bundle as it would be with an export of another name."""
    (hollow / "model" / "model-int8.tflite").rename(hollow / "model" / "model-int8.onnx")
    for name in ("install.sh", UNIT):
        text = (hollow / name).read_text().replace("model-int8.tflite", "model-int8.onnx")
        (hollow / name).write_text(text)
    sign_again(hollow)


def test_an_upgrade_to_another_export_writes_the_unit_anew(hollow: Path, fake: Path) -> None:
    place, unit = fake.parent / "my pictures", fake.parent / "units" / UNIT
    place.mkdir()
    assert install(hollow, fake, "--service", place).returncode == 0
    before = unit.read_text()
    another_model(hollow)
    done = install(hollow, fake)
    assert (done.returncode, done.stderr) == (0, "")
    assert unit.read_text() == before.replace("model-int8.tflite", "model-int8.onnx") != before
    (line,) = [x for x in unit.read_text().splitlines() if x.startswith("ExecStart=")]
    assert Path(shlex.split(line)[4]).is_file()
    assert [p.name for p in unit.parent.iterdir()] == [UNIT]


def test_a_unit_that_does_not_say_what_it_watches(hollow: Path, fake: Path) -> None:
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    unit = fake.parent / "units" / UNIT
    text = unit.read_text()
    unit.write_text(re.sub("\nRequiresMountsFor=.*", "", text))
    refused(install(hollow, fake), 1, "does not say which folder", "--service FOLDER")
    unit.write_text(text.replace(f'For="{fake.parent}"', 'For="/a|b"'))
    refused(install(hollow, fake), 2, "choose another")
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    assert unit.read_text() == text


def test_the_unit_of_another_prefix_is_not_touched(hollow: Path, fake: Path) -> None:
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    other = ("--python", "python-x", "--prefix", fake.parent / "other")
    assert run(hollow, *other, "--service", fake.parent, path=fake).returncode == 0
    before = (fake.parent / "units" / UNIT).read_text()
    assert f'"{fake.parent}/other/current' in before
    calls(fake)
    assert install(hollow, fake).returncode == 0
    assert run(hollow, "--prefix", fake.parent / "ee", "--uninstall", path=fake).returncode == 0
    assert calls(fake) == []
    assert (fake.parent / "units" / UNIT).read_text() == before


def test_only_root_upgrades_a_service(hollow: Path, fake: Path) -> None:
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    program(fake, "id", "echo 1000")
    refused(install(hollow, fake), 5, "a service was installed: use sudo")


@pytest.mark.parametrize("step", ["daemon-reload", "restart", "enable", "unit", "interrupted"])
@pytest.mark.parametrize("upgrade", [False, True])
def test_a_service_that_fails_leaves_everything_as_it_was(
    hollow: Path, fake: Path, step: str, upgrade: bool
) -> None:
    """Release, unit and account; and with an older service, that runs again."""
    options = ("--service", fake.parent)
    if upgrade:
        assert install(hollow, fake, *options).returncode == 0
        another_model(hollow)
    before = state(fake)
    calls(fake)
    log = fake.parent / "log"
    says = "echo Failed to do it >&2; echo and more >&2; exit 1"
    note = f'echo systemctl "$@" >>{log}'
    once = f"{note}; test -e {log}.failed && exit 0; touch {log}.failed"
    ask = "is-active) ;;"
    if step == "unit":
        program(fake, "mv", rf'case "$*" in *.new\ *) {says} ;; esac; exec /bin/mv "$@"')
    elif step == "interrupted":
        cut = f"{once}; kill -INT 0"  # as Ctrl-C: the whole group
        program(fake, "systemctl", f"case $1 in {ask} *) {cut} ;; esac")
    else:
        program(fake, "systemctl", f"case $1 in {ask} {step}) {once}; {says} ;; *) {note} ;; esac")
    done = install(hollow, fake, *options)
    if step == "interrupted":
        assert done.returncode == 130
    elif step == "unit":
        refused(done, 5, "mv failed, and everything is as it was: Failed to do it")
    else:
        refused(done, 1, "systemctl failed, and everything is as it was: Failed to do it")
    assert state(fake) == before
    said = calls(fake)
    if upgrade:
        assert said[-1] == f"systemctl restart {UNIT}"
        assert not any(call.startswith("user") for call in said)
    else:
        assert said[-1] == "userdel edge-emotion"
        assert f"systemctl disable --now {UNIT}" in said
        assert not (fake.parent / "ee").exists()


def test_an_account_that_cannot_be_made(hollow: Path, fake: Path) -> None:
    assert install(hollow, fake).returncode == 0
    before = state(fake)
    program(fake, "useradd", "echo useradd: group exists >&2; exit 9")
    done = install(hollow, fake, "--service", fake.parent)
    refused(done, 5, "useradd failed, and everything is as it was: useradd: group exists")
    assert state(fake) == before
    assert calls(fake) == []


# --- two at a time


def test_a_second_install_to_one_prefix_is_refused(hollow: Path, fake: Path) -> None:
    assert install(hollow, fake).returncode == 0
    before = state(fake)
    held = os.open(fake.parent / "ee", os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused(install(hollow, fake), 5, "another install.sh is at work", "wait")
        refused(install(hollow, fake, "--uninstall"), 5, "another install.sh is at work")
        assert state(fake) == before
    finally:
        os.close(held)
    assert install(hollow, fake, "--uninstall").returncode == 0


def test_a_first_install_that_was_killed_is_taken_over(hollow: Path, fake: Path) -> None:
    slow = FAKE_PYTHON.replace('mkdir -p "$last/bin"', 'mkdir -p "$last"; /bin/sleep 60; exit 9')
    program(fake, "python-x", slow)
    prefix = fake.parent / "ee"
    command = ["sh", hollow / "install.sh", "--python", "python-x", "--prefix", prefix]
    path = f"{fake}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        command, env=os.environ | {"PATH": path}, stdout=subprocess.DEVNULL, start_new_session=True
    ) as first:
        deadline = time.monotonic() + 60
        while not list(prefix.glob("releases/*")):
            assert time.monotonic() < deadline, "no release"
            time.sleep(0.01)
        program(fake, "python-x", FAKE_PYTHON)
        refused(install(hollow, fake), 5, "another install.sh is at work")
        os.killpg(first.pid, signal.SIGKILL)
    assert len(releases(fake)) == 1
    done = install(hollow, fake)
    assert (done.returncode, done.stderr) == (0, "")
    assert releases(fake) == [(prefix / "current").resolve()]


def test_the_last_line_is_a_command_that_a_shell_takes(hollow: Path, fake: Path) -> None:
    prefix = fake.parent / "with space (1)"
    done = run(hollow, "--python", "python-x", "--prefix", prefix, path=fake)
    assert shlex.split(done.stdout.splitlines()[-1].removeprefix("done: ")) == [
        f"{prefix}/current/bin/edge-emotion", "predict",
        "--model", f"{prefix}/current/model/model-int8.tflite", "face.jpg",
    ]  # fmt: skip
    plain = install(hollow, fake).stdout.splitlines()[-1]
    assert "'" not in plain
