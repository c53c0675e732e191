#!/bin/bash
# Every test there is (`make test`). Each part appends `PART: N passed, N failed` to
# BUILD/test-results.txt; the last line printed is their sum.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build}
JOBS=${JOBS:-2}
MAKE=${MAKE:-make}
FUZZ_JOBS=${FUZZ_JOBS:-4} # each has its 60 seconds, of the time that others leave
results=$BUILD/test-results.txt
passed=0
failed=0
not_run=()

mkdir -p "$BUILD"
: >"$results"

# note NAME STATUS LOG: a part without a result line counts for nothing if it succeeds, and for one
# failure if not.
note() {
	local name=$1 status=$2 log=$3 line p=0 f=0

	line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -1 || true)
	if [ -n "$line" ]; then
		p=${line%% *}
		f=$(cut -d' ' -f3 <<<"$line")
	fi
	if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
		f=1
	fi
	echo "$name: $p passed, $f failed" >>"$results"
	passed=$((passed + p))
	failed=$((failed + f))
}

# part NAME COMMAND...
part() {
	local name=$1 log=$BUILD/test-part.log status=0

	shift
	echo "==== $name"
	"$@" 2>&1 | tee "$log" || status=$?
	note "$name" "$status" "$log"
	return "$status"
}

# What needs processors and little else runs beside the rest: besides NAME COMMAND... starts the next of
# them, in order, in the time that others leave; beside_end waits for all and tells.
beside=()
beside_add() {
	beside+=("$1")
	printf '%q ' "${@:2}" >"$BUILD/test-beside-$1.cmd"
}

beside_start() {
	(
		for name in "${beside[@]}"; do
			status=0
			chrt --idle 0 bash "$BUILD/test-beside-$name.cmd" >"$BUILD/test-beside-$name.log" 2>&1 ||
				status=$?
			echo "$status" >"$BUILD/test-beside-$name.status"
		done
	) &
	beside_pid=$!
}

beside_end() {
	local name

	wait "$beside_pid"
	for name in "${beside[@]}"; do
		echo "==== $name"
		cat "$BUILD/test-beside-$name.log"
		note "$name" "$(cat "$BUILD/test-beside-$name.status")" "$BUILD/test-beside-$name.log"
	done
}

finish() {
	local reason

	echo "==== results"
	cat "$results"
	for reason in "${not_run[@]}"; do
		echo "not run: $reason"
	done
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ] && [ ${#not_run[@]} -eq 0 ]
}

if [ "$(id -u)" -ne 0 ]; then
	echo "Not root: the system tests mount file systems and will not run; use: sudo make test"
	echo "(lint, unit, paper and scenario tests need no root, unless packages are missing.)"
fi

make_part() {
	"$MAKE" --no-print-directory -j"$JOBS" BUILD="$BUILD" JOBS="$JOBS" "$@"
}

# Ended early, it takes along what runs beside.
beside_pid=
trap '[ -z "$beside_pid" ] || kill -- -"$beside_pid" 2>/dev/null || true' INT TERM

part deps ./deps.sh || { finish || exit 1; }
part build make_part all tests helpers "$BUILD/paxfs-sim" failpoints-build || { finish || exit 1; }
beside_add fuzz env JOBS="$FUZZ_JOBS" "$MAKE" --no-print-directory -j1 BUILD="$BUILD" JOBS="$FUZZ_JOBS" \
	fuzz-smoke
beside_add sim "$MAKE" --no-print-directory BUILD="$BUILD" JOBS=1 sim-test
beside_add models "$MAKE" --no-print-directory BUILD="$BUILD" models
beside_add mutants env PICK=2 "$MAKE" --no-print-directory BUILD="$BUILD" mutants
set -m
beside_start
set +m
part lint make_part lint || true
part unit make_part test-unit || true
part asan make_part asan || true
part fuzz-regress make_part fuzz-regress || true
if [ "$(id -u)" -ne 0 ]; then
	not_run+=("posix, suites, system: need root to mount; use: sudo make test")
else
	part posix make_part test-posix || true
	part suites make_part suites-quick || true
	part system make_part test-system || true
fi
beside_end
finish
