#!/bin/sh
# Installs edge-emotion from this folder. Checks everything before it changes anything; can be run
# again, to repair or to upgrade. `sh install.sh --help` has the options.
set -eu

# Written by `edge-emotion bundle`.
VERSION='@VERSION@'
MACHINE='@MACHINE@'     # as uname -m has it
PYTHONS='@PYTHONS@'     # whose wheels are here
EXTRA='@EXTRA@'         # what the model needs beside the base install
MODEL='@MODEL@'         # file in model/
NEED_MB='@NEED_MB@'     # MiB of an install
OFFLINE='@OFFLINE@'     # yes: all wheels are here; no: pip gets them from the network
GLIBC_MINOR='@GLIBC_MINOR@'

UNIT=edge-emotion-watch.service
UNIT_FILE=${EDGE_EMOTION_UNITS:-/etc/systemd/system}/$UNIT
ACCOUNT=edge-emotion

usage() {
    cat <<USAGE
Usage: sh install.sh [OPTIONS]

Installs edge-emotion $VERSION, for Python $PYTHONS on $MACHINE, with the model $MODEL.

  --prefix DIR            where to [default: /opt/edge-emotion for root,
                          ~/.local/share/edge-emotion otherwise]
  --python PROGRAM        which Python [default: python3]
  --system-site-packages  let programs in the install see what apt installed, such as picamera2
  --service FOLDER        as root: a systemd service that predicts each new picture in FOLDER;
                          results in /var/lib/edge-emotion/results.jsonl
  --check                 only check whether it could be installed
  --uninstall             remove what install.sh made at --prefix, service included
  --help                  this text

Exit codes: 0 done, 1 this machine or this bundle will not do, 2 usage, 5 cannot write there,
130 interrupted.
USAGE
}

say() {
    printf '%s\n' "$*"
}

# refuse CODE WORDS: one line on stderr, and the end.
refuse() {
    code=$1
    shift
    printf 'install.sh: %s\n' "$*" >&2
    exit "$code"
}

# A path as a shell reads it. (' is refused below.)
quoted() {
    case $1 in
        *[!A-Za-z0-9/._+@-]*) printf "'%s'" "$1" ;;
        *) printf '%s' "$1" ;;
    esac
}

# --- what is asked for -------------------------------------------------------------------------

caller=$(pwd)
cd "$(dirname "$0")"
here=$(pwd)

prefix=
python=python3
system_packages=
folder=
action=install
while [ $# -gt 0 ]; do
    case $1 in
        --prefix | --python | --service)
            [ $# -ge 2 ] || refuse 2 "$1 needs a value; see --help"
            [ -n "$2" ] || refuse 2 "$1 needs a value that is not empty; see --help"
            case $1 in
                --prefix) prefix=$2 ;;
                --python) python=$2 ;;
                --service) folder=$2 ;;
            esac
            shift
            ;;
        --system-site-packages) system_packages=--system-site-packages ;;
        --check) action=check ;;
        --uninstall) action=uninstall ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) refuse 2 "unknown option $1; see --help" ;;
    esac
    shift
done

if [ -z "$prefix" ]; then
    if [ "$(id -u)" = 0 ]; then
        prefix=/opt/edge-emotion
    else
        prefix=${HOME:?}/.local/share/edge-emotion
    fi
fi
case $prefix in
    /*) ;;
    *) refuse 2 "--prefix $prefix: name it from the root, as in /opt/edge-emotion" ;;
esac
[ "$prefix" = / ] || prefix=${prefix%/}
case $python in
    /*) ;;
    */*) python=$caller/$python ;;
