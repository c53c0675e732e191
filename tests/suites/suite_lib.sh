# shellcheck shell=bash
# Sourced by every suite. A suite defines `suite`, which is called once for each mode with
#   A, B   the same new directory: through one mount twice (mode one), through two (mode two), or on the scratch
#          directory's own file system (mode disk)
#   DISK   an empty directory there, to compare with
# and says what it does as `check NAME COMMAND...`: the command runs in a subshell with `set -e`; its output
# is shown when it fails. A suite may leave a mode out (`skip REASON`).
set -u
suites_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/system/lib.sh
. "$suites_dir/../system/lib.sh"
SUITE=$(basename "$0" .sh)
QUICK=${QUICK:-}
# Some 2,700 files, 240 MB: headers, libraries, programs, links.
REAL_TREE=$(dirname "$(gcc -print-libgcc-file-name)")
export REAL_TREE
MODES=${MODES:-one two}
export LC_ALL=C TZ=UTC

check() { # check NAME COMMAND...
	local name=$1 log=$T/check.log rc begin=$SECONDS
	shift
	(
		set -e
		"$@"
	) >"$log" 2>&1
	rc=$?
	if [ $rc -eq 0 ]; then
		mode_passed=$((mode_passed + 1))
		echo "  ok    $MODE: $name ($((SECONDS - begin)) s)"
	else
		mode_failed=$((mode_failed + 1))
		echo "  FAIL  $MODE: $name (exit $rc)"
		tail -n "${CHECK_LINES:-20}" "$log" | sed 's/^/        /'
	fi
	return 0
}

fails() { # fails COMMAND...: `! command` would not end a check
	if "$@"; then
		return 1
	fi
}

skip() {
	mode_skipped="; not run: $*"
	echo "  skip  $MODE: $*"
}

same_trees() { # same_trees DIR DIR: names, contents, modes, owners, sizes, times of regular files
	diff <(tree_list "$1") <(tree_list "$2")
	diff <(tree_sums "$1") <(tree_sums "$2")
}
tree_sums() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0r sha256sum); }
tree_list() {
	(cd "$1" && find . -type f -printf '%p %m %U %G %s %T@\n' -o -printf '%p %y %m %U %G %l\n' | sort)
}

in_background() { # in_background COMMAND...: its pid in $!; wait_all waits for all of them
	"$@" &
	background+=($!)
}
wait_all() {
	local pid rc=0
	for pid in "${background[@]}"; do
		wait "$pid" || rc=$?
	done
	background=()
	return $rc
}
background=()

mode_dirs() {
	DISK=$T/disk.$MODE
	mkdir "$DISK"
	case $MODE in
	disk) A=$T/here B=$T/here ;;
	one) A=$MNT/one B=$MNT/one ;;
	two) A=$MNT/two B=$MNT2/two ;;
	esac
	mkdir "$A"
	export A B DISK MODE
}

tell_processes() { # the last lines of nodes and mounts, when something failed
	local l
	for l in "$T"/data/*.log; do
		[ -f "$l" ] && { echo "        --- ${l##*/}"; tail -n 8 "$l" | sed 's/^/        /'; }
	done
	return 0
}

run_suite() {
	local mode_passed mode_failed mode_skipped

	exec 3>&1
	trap '"${CLEANUP:-cleanup}"' EXIT
	trap 'exit 1' INT TERM
	chmod 755 "$T" # suites become other users
	if [ "$MODES" != disk ]; then
		{ store_up 3 4 && second_mount; } >"$T/up.log" 2>&1 || {
			cat "$T/up.log"
			echo "0 passed, 1 failed"
			exit 1
		}
	fi
	for MODE in $MODES; do
		mode_passed=0 mode_failed=0 mode_skipped=
		mode_dirs
		cd "$T" || exit 1
		suite
		cd "$T" || exit 1
		echo "  = $SUITE, $MODE: $mode_passed passed, $mode_failed failed$mode_skipped"
		passed=$((passed + mode_passed))
		failed=$((failed + mode_failed))
		rm -rf "$DISK" "$A"
	done
	[ "$MODES" = disk ] || [ "${FSCK:-1}" = 0 ] || {
		MODE=after
		mode_passed=0 mode_failed=0
		check fsck "$PAXFS" fsck
		passed=$((passed + mode_passed))
		failed=$((failed + mode_failed))
	}
	[ $failed -eq 0 ] || tell_processes
	echo "$passed passed, $failed failed"
	[ $failed -eq 0 ]
}
