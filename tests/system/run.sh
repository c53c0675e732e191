#!/bin/bash
# System tests: real processes, a real FUSE mount. run.sh [NAME...] runs tests/system/NAME.sh.
# Ends in `N passed, N failed`; leaves nothing behind.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$top/$BUILD ;; esac
export PAXFS=${PAXFS:-$BUILD/paxfs}
unset MAKEFLAGS MFLAGS # those of the make that started this are not for the makes that are tested

cannot() {
	echo "system tests: $*" >&2
	echo "0 passed, 1 failed"
	exit 1
}
[ -x "$PAXFS" ] || cannot "$PAXFS is not built: run make"
[ "$(id -u)" -eq 0 ] || cannot "mounting needs root: run as root, or with sudo"
[ -c /dev/fuse ] || cannot "there is no /dev/fuse: modprobe fuse, or give the container the device"
for tool in sqlite3 git setfattr getfattr setfacl setcap rsync gcc make; do
	command -v "$tool" >/dev/null || cannot "$tool is missing: run ./deps.sh"
done

export PROG=$BUILD/tests/system
for program in lockplay damage fdplay ackwriter coherence hugeplay renamewatch badframes histload faultproxy \
	faultio.so ../check/histcheck; do
	[ -x "$PROG/$program" ] || cannot "$PROG/$program is not built: run make helpers"
done

if [ $# -eq 0 ]; then
	set -- cli tools rename two_mounts unlinked coherence locks acl fsck outage kill_nodes kill_mount catch_up \
		bad_input embedded partition bad_disk full_disk clocks nemesis \
		huge
fi
passed=0
failed=0
for name in "$@"; do
	file=$here/$name.sh
	[ -f "$file" ] || cannot "no such test: $name"
	echo "$name"
	begin=$SECONDS
	out=$(timeout -k 60 1200 bash "$file" 2>&1) # a test that hangs is a failure, not a hung run
	echo "  ($((SECONDS - begin)) s)"
	echo "$out" | sed '$d'
	if [[ $(echo "$out" | tail -n 1) =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
	else
		echo "  FAIL  $name ended without a verdict: $(echo "$out" | tail -n 1)"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
