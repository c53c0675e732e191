#!/bin/bash
# Programs that people use, and test suites of others, on real mounts: run.sh [-q] [-d] [NAME...]. Each suite
# (NAME.sh) has a store of its own, three nodes and four groups, and runs on one mount, then on two at a time.
# -q: the short ones, with less to do. -d: on the scratch directory's own file system, which is what the suites
# have to pass first. Ends in a table and `N passed, N failed`; leaves nothing behind.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$top/$BUILD ;; esac
export PAXFS=${PAXFS:-$BUILD/paxfs}
export PROG=$BUILD/tests/suites
unset MAKEFLAGS MFLAGS # those of the make that started this are not for the makes that are tested

ALL="rsync archive editor git sqlite fio build dbench stress postgres pjdfstest ltp"
SHORT="rsync archive editor git sqlite fio"
export QUICK='' MODES="one two"
while getopts qd opt; do
	case $opt in
	q) QUICK=1 ;;
	d) MODES=disk ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

cannot() {
	echo "suites: $*" >&2
	echo "0 passed, 1 failed"
	exit 1
}
[ $# -gt 0 ] || {
	[ "$QUICK" ] && ALL=$SHORT
	# shellcheck disable=SC2086 # words
	set -- $ALL
}
for name in "$@"; do
	[ -f "$here/$name.sh" ] || cannot "no such suite: $name"
done
[ -x "$PAXFS" ] || cannot "$PAXFS is not built: run make"
[ "$(id -u)" -eq 0 ] || cannot "mounting needs root: run as root, or with sudo"
[ -c /dev/fuse ] || cannot "there is no /dev/fuse: modprobe fuse, or give the container the device"
"$here/packages.sh" "$@" || cannot "packages are missing (above)"

passed=0
failed=0
table=()
log=
trap 'rm -f "$log"' EXIT
trap 'exit 1' INT TERM
for name in "$@"; do
	echo "$name"
	begin=$SECONDS
	log=$(mktemp "${TMPDIR:-/tmp}/paxfs-suite-log.XXXXXX")
	timeout -k 60 "${SUITE_SECONDS:-3600}" bash "$here/$name.sh" 2>&1 | tee "$log" | sed -u '$d'
	echo "  ($((SECONDS - begin)) s)"
	if [[ $(tail -n 1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
	else
		echo "  FAIL  $name ended without a verdict: $(tail -n 1 "$log")"
		failed=$((failed + 1))
	fi
	while IFS= read -r line; do table+=("$line"); done < <(sed -n 's/^  = //p' "$log")
	rm -f "$log"
done
printf '%s\n' "${table[@]}"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
