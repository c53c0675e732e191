#!/bin/bash
# The POSIX suite on real mounts: run.sh [SUITE[/CASE]]. Every case runs on one mount; and once more with the
# checks made through another mount of the same store. Ends in `N passed, N failed`; leaves nothing behind.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$top/$BUILD ;; esac
export PAXFS=${PAXFS:-$BUILD/paxfs}
export PROG=$BUILD/tests/posix
export ONLY_CASES=${1:-}

cannot() {
	echo "POSIX suite: $*" >&2
	echo "0 passed, 1 failed"
	exit 1
}
[ -x "$PAXFS" ] || cannot "$PAXFS is not built: run make"
[ -x "$PROG/posix_probe" ] || cannot "$PROG/posix_probe is not built: run make helpers"
[ "$(id -u)" -eq 0 ] || cannot "mounting needs root: run as root, or with sudo"
[ -c /dev/fuse ] || cannot "there is no /dev/fuse: modprobe fuse, or give the container the device"

# shellcheck source=tests/system/lib.sh
. "$top/tests/system/lib.sh"
trap cleanup EXIT
trap 'exit 1' INT TERM

chmod 755 "$T" # cases become other users
store_up "${NODES:-1}" 4 >"$T/up.log" 2>&1 || {
	cat "$T/up.log"
	cannot "the store does not start"
}
second_mount >>"$T/up.log" 2>&1 || cannot "the second mount: $(tail -1 "$T/up.log")"

passed=0
failed=0
local_only=
probe() { # probe NAME DIR [SAME_DIR]
	local name=$1 log=$T/$1.log
	shift
	mkdir "$1"
	# shellcheck disable=SC2086 # a flag or nothing
	timeout -k 10 1200 "$PROG/posix_probe" $local_only ${ONLY_CASES:+-o "$ONLY_CASES"} "$@" >"$log" 2>&1
	echo "$name: $(tail -n 1 "$log")"
	sed '$d' "$log"
	if [[ $(tail -n 1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
	else
		failed=$((failed + 1))
	fi
}
if [ "$(stat -f -c %T "$T")" = ext2/ext3 ]; then # what the cases say of other file systems holds there
	local_only=-l
	probe ext4 "$T/ext4"
	local_only=
else
	echo "not run on the disk: $T is not on ext4"
fi
probe one_mount "$MNT/one"
probe two_mounts "$MNT/two" "$MNT2/two"
probe back "$MNT2/back" "$MNT/back"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
