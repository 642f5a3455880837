"""``install.sh`` of a bundle, run for real: its refusals, an install, an upgrade, a service."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import edge_emotion
from edge_emotion import InputError
from edge_emotion.bundle import TARGETS, make, make_bundle
from edge_emotion.bundle.make import _write_manifest
from edge_emotion.bundle.targets import FILES
from edge_emotion.faces import BUNDLED
from edge_emotion.fetch import DETECTOR_VARIABLE
from tests import patches
from tests.generated import draw_face, draw_portrait
from tests.test_bundle import fake_own_wheel

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MACHINE = platform.machine()
TARGET = next((t for t in TARGETS.values() if t.machine == MACHINE), None)
RECIPE = "tflite-int8"  # a Pi's, on whatever machine this is
UNIT = "edge-emotion-watch.service"
OWN_WHEEL = f"edge_emotion-{edge_emotion.__version__}-py3-none-any.whl"

pytestmark = pytest.mark.skipif(
    TARGET is None or sys.platform != "linux", reason=f"NO BUNDLE for {MACHINE}: not installed"
)


def run(
    folder: Path,
    *options: str | Path,
    path: Path | None = None,
    home: Path | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """install.sh, with programs in `path` in front of the machine's own; no network for pip."""
    environment = {
        "PATH": os.pathsep.join([*([str(path)] if path else []), os.environ["PATH"]]),
        "HOME": str(home or folder.parent),
        "LC_ALL": "C",
        "PIP_INDEX_URL": "http://127.0.0.1:9",
        "PIP_RETRIES": "0",
        "EDGE_EMOTION_UNITS": str(folder.parent / "units"),
    }
    command = ["sh", str(folder / "install.sh"), "--python", sys.executable, *map(str, options)]
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0:
        command = ["unshare", "-rn", *command]  # no network at all
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=cwd,
        start_new_session=True,  # a Ctrl-C in it is its own
    )  # fmt: skip


