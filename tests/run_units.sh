#!/bin/bash
# Runs test binaries, JOBS at a time (default 2), and sums up what they say.
#
#   run_units.sh BUILD BINARY...
#
# A binary ends with `N passed, N failed`. One that dies, hangs (UNIT_TIMEOUT seconds) or exits
# non-zero without a failed test counts as one failure. Its output is in BUILD/test-logs/.
set -euo pipefail

UNIT_TIMEOUT=${UNIT_TIMEOUT:-600}

# One binary: prints its line, and leaves "passed failed" in LOG.result.
run_one() {
	local build=$1 binary=$2
	local name=${binary#"$build"/tests/}
	local log=$build/test-logs/${name//\//-}
	local start=$EPOCHREALTIME status=0 line passed=0 failed=0 seconds verdict=ok

	timeout -k 10 "$UNIT_TIMEOUT" "$binary" >"$log" 2>&1 || status=$?
	seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
	line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -1 || true)
	if [ -n "$line" ]; then
		passed=${line%% *}
		failed=$(cut -d' ' -f3 <<<"$line")
	fi
	if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
		failed=1
		line="$line exit status $status"
		[ "$status" -ne 124 ] || line="timed out after $UNIT_TIMEOUT s"
	elif [ -z "$line" ]; then
		failed=1
		line="no result line"
	fi
	echo "$passed $failed" >"$log.result"
	[ "$failed" -eq 0 ] || verdict=FAIL
	printf '%-4s %-40s %s (%s s)\n' "$verdict" "$name" "$line" "$seconds"
	if [ "$failed" -ne 0 ]; then
		grep -avE '^(ok  |[0-9]+ passed, )' "$log" | tail -n 40 | sed 's/^/     /' || true
	fi
}

if [ "${1:-}" = --one ]; then
	run_one "$2" "$3"
	exit 0
fi

build=$1
shift
rm -rf "$build/test-logs"
mkdir -p "$build/test-logs"
if [ $# -gt 0 ]; then
	printf '%s\0' "$@" | xargs -0 -n 1 -P "${JOBS:-2}" "$0" --one "$build"
fi

passed=0
failed=0
for result in "$build"/test-logs/*.result; do
	[ -e "$result" ] || continue
	read -r p f <"$result"
	passed=$((passed + p))
	failed=$((failed + f))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