esac
case $folder in
    '' | /*) ;;
    *) refuse 2 "--service $folder: name the folder from the root, as in /home/pi/pictures" ;;
esac
[ "$folder" = / ] || folder=${folder%/}

# What stands in the unit is read by systemd, where these mean something.
check_names() {
    case $1 in
        *[\"\'\\%\$:\|\&]* | *"
"*) refuse 2 "one of the characters \" ' \\ % \$ : | & or a line break is in the name of a folder: choose another" ;;
    esac
}
check_names "$prefix$folder"

# A file that only install.sh writes: what it says is install.sh's to remove.
mark=$prefix/.installed-by-edge-emotion

# Two at work at one --prefix would delete each other's release. The kernel lets go of a lock when
# its holders have ended, however they did. Where there are no locks (some NFS), there are none.
lock() {
    exec 9<"$prefix"
    flock -n -E 75 9 2>/dev/null ||
        [ $? != 75 ] || refuse 5 "another install.sh is at work on $prefix: wait until it is done"
}

# --- removing ----------------------------------------------------------------------------------

has_service() {
    [ -f "$mark" ] && grep -qx service "$mark"
}

# The unit that is there runs what is at this --prefix.
has_unit() {
    has_service && [ -f "$UNIT_FILE" ] && grep -qF "\"$prefix/current/bin/" "$UNIT_FILE"
}

remove_service() {
    if has_unit; then
        systemctl disable --now "$UNIT" || say "the service could not be stopped"
        rm -f "$UNIT_FILE"
        systemctl daemon-reload || true
    fi
    if [ ! -f "$UNIT_FILE" ] && grep -qx account "$mark" && id "$ACCOUNT" >/dev/null 2>&1; then
        userdel "$ACCOUNT" || say "the account $ACCOUNT could not be removed"
    fi
    [ ! -e /var/lib/edge-emotion ] || say "kept: /var/lib/edge-emotion (your results)"
}

if [ "$action" = uninstall ]; then
    [ -f "$mark" ] || refuse 1 "$prefix: nothing there that install.sh made; name its --prefix"
    [ -w "$prefix" ] || refuse 5 "$prefix is not yours to remove: use sudo"
    if has_service; then
        [ "$(id -u)" = 0 ] || refuse 5 "a service was installed: use sudo"
    fi
    lock
    if has_service; then
        remove_service
    fi
    rm -rf "$prefix/releases"
    rm -f "$prefix/current" "$mark"
    rmdir "$prefix" 2>/dev/null || say "kept: $prefix (it holds files that install.sh did not make)"
    say "removed edge-emotion from $prefix"
    exit 0
fi

# --- checks: nothing is changed before all of them passed ---------------------------------------

no_32_bit="this is a 32-bit system ($(uname -m)): there are no 32-bit wheels of onnxruntime. \
Install the 64-bit Raspberry Pi OS (Pi 3, 4, 5, Zero 2 W); a Pi 1, 2 or Zero cannot run it: \
let it send its pictures to a machine that can"

machine=$(uname -m)
case $machine in
    armv[0-9]* | arm | i[3-6]86) refuse 1 "$no_32_bit" ;;
    "$MACHINE") ;;
    *)
        refuse 1 "this bundle is for $MACHINE, this machine is $machine: make another one with" \
            "edge-emotion bundle --target $(case $machine in aarch64) echo pi ;; *) echo x86 ;; esac)"
        ;;
esac

command -v "$python" >/dev/null 2>&1 ||
    refuse 1 "there is no $python: sudo apt install python3 python3-venv"
facts=$("$python" -c '
import platform, struct, sys
libc, version = platform.libc_ver()
print("%d.%d" % sys.version_info[:2], struct.calcsize("P") * 8, libc or "other",
      (version.split(".") + ["0"])[1] if libc else "0")') ||
    refuse 1 "$python does not run: sudo apt install python3 python3-venv"
# shellcheck disable=SC2086
set -- $facts
version=$1 bits=$2 libc=$3 libc_minor=$4

# A Pi 4 or 5 runs a 64-bit kernel under the 32-bit system too, so uname alone does not tell.
[ "$bits" = 64 ] || refuse 1 "$no_32_bit"
if [ "$libc" != glibc ] || [ "$libc_minor" -lt "$GLIBC_MINOR" ]; then
    refuse 1 "this system's C library is not glibc 2.$GLIBC_MINOR or later, for which the wheels are" \
        "made: use the Raspberry Pi OS or Debian, bookworm or trixie"
fi
case " $PYTHONS " in
    *" $version "*) ;;
    *)
        refuse 1 "$python is Python $version, this bundle is for $PYTHONS: name another one by" \
            "--python, or make a bundle with edge-emotion bundle --python $version" \
            "(3.11 to 3.13; the Raspberry Pi OS has 3.11 in bookworm, 3.13 in trixie)"
        ;;
esac
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    refuse 1 "$python has no venv module: sudo apt install python3-venv"

# The bundle: every file whole. (dd and cp of a full card end without a word.)
[ -f MANIFEST.sha256 ] || refuse 1 "MANIFEST.sha256 is missing: copy the whole bundle again"
damaged=$(sha256sum -c --strict --quiet MANIFEST.sha256 2>/dev/null | head -n 1) || true
[ -z "$damaged" ] || refuse 1 "damaged or missing: ${damaged%%:*}: copy the bundle again"
sha256sum -c --strict --status MANIFEST.sha256 2>/dev/null ||
    refuse 1 "MANIFEST.sha256 is damaged: copy the bundle again"

# The place.
if [ -e "$prefix" ] && [ ! -f "$mark" ]; then
    [ -d "$prefix" ] || refuse 5 "$prefix is a file: name another --prefix"
    [ -z "$(ls -A "$prefix")" ] ||
        refuse 5 "$prefix holds other files: name a --prefix that is new or empty"
fi
parent=$prefix
while [ ! -e "$parent" ] && [ ! -L "$parent" ]; do
    parent=$(dirname "$parent")
done
[ -d "$parent" ] || refuse 5 "$parent is no folder, so nothing can be below it: name another --prefix"
[ -w "$parent" ] || refuse 5 "cannot write to $parent: use sudo, or name another --prefix"
free=$(df -Pk "$parent" | awk 'NR == 2 { print int($4 / 1024) }')
[ "${free:-0}" -ge "$NEED_MB" ] ||
    refuse 5 "$parent has $free MB free, $NEED_MB MB are needed: free space, or name another --prefix"

if [ -n "$folder" ]; then
    [ "$(id -u)" = 0 ] || refuse 5 "--service needs root: use sudo"
    [ -d "$folder" ] || refuse 2 "--service $folder: there is no such folder: make it first"
fi
# An upgrade writes the unit anew: another bundle may have another model, or detector, to name in it.
watched=$folder
if [ -z "$folder" ] && has_unit; then
    [ "$(id -u)" = 0 ] || refuse 5 "a service was installed: use sudo"
    watched=$(sed -n 's/^RequiresMountsFor="\(.*\)"$/\1/p' "$UNIT_FILE")
    case $watched in
        /*) check_names "$watched" ;;
        *) refuse 1 "$UNIT_FILE does not say which folder it watches: name it, --service FOLDER" ;;
    esac
fi
if [ -n "$watched" ]; then
    command -v systemctl >/dev/null 2>&1 ||
        refuse 1 "--service needs systemd, which is not here; run edge-emotion watch by other means"
fi
# Homes are hidden from the service; a Python that lies in one, such as pyenv's, is shown to it.
shown=
if [ -n "$watched" ]; then
    base=$("$python" -c 'import sys; print(sys.base_prefix)') || base=
    case $base in
        /home/* | /root/* | /run/user/*)
            check_names "$base"
            shown=" \"$base\""
            ;;
    esac
fi

if [ "$action" = check ]; then
    say "edge-emotion $VERSION can be installed to $prefix with $python ($version)"
    exit 0
fi

# --- installing: a new release beside the old one, tried, then swapped in ------------------------

umask 022
first=         # yes: nothing was installed here
new=           # the release, until it is in use for good
older=         # the release in use before
swapped=       # yes: `current` leads to the new one
account_made=  # yes: by this run
unit_saved=    # yes: the unit that was there is in .older
unit_written=  # yes: by this run
was=inactive   # the unit that is there

# Backwards through what was done, whatever becomes of each step.
undo() {
    set +e
    if [ -n "$unit_written" ] && [ -z "$unit_saved" ]; then
        systemctl disable --now "$UNIT"
        rm -f "$UNIT_FILE"
    fi
    if [ -n "$swapped" ] && [ -n "$older" ]; then
        lead_to "$older" || { rm -rf "$new"; lead_to "$older"; } # a full disk
    elif [ -n "$swapped" ]; then
        rm -f "$prefix/current"
    fi
    [ -z "$unit_saved" ] || mv "$UNIT_FILE.older" "$UNIT_FILE"
    if [ -n "$unit_written" ]; then
        systemctl daemon-reload
        [ "$was" = inactive ] || systemctl restart "$UNIT"
    fi
    [ -z "$account_made" ] || userdel "$ACCOUNT"
    [ -z "$new" ] || rm -rf "$new"
    rm -f "$prefix/.current.$$" "$UNIT_FILE.new"
    if [ -n "$first" ]; then
        rm -f "$mark"
        rmdir "$prefix/releases" "$prefix"
    fi
}

clean() {
    code=$?
    trap - EXIT
    trap '' INT TERM HUP # half undone is worse than waiting
    [ -z "$first$new" ] || undo >/dev/null 2>&1
    exit "$code"
}

lead_to() {
    ln -s "$1" "$prefix/.current.$$" && mv -T "$prefix/.current.$$" "$prefix/current"
}

# attempt CODE COMMAND: what it says is said only if it fails, the first line of it.
attempt() {
    code=$1
    shift
    said=$("$@" 2>&1) || refuse "$code" "$1 failed, and everything is as it was:" \
        "$(printf '%s\n' "$said" | head -n 1)"
}

mkdir -p "$prefix" || refuse 5 "cannot make $prefix"
lock
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ ! -f "$mark" ]; then
    first=yes
    touch "$mark" || refuse 5 "cannot write to $prefix"
fi
mkdir -p "$prefix/releases" || refuse 5 "cannot make $prefix/releases"
older=$(readlink "$prefix/current") || older=
new=$prefix/releases/$VERSION-$(date +%Y%m%d-%H%M%S)-$$

say "installing edge-emotion $VERSION to $prefix (a minute or two on a Pi) ..."
# shellcheck disable=SC2086
"$python" -m venv $system_packages "$new" || refuse 5 "$python -m venv $new failed"

wanted=edge-emotion${EXTRA:+[$EXTRA]}==$VERSION
pins=$here/pins.txt
if [ -n "$system_packages" ]; then
    # apt's picamera2 is built for apt's numpy, and numpy 1 and 2 do not mix: beside a numpy 1 a
    # numpy 1 is installed, if there is one that edge-emotion takes.
    numpy=$("$python" -c 'import numpy; print(*numpy.__version__.split(".")[:2])' 2>/dev/null) || numpy=
    case $numpy in
        '1 2'[6-9]) numpy=1 ;;
        '1 '*) if [ "$OFFLINE" = no ] || [ -n "$(find wheels -name 'numpy-1.*')" ]; then numpy=1; fi ;;
    esac
    if [ "$numpy" = 1 ]; then
        sed -e 's/^numpy==.*/numpy>=1.26,<2/' -e 's/^ml-dtypes==.*/ml-dtypes<0.6/' \
            "$pins" >"$new/pins.txt"
        pins=$new/pins.txt
    fi