def program(folder: Path, name: str, script: str) -> Path:
    """A program in place of the machine's own."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def hollow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle for this machine that cannot be installed, but checked: made without a network."""
    assert TARGET is not None
    monkeypatch.setattr(make, "own_wheel", fake_own_wheel)
    monkeypatch.setattr(make, "download", lambda *_: None)
    return make_bundle(tmp_path / "bundle", TARGET, recipe=RECIPE, pythons=(PYTHON,)).path


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One line on stderr, with these words."""
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("install.sh: ")
    for word in words:
        assert word in line, line


def test_the_check_passes_and_changes_nothing(hollow: Path, tmp_path: Path) -> None:
    done = run(hollow, "--check", "--prefix", tmp_path / "new" / "ee")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"can be installed to {tmp_path}/new/ee" in done.stdout
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bogus"], "unknown option --bogus"),
        (["--prefix"], "--prefix needs a value"),
        (["--prefix", ""], "--prefix needs a value"),
        (["--prefix", "here"], "name it from the root"),
        (["--service", "pictures"], "name the folder from the root"),
        (["--service", "/home/it's"], "choose another"),
        (["--prefix", "/tmp/100%"], "choose another"),
        (["--prefix", "/tmp/a\nb"], "choose another"),
    ],
)
def test_mistyped(hollow: Path, options: list[str], words: str) -> None:
    refused(run(hollow, "--check", *options), 2, words)


def test_help_names_every_option(hollow: Path) -> None:
    done = run(hollow, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    script = (hollow / "install.sh").read_text()
    for option in ("--prefix", "--python", "--system-site-packages", "--service", "--check",
                   "--uninstall", "--help"):  # fmt: skip
        assert f"\n  {option}" in done.stdout
        assert option in script.partition("USAGE\n}")[2]


@pytest.mark.parametrize("machine", ["armv7l", "armv6l", "armv8l", "i686"])
def test_a_32_bit_system_is_told_what_to_use_instead(
    hollow: Path, tmp_path: Path, machine: str
) -> None:
    path = program(tmp_path / "bin", "uname", f"echo {machine}")
    done = run(hollow, "--prefix", tmp_path / "ee", path=path)
    refused(done, 1, f"32-bit system ({machine})", "Install the 64-bit Raspberry Pi OS")
    assert not (tmp_path / "ee").exists()


def test_a_32_bit_system_under_a_64_bit_kernel(hollow: Path, tmp_path: Path) -> None:
    """What the 32-bit Raspberry Pi OS is on a Pi 4 and 5: uname says aarch64."""
    path = program(tmp_path / "bin", "python32", f"echo {PYTHON} 32 glibc 36")
    done = run(hollow, "--prefix", tmp_path / "ee", "--python", path / "python32")
    refused(done, 1, "this is a 32-bit system", "Install the 64-bit Raspberry Pi OS")


def test_another_machine(hollow: Path, tmp_path: Path) -> None:
    other = "x86_64" if MACHINE == "aarch64" else "aarch64"
    path = program(tmp_path / "bin", "uname", f"echo {other}")
    refused(
        run(hollow, path=path), 1, f"is for {MACHINE}, this machine is {other}",
        f"edge-emotion bundle --target {'x86' if other == 'x86_64' else 'pi'}",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ("3.9 64 glibc 36", "is Python 3.9, this bundle is for"),
        ("3.14 64 glibc 36", "3.11 in bookworm, 3.13 in trixie"),
        (f"{PYTHON} 64 glibc 27", "not glibc 2.28 or later"),
        (f"{PYTHON} 64 other 0", "not glibc 2.28 or later"),
    ],
)
def test_a_python_or_system_without_a_wheel(
    hollow: Path, tmp_path: Path, facts: str, words: str
) -> None:
    path = program(tmp_path / "bin", "python-x", f"echo {facts}")
    refused(run(hollow, "--python", path / "python-x"), 1, words)


def test_python_that_is_not_there_or_has_no_venv(hollow: Path, tmp_path: Path) -> None:
    refused(run(hollow, "--python", "python9"), 1, "there is no python9: sudo apt install python3")
    script = f'case "$2" in *ensurepip*) exit 1 ;; esac; exec {sys.executable} "$@"'
    path = program(tmp_path / "bin", "python-x", script)
    refused(run(hollow, "--python", path / "python-x"), 1, "sudo apt install python3-venv")


def test_too_little_space(hollow: Path, tmp_path: Path) -> None:
    table = "echo Filesystem 1024-blocks Used Available; echo /dev/x 9 9 7168 1% /"
    path = program(tmp_path / "bin", "df", table)
    done = run(hollow, "--prefix", tmp_path / "ee", path=path)
    refused(done, 5, "has 7 MB free", "are needed: free space")
    assert not (tmp_path / "ee").exists()


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "no manifest", "bad manifest"])
def test_a_bundle_that_is_not_whole(hollow: Path, tmp_path: Path, damage: str) -> None:
    file = hollow / "model" / "model-int8.tflite"
    data = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
    elif damage == "cut":
        file.write_bytes(data[:-1])
    elif damage == "missing":
        file.unlink()
    elif damage == "no manifest":
        (hollow / "MANIFEST.sha256").unlink()
    else:
        (hollow / "MANIFEST.sha256").write_text("rubbish\n")
    done = run(hollow, "--prefix", tmp_path / "ee")
    refused(done, 1, "MANIFEST" if "manifest" in damage else "model/model-int8.tflite", "again")
    assert not (tmp_path / "ee").exists()


def test_a_folder_with_other_files_is_left_alone(hollow: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    refused(run(hollow, "--prefix", tmp_path / "mine"), 5, "holds other files")
    refused(run(hollow, "--prefix", tmp_path / "mine", "--uninstall"), 1, "nothing there that")
    refused(run(hollow, "--prefix", tmp_path / "mine" / "thesis.txt"), 5, "is a file")
    below = tmp_path / "mine" / "thesis.txt" / "new"
    refused(run(hollow, "--prefix", below, "--check"), 5, "thesis.txt is no folder")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    refused(run(hollow, "--prefix", tmp_path / "dangling", "--check"), 5, "is no folder")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("root", ["/", "//", "/.", "/usr/.."])
def test_the_root_of_everything_is_no_prefix(hollow: Path, root: str) -> None:
    refused(run(hollow, "--prefix", root, "--check"), 5, "holds other files")
    refused(run(hollow, "--prefix", root, "--uninstall"), 1, "nothing there that")


def test_a_relative_python_is_one_of_the_caller_s_folder(hollow: Path, tmp_path: Path) -> None:
    path = program(tmp_path / "bin", "python-x", f"echo {PYTHON} 64 glibc 36")
    options = ("--check", "--prefix", tmp_path / "ee", "--python")
    done = run(hollow, *options, "bin/python-x", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"with {path}/python-x ({PYTHON})" in done.stdout
    refused(run(hollow, *options, "bin/python-x", cwd=path), 1, f"no {path}/bin/python-x")


def test_a_service_wants_root_and_a_folder(hollow: Path, tmp_path: Path) -> None:
    path = program(tmp_path / "bin", "id", "echo 1000")
    place = tmp_path / "pictures"
    done = run(hollow, "--prefix", tmp_path / "ee", "--service", place, path=path)
    refused(done, 5, "use sudo")
    program(path, "id", "echo 0")
    program(path, "systemctl", "exit 0")
    done = run(hollow, "--prefix", tmp_path / "ee", "--service", place, path=path)
    refused(done, 2, "there is no such folder")
    assert not (tmp_path / "ee").exists()


def test_a_failed_install_leaves_nothing(hollow: Path, tmp_path: Path) -> None:
    """The hollow bundle passes its checks, and then pip finds no wheels."""
    done = run(hollow, "--prefix", tmp_path / "new" / "ee")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("install.sh: pip could not install")
    assert not (tmp_path / "new" / "ee").exists()


# --- what is done, with a Python that only makes the files that install.sh goes on with

FAKE_PYTHON = f"""
case $1 in
    -c) case $2 in
            *libc*) echo {PYTHON} 64 glibc 36 ;;
            *numpy*) exit 1 ;;
        esac ;;
    -m) for last; do :; done
        mkdir -p "$last/bin"; printf '#!/bin/sh\\nexit 0\\n' >"$last/bin/python"
        chmod +x "$last/bin/python" ;;
