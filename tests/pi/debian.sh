#!/usr/bin/env bash
# Unpacks Debian packages and all that they depend on into a folder, from the mirror, by an apt
# state of its own: nothing is installed on this machine, no maintainer script runs.
#
#     debian.sh SUITE ARCHITECTURE FOLDER PACKAGE...
#
# A folder that is there and was made from the same arguments is kept. Downloads stay in
# FOLDER.apt, for the next time.
set -euo pipefail

suite=$1 arch=$2 root=$3
shift 3
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
wanted="$suite $arch $mirror $*"
if [ "$(cat "$root/.made-from" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

mkdir -p "$root.apt"
state=$(cd "$root.apt" && pwd)
mkdir -p "$state/lists/partial" "$state/archives/partial"
: >"$state/status" # nothing is installed, so apt names every dependency
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keys" ] || {
    echo "no $keys: sudo apt install debian-archive-keyring" >&2
    exit 1
}
echo "deb [signed-by=$keys] $mirror $suite main" >"$state/sources.list"

debian() {
    apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures="$arch" \
        -o APT::Install-Recommends=false -o APT::Sandbox::User="$(id -un)" \
        -o Acquire::Languages=none -o Acquire::Retries=3 \
        -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State="$state" -o Dir::State::status="$state/status" \
        -o Dir::Cache="$state" -o Dir::Cache::archives="$state/archives" \
        "$@" </dev/null
}
debian update
# By name, since an earlier download may lie beside its successor; asked for with no download at
# hand, since apt leaves out what it has.
mkdir -p "$state/none/partial"
names=$(debian install --yes --print-uris -o Dir::Cache::archives="$state/none" "$@" |
    awk '$2 ~ /\.deb$/ {print $2}')
[ -n "$names" ] || {
    echo "apt names no package for: $*" >&2
    exit 1
}
debian install --yes --download-only "$@"

rm -rf "$root" "$root.new"
mkdir -p "$root.new"
# One tree, as on every Debian since bookworm: /lib is a link to /usr/lib.
mkdir -p "$root.new"/usr/{bin,lib,lib64,sbin}
for name in bin lib lib64 sbin; do
    ln -s "usr/$name" "$root.new/$name"
done
for name in $names; do
    dpkg-deb --fsys-tarfile "$state/archives/$name" |
        tar -x --keep-directory-symlink -C "$root.new"
done
echo "$wanted" >"$root.new/.made-from"
mv "$root.new" "$root"
