#!/bin/bash
# Installs the Debian packages that paxfs needs to be built, run and tested: those that are missing.
# `deps.sh --check` only says which.
set -euo pipefail

packages=(
	# build
	gcc make pkg-config git
	libfuse3-dev libuv1-dev libmsgpack-dev librocksdb-dev libssl-dev libbsd-dev uthash-dev
	libjansson-dev
	# run
	fuse3
	# test
	clang libclang-rt-dev
	libcunit1-dev shellcheck spin sqlite3 acl attr libcap2-bin rsync iproute2 procps faketime
)

die() {
	printf 'deps: %s\n' "$*" >&2
	exit 1
}

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	die "not a Debian system; install the counterparts of: ${packages[*]}"
fi

missing=()
for package in "${packages[@]}"; do
	is_installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi
if [ "${1:-}" = --check ]; then
	die "missing: ${missing[*]}"
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null ||
		die "root is needed to install packages; as root, run: apt-get install ${missing[*]}"
	as_root=(sudo)
fi

echo "deps: installing ${missing[*]}"
"${as_root[@]}" apt-get update -q ||
	die "apt-get update failed: is the network up, are the package sources right?"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
	apt-get install -q -y --no-install-recommends "${missing[@]}" ||
	die "apt-get could not install: ${missing[*]}"