fi
set -- --disable-pip-version-check -q install --no-cache-dir --constraint "$pins" "$wanted"
if [ "$OFFLINE" = yes ]; then
    # Only from here, whatever the machine's pip is told elsewhere.
    PIP_CONFIG_FILE=/dev/null "$new/bin/python" -m pip --isolated "$@" --no-index \
        --find-links "$here/wheels" || refuse 1 "pip could not install; what it said is above"
else
    "$new/bin/python" -m pip "$@" --find-links "$here/wheels" ||
        refuse 1 "pip could not install (this bundle has no wheels: is there a network?)"
fi
cp -R model README.txt "$new/"
# What finds faces stays when a bundle without it takes the place of one that had it.
if [ -d detector ]; then
    cp -R detector "$new/"
elif [ -d "$prefix/current/detector" ]; then
    cp -R "$prefix/current/detector" "$new/"
fi
# Whatever the umask was when the bundle was unpacked: the service is another user.
chmod -R u=rwX,go=rX "$new/model" "$new/README.txt"
[ ! -d "$new/detector" ] || chmod -R u=rwX,go=rX "$new/detector"

# onnxruntime's wheels report to Microsoft unless told not to.
export ORT_DISABLE_TELEMETRY=1
# What does not run here must not take the place of what does.
"$new/bin/python" -c '
import sys
from pathlib import Path
from PIL import Image
from edge_emotion import Predictor, open_finder
model, detector = map(Path, sys.argv[1:])
picture = Image.new("RGB", (96, 96), "grey")
Predictor(model).predict(picture)
if detector.parent.exists():
    open_finder("yunet", detector=detector).find(picture)