esac"""


#: Not noted: what only asks. The service is what ``log``.is says, or active.
SYSTEMCTL = """
case $1 in is-active)
    is=$(cat {log}.is 2>/dev/null || echo active)
    [ "$2" = --quiet ] || echo "$is"
    [ "$is" = active ] ;;
*) echo systemctl "$@" >>{log} ;; esac"""


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """Programs in place of Python, systemd's and those for accounts; their calls go to ``log``."""
    path = program(tmp_path / "bin", "python-x", FAKE_PYTHON)
    log, account = tmp_path / "log", tmp_path / "account"
    program(path, "systemctl", SYSTEMCTL.format(log=log))
    program(path, "sleep", "exit 0")
    program(path, "getent", f"test -e {tmp_path / 'group'}")
    program(path, "useradd", f'echo useradd "$@" >>{log}; touch {account}')
    program(path, "userdel", f'echo userdel "$@" >>{log}; rm {account}')
    program(path, "id", f"case $1 in -u) echo 0 ;; *) test -e {account} ;; esac")
    (tmp_path / "units").mkdir()
    return path


def install(hollow: Path, fake: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    return run(hollow, "--python", "python-x", "--prefix", fake.parent / "ee", *options, path=fake)


def calls(fake: Path) -> list[str]:
    """What was called since this was asked last."""
    log = fake.parent / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def releases(fake: Path) -> list[Path]:
    return list((fake.parent / "ee" / "releases").iterdir())


def test_a_second_run_takes_the_place_of_the_first(hollow: Path, fake: Path) -> None:
    current = fake.parent / "ee" / "current"
    done = install(hollow, fake)
    assert (done.returncode, done.stderr) == (0, "")
    first = current.resolve()
    assert (first / "model" / "model-int8.tflite").is_file()
    assert install(hollow, fake).returncode == 0
    assert current.resolve() != first
    assert releases(fake) == [current.resolve()]
    assert calls(fake) == []


@pytest.mark.parametrize(
    ("system", "packed", "older"),
    [("1 24", True, True), ("1 24", False, False), ("1 26", False, True), ("2 2", True, False)],
)
def test_beside_a_system_s_numpy_1_a_numpy_1_is_installed(
    hollow: Path, fake: Path, system: str, packed: bool, older: bool
) -> None:
    """Where there is one to install: bookworm's picamera2 does not load beside numpy 2."""
    program(fake, "python-x", FAKE_PYTHON.replace("*numpy*) exit 1", f"*numpy*) echo {system}"))
    if packed:
        (hollow / "wheels" / "numpy-1.26.4-x.whl").touch()
    assert install(hollow, fake, "--system-site-packages").returncode == 0
    pins = fake.parent / "ee" / "current" / "pins.txt"
    assert pins.exists() == older
    if older:
        assert {"numpy>=1.26,<2", "ml-dtypes<0.6"} < set(pins.read_text().split())


@pytest.mark.parametrize("step", ["venv", "pip", "trial", "interrupted"])
def test_what_fails_leaves_the_older_install(hollow: Path, fake: Path, step: str) -> None:
    assert install(hollow, fake).returncode == 0
    before = releases(fake)
    made = {"pip": 'case "$*" in *pip*) exit 9 ;; esac', "trial": "case $1 in -c) exit 9 ;; esac",
            "interrupted": "kill -INT $PPID; exit 130", "venv": ""}[step]  # fmt: skip
    script = FAKE_PYTHON.replace("exit 0\\n", f"{made}\\n".replace("'", "'\\''"))
    if step == "venv":
        script = FAKE_PYTHON.replace('chmod +x "$last/bin/python"', "exit 9")
    program(fake, "python-x", script)
    done = install(hollow, fake)
    code, words = {
        "venv": (5, "python-x -m venv"), "pip": (1, "pip could not install"),
        "trial": (1, "it does not run on this machine"), "interrupted": (130, ""),
    }[step]  # fmt: skip
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert releases(fake) == before == [(fake.parent / "ee" / "current").resolve()]


@pytest.mark.parametrize(
    ("base", "shown"),
    [
        ("/usr", ""),
        ("/home/pi/my pythons/3.13.1", ' "/home/pi/my pythons/3.13.1"'),
        ("/root/.pyenv/versions/3.11.7", ' "/root/.pyenv/versions/3.11.7"'),
    ],
)
def test_a_python_in_a_home_is_shown_to_the_service(
    hollow: Path, fake: Path, base: str, shown: str
) -> None:
    says = f"*libc*) echo {PYTHON} 64 glibc 36 ;;"
    assert says in FAKE_PYTHON
    script = FAKE_PYTHON.replace(says, f"{says} *base_prefix*) echo '{base}' ;;")
    program(fake, "python-x", script)
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    unit = (fake.parent / "units" / UNIT).read_text().splitlines()
    prefix = fake.parent / "ee"
    assert f'BindReadOnlyPaths="{fake.parent}" "{prefix}"{shown}' in unit


def test_a_python_in_a_home_of_an_odd_name_is_refused(hollow: Path, fake: Path) -> None:
    says = f"*libc*) echo {PYTHON} 64 glibc 36 ;;"
    program(fake, "python-x", FAKE_PYTHON.replace(says, f"{says} *base_*) echo '/home/a|b' ;;"))
    refused(install(hollow, fake, "--service", fake.parent), 2, "choose another")


def test_a_service_is_installed_restarted_and_removed(hollow: Path, fake: Path) -> None:
    place, units, prefix = fake.parent / "my pictures", fake.parent / "units", fake.parent / "ee"
    place.mkdir(mode=0o700)
    done = install(hollow, fake, "--service", place)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"the service may not read {place}: chmod o+rx '{place}', or" in done.stdout
    account, *rest = calls(fake)
    assert account.startswith("useradd --system --no-create-home")
    assert rest == [
        "systemctl daemon-reload", f"systemctl restart {UNIT}", f"systemctl enable {UNIT}",
    ]  # fmt: skip
    unit = (units / UNIT).read_text()
    assert f'\nBindReadOnlyPaths="{place}" "{prefix}"\n' in unit
    assert set(re.findall(r"@\S*", unit)) == {"@", "@system-service", "@privileged"}
    assert DETECTOR_VARIABLE not in unit

    # An upgrade restarts it; the account is made once.
    done = install(hollow, fake)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"started anew: the service that watches {place}\n" in done.stdout
    assert calls(fake) == rest[:-1]
    assert (units / UNIT).read_text() == unit
    place.chmod(0o755)
    done = install(hollow, fake, "--service", place)
    assert calls(fake) == rest
    assert "may not read" not in done.stdout

    (prefix / "notes.txt").touch()
    done = run(hollow, "--prefix", prefix, "--uninstall", path=fake)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"kept: {prefix} (it holds files" in done.stdout
    assert calls(fake) == [
        f"systemctl disable --now {UNIT}", "systemctl daemon-reload", "userdel edge-emotion",
    ]  # fmt: skip
    assert [p.name for p in prefix.iterdir()] == ["notes.txt"]
    assert list(units.iterdir()) == []
    assert place.is_dir()


def test_a_service_that_its_owner_has_stopped_stays_so(hollow: Path, fake: Path) -> None:
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    calls(fake)
    (fake.parent / "log.is").write_text("inactive")
    done = install(hollow, fake)
    assert (done.returncode, done.stderr) == (0, "")
    assert calls(fake) == ["systemctl daemon-reload"]
    assert f"stopped, as it was: the service that watches {fake.parent}; " in done.stdout
    (fake.parent / "log.is").write_text("failed")  # by itself: the upgrade may mend it
    refused(install(hollow, fake), 1, "the service does not stay up")
    assert calls(fake) == ["systemctl daemon-reload", f"systemctl restart {UNIT}"] * 2


def test_a_group_that_outlived_its_account_is_joined(hollow: Path, fake: Path) -> None:
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    assert " -g " not in calls(fake)[0]
    assert run(hollow, "--prefix", fake.parent / "ee", "--uninstall", path=fake).returncode == 0
    calls(fake)
    (fake.parent / "group").touch()  # pi had joined it
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    assert calls(fake)[0].endswith("-g edge-emotion edge-emotion")


def test_the_service_can_read_what_was_unpacked_with_a_strict_umask(
    hollow: Path, fake: Path
) -> None:
    for path in (hollow / "model", *(hollow / "model").iterdir(), hollow / "README.txt"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    (release,) = releases(fake)
    for path in (release / "model", *(release / "model").iterdir(), release / "README.txt"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


def test_an_account_that_was_there_before_stays(hollow: Path, fake: Path) -> None:
    (fake.parent / "account").touch()
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    calls(fake)
    assert run(hollow, "--prefix", fake.parent / "ee", "--uninstall", path=fake).returncode == 0
    assert not [call for call in calls(fake) if call.startswith("user")]
    assert not (fake.parent / "ee").exists()


def sign_again(folder: Path) -> None:
    """A changed bundle, as if it had been made so."""
    (folder / "MANIFEST.sha256").unlink()
    _write_manifest(folder)


def add_detector(hollow: Path) -> None:
    """The stub's file: FAKE_PYTHON's trial does not look at it."""
    (hollow / BUNDLED).parent.mkdir()
    shutil.copy(patches.FILE, hollow / BUNDLED)
    sign_again(hollow)


def test_a_detector_is_installed_beside_the_model_and_named_in_the_unit(
    hollow: Path, fake: Path
) -> None:
    add_detector(hollow)
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    prefix = fake.parent / "ee"
    assert (prefix / "current" / BUNDLED).read_bytes() == patches.FILE.read_bytes()
    unit = (fake.parent / "units" / UNIT).read_text()
    assert f'\nEnvironment="{DETECTOR_VARIABLE}={prefix}/current/{BUNDLED}"\n' in unit


def test_a_bundle_without_a_detector_leaves_the_installed_one(hollow: Path, fake: Path) -> None:
    """The unit names it, and answers must not become those of whole pictures by an upgrade."""
    add_detector(hollow)
    assert install(hollow, fake).returncode == 0
    first = (fake.parent / "ee" / "current").resolve()
    shutil.rmtree(hollow / "detector")
    sign_again(hollow)
    assert install(hollow, fake, "--service", fake.parent).returncode == 0
    current = (fake.parent / "ee" / "current").resolve()
    assert current != first
    assert not first.exists()
    assert (current / BUNDLED).read_bytes() == patches.FILE.read_bytes()
    assert DETECTOR_VARIABLE in (fake.parent / "units" / UNIT).read_text()


# --- for real


def make_whole(out: Path, detector: Path | None = None) -> Path:
    """A bundle for this machine and Python, with all wheels."""
    assert TARGET is not None
    try:
        return make_bundle(out, TARGET, recipe=RECIPE, detector=detector, pythons=(PYTHON,)).path
    except InputError as error:
        ask = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "typer"]
        asked = subprocess.run(ask, cwd=out.parent, capture_output=True, check=False)
        if asked.returncode == 0:
            raise  # the registry answers: it is a pin that it does not have
        pytest.skip(f"NO PACKAGE REGISTRY: nothing is installed: {error}")


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return make_whole(tmp_path / "bundle")


def test_installed_from_the_bundle_alone(whole: Path, fake: Path) -> None:
    prefix, place = fake.parent / "with space", fake.parent / "my pictures"
    place.mkdir()
    draw_face("happy", 1).save(place / "a.png")
    done = run(whole, "--prefix", prefix, "--service", place, path=fake)
    assert (done.returncode, done.stderr) == (0, "")

    # What the unit would start, with results elsewhere, and once.
    unit = (fake.parent / "units" / UNIT).read_text()
    (line,) = [x for x in unit.splitlines() if x.startswith("ExecStart=")]
    out = fake.parent / "r.jsonl"
    line = line.removeprefix("ExecStart=").replace("/var/lib/edge-emotion/results.jsonl", str(out))
    subprocess.run(f"{line} --once", shell=True, check=True, capture_output=True)
    assert json.loads(out.read_text())["path"] == str(place / "a.png")

    # It makes the bundle that it came from, without the source tree.
    assert TARGET is not None
    subprocess.run(
        [prefix / "current" / "bin" / "edge-emotion", "bundle", "--no-wheels", "--target",
         TARGET.name, "--recipe", RECIPE, "--python", PYTHON, "--out", fake.parent / "again"],
        check=True, capture_output=True,
    )  # fmt: skip
    for name in ("model/model-int8.tflite", "model/card.json", "pins.txt", UNIT):
        assert (fake.parent / "again" / name).read_bytes() == (whole / name).read_bytes()
    wheels = [folder / "wheels" / OWN_WHEEL for folder in (whole, fake.parent / "again")]
    contents = []
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            contents.append({n: archive.read(n) for n in archive.namelist() if "RECORD" not in n})
    assert contents[0] == contents[1]


@pytest.mark.shared
def test_an_installed_detector_is_found_by_all_that_look_for_it(
    tmp_path: Path, fake: Path, real_yunet: Path
) -> None:
    whole = make_whole(tmp_path / "bundle", real_yunet)
    prefix, place = fake.parent / "with space", fake.parent / "pictures"
    place.mkdir()
    photograph = Image.new("RGB", (640, 480), "grey")
    photograph.paste(draw_portrait(240), (100, 60))
    photograph.save(place / "a.png")
    Image.new("RGB", (640, 480), "grey").save(place / "b.png")
    done = run(whole, "--prefix", prefix, "--service", place, path=fake)
    assert (done.returncode, done.stderr) == (0, "")
    found, model = prefix / "current" / BUNDLED, prefix / "current" / "model" / "model-int8.tflite"

    # The unit, by the variable in it.
    lines = (fake.parent / "units" / UNIT).read_text().splitlines()
    assert f'Environment="{DETECTOR_VARIABLE}={found}"' in lines
    (line,) = [x.removeprefix("ExecStart=") for x in lines if x.startswith("ExecStart=")]
    out = fake.parent / "r.jsonl"
    line = line.replace("/var/lib/edge-emotion/results.jsonl", str(out))
    named = os.environ | {DETECTOR_VARIABLE: str(found)}
    subprocess.run(f"{line} --once", shell=True, check=True, capture_output=True, env=named)
    rows = sorted(map(json.loads, out.read_text().splitlines()), key=lambda row: str(row["path"]))
    assert [len(row["faces"]) for row in rows] == [1, 0]

    # The command line and a program of the user's, without one.
    done = subprocess.run(
        [prefix / "current/bin/edge-emotion", "predict", "--json", "--model", model, place],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "reading each picture as one face" not in done.stderr
    assert [len(json.loads(row)["faces"]) for row in done.stdout.splitlines()] == [1, 0]
    program = (
        "import sys; from edge_emotion import Predictor;"
        "print(*[len(Predictor(sys.argv[1]).predict_faces(p)) for p in sys.argv[2:]])"
    )
    done = subprocess.run(
        [prefix / "current/bin/python", "-c", program, model, place / "a.png", place / "b.png"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "1 0\n"

    # A damaged one is not carried over: nothing is changed.
    found.write_bytes(b"rotten")
    shutil.rmtree(whole / "detector")
    sign_again(whole)
    done = run(whole, "--prefix", prefix, path=fake)
    assert done.returncode == 1
    assert "damaged, or not" in done.stderr
    assert found.read_bytes() == b"rotten"


# --- what others say of the files


def test_shellcheck_has_nothing_to_say() -> None:
    # That of the group dev lies beside this Python, whose folder need not be on the path.
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    shellcheck = shutil.which("shellcheck", path=places)
    if shellcheck is None:
        pytest.skip("NO SHELLCHECK: install.sh is not checked (apt install shellcheck)")
    done = subprocess.run(
        [shellcheck, str(FILES / "install.sh")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_systemd_takes_the_unit_and_calls_it_safe(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("NO SYSTEMD: the unit is not verified")
    text = (FILES / UNIT).read_text()
    (tmp_path / "ee" / "current" / "bin").mkdir(parents=True)
    program(tmp_path / "ee" / "current" / "bin", "edge-emotion", "")
    for word, value in (("PREFIX", tmp_path / "ee"), ("FOLDER", "/home/pi/my pictures"),
                        ("MODEL", "model-int8.tflite"),
                        ("PYTHON", ' "/home/pi/.pyenv/versions/3.13.1"')):  # fmt: skip
        text = text.replace(f"@{word}@", str(value))
    (tmp_path / UNIT).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / UNIT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if UNIT in line] == []
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager",
         str(tmp_path / UNIT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unrecognized option" in done.stderr:
        pytest.skip("OLD SYSTEMD: the unit's exposure is not computed")
    assert done.returncode == 0, done.stdout  # 1.5 of 10


def test_these_tests_have_a_python_for_which_wheels_exist() -> None:
    assert PYTHON in ("3.11", "3.12", "3.13")
    assert sysconfig.get_platform() == f"linux-{MACHINE}"
