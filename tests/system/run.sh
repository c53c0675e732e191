#!/bin/bash
# System tests: real processes, a real FUSE mount. run.sh [NAME...] runs tests/system/NAME.sh, three at a time.
# Ends in `N passed, N failed`; leaves nothing behind.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$top/$BUILD ;; esac
export PAXFS=${PAXFS:-$BUILD/paxfs}
passed=0
failed=0
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

if [ $# -eq 0 ]; then # the long ones first
	set -- kill_nodes tools huge outage fsck nemesis locks clocks full_disk bad_disk partition unlinked acl coherence \
		kill_mount catch_up bad_input cli rename two_mounts embedded
fi
for name in "$@"; do
	[ -f "$here/$name.sh" ] || cannot "no such test: $name"
done

# They mostly wait, for disks and for timeouts: LANES at a time. Each has a store, mounts and ports of its own.
LANES=${LANES:-3}
work=$(mktemp -d "${TMPDIR:-/tmp}/paxfs-system.XXXXXX") || cannot "no scratch directory"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

run_one() { # its output, and its verdict for the sum
	local name=$1 out begin=$SECONDS

	out=$(timeout -k 60 1200 bash "$here/$name.sh" 2>&1) # a test that hangs is a failure, not a hung run
	{
		echo "$name"
		echo "  ($((SECONDS - begin)) s)"
		echo "$out" | sed '$d'
		out=$(echo "$out" | tail -n 1)
		if [[ $out =~ ^[0-9]+\ passed,\ [0-9]+\ failed$ ]]; then
			echo "$out" >"$work/$name.verdict"
		else
			echo "  FAIL  $name ended without a verdict: $out"
			echo "0 passed, 1 failed" >"$work/$name.verdict"
		fi
	} >"$work/$name.out"
	flock "$work" cat "$work/$name.out"
}
lane() {
	for name in "$@"; do
		mkdir "$work/$name.taken" 2>/dev/null && run_one "$name"
	done
}
for _ in $(seq "$LANES"); do lane "$@" & done
wait

for name in "$@"; do
	read -r p _ f _ <"$work/$name.verdict" || f=1
	passed=$((passed + ${p:-0}))
	failed=$((failed + f))
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