' "$new/model/$MODEL" "$new/detector/yunet.onnx" 2>"$new/tried" || {
    cat "$new/tried" >&2
    refuse 1 "it does not run on this machine; what it said is above; the older install is as it was"
}
rm -f "$new/tried"

sync # a power cut must not find names on the card and no contents
swapped=yes
lead_to "releases/${new##*/}" || refuse 5 "cannot write to $prefix; the older install is as it was"

if [ -n "$watched" ]; then
    if ! id "$ACCOUNT" >/dev/null 2>&1; then
        group= # kept, after an earlier install, by those who had joined it
        ! getent group "$ACCOUNT" >/dev/null 2>&1 || group=yes
        attempt 5 useradd --system --no-create-home --home-dir /nonexistent \
            --shell /usr/sbin/nologin ${group:+-g "$ACCOUNT"} "$ACCOUNT"
        account_made=yes
    fi
    drop='/EDGE_EMOTION_DETECTOR/d'
    [ ! -d "$new/detector" ] || drop=
    if [ -f "$UNIT_FILE" ]; then
        attempt 5 cp -p "$UNIT_FILE" "$UNIT_FILE.older" # systemd passes over such a name
        unit_saved=yes
        was=$(systemctl is-active "$UNIT") || true
    fi
    { sed -e "$drop" -e "s|@PREFIX@|$prefix|g" -e "s|@FOLDER@|$watched|g" -e "s|@PYTHON@|$shown|" \
        "$here/$UNIT" >"$UNIT_FILE.new"; } 2>/dev/null ||
        refuse 5 "cannot write $UNIT_FILE, and everything is as it was: free space, and try again"
    unit_written=yes
    attempt 5 mv "$UNIT_FILE.new" "$UNIT_FILE"
    attempt 1 systemctl daemon-reload
    start=$folder
    [ "$was" = inactive ] || start=yes # one that its owner has stopped stays so
    if [ -n "$start" ]; then
        attempt 1 systemctl restart "$UNIT"
        sleep 5 # what ends, ends at once
        systemctl is-active --quiet "$UNIT" || refuse 1 "the service does not stay up, and" \
            "everything is as it was: journalctl -u $UNIT tells why"
    fi
    [ -z "$folder" ] || attempt 1 systemctl enable "$UNIT"
    [ -z "$account_made" ] || say account >>"$mark"
    has_service || say service >>"$mark"
fi
installed=$new
first='' new='' # for good
rm -f "$UNIT_FILE.older"

if [ -n "$folder" ]; then
    case $(stat -L -c %A "$folder") in
        d??????r?[xt]) ;;
        *) say "the service may not read $folder: chmod o+rx $(quoted "$folder"), or" \
            "setfacl -m u:$ACCOUNT:rx $(quoted "$folder")" ;;
    esac
    say "watching $folder; results in /var/lib/edge-emotion/results.jsonl;" \
        "what it says: journalctl -u $UNIT"
elif [ -n "$watched" ] && [ -z "$start" ]; then
    say "stopped, as it was: the service that watches $watched; systemctl start $UNIT starts it"
elif [ -n "$watched" ]; then
    say "started anew: the service that watches $watched"
fi

sync # the old release goes when the new one is on the card
for old in "$prefix"/releases/*; do
    [ "$old" = "$installed" ] || rm -rf "$old"
done
say "done: $(quoted "$prefix/current/bin/edge-emotion") predict" \
    "--model $(quoted "$prefix/current/model/$MODEL") face.jpg"
