#!/bin/bash
# Every test there is (`make test`). Each part appends `PART: N passed, N failed` to
# BUILD/test-results.txt; the last line printed is their sum.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build}
JOBS=${JOBS:-2}
MAKE=${MAKE:-make}
results=$BUILD/test-results.txt
passed=0
failed=0
not_run=()

mkdir -p "$BUILD"
: >"$results"

# part NAME COMMAND...: a part without a result line counts for nothing if it succeeds, and for one
# failure if not.
part() {
	local name=$1 log=$BUILD/test-part.log status=0 line p=0 f=0

	shift
	echo "==== $name"
	"$@" 2>&1 | tee "$log" || status=$?
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
	return "$status"
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

part deps ./deps.sh || { finish || exit 1; }
part build make_part all tests helpers || { finish || exit 1; }
part lint make_part lint || true
part unit make_part test-unit || true
part asan make_part asan || true
if [ ! -x tests/system/run.sh ]; then
	not_run+=("system: tests/system/run.sh is missing")
elif [ "$(id -u)" -ne 0 ]; then
	not_run+=("system: needs root to mount; use: sudo make test")
else
	part system make_part test-system || true
fi
finish
