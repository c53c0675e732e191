#!/bin/bash
# Runs fuzz targets for a while each: smoke.sh BUILD TARGET... (FUZZ_SECONDS each, JOBS at a time). They
# begin with the committed inputs; what they find goes to BUILD/fuzz-found/TARGET, inputs that fail to
# BUILD/fuzz-crashes. The last line is `N passed, N failed`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
shift
export build here
export FUZZ_SECONDS=${FUZZ_SECONDS:-60}
mkdir -p "$build/fuzz-logs" "$build/fuzz-crashes"

run_one() {
	local target=$1 log=$build/fuzz-logs/$1.log found=$build/fuzz-found/$1 dir rate cov
	local dirs=()

	mkdir -p "$found"
	for dir in "$here/corpus/$target" "$here/regress/$target"; do
		[ -d "$dir" ] && dirs+=("$dir")
	done
	if ! nice -n 10 "$build/tests/fuzz/${target}_fuzz" -max_total_time="$FUZZ_SECONDS" \
		-max_len=4096 -malloc_limit_mb=64 -rss_limit_mb=2048 -timeout=120 \
		-print_final_stats=1 -artifact_prefix="$build/fuzz-crashes/$target-" \
		"$found" "${dirs[@]}" >"$log" 2>&1; then
		printf 'fuzz %s: FAILED, see %s\n' "$target" "$log"
		grep -E 'check failed|runtime error|^==.*ERROR|^SUMMARY' "$log" | head -5 || true
		sed -n "s|.*Test unit written to \(.*\)|  to replay: $build/tests/fuzz/${target}_fuzz \1|p" "$log"
		touch "$build/fuzz-logs/$target.failed"
		return 0
	fi
	rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
	cov=$(sed -n 's/.*DONE .*cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 edges, \2 features/p' "$log")
	printf 'fuzz %-14s %8s execs/s  %s\n' "$target" "$rate" "$cov"
	touch "$build/fuzz-logs/$target.passed"
}
export -f run_one

rm -f "$build"/fuzz-logs/*.passed "$build"/fuzz-logs/*.failed
printf '%s\n' "$@" | xargs -P "${JOBS:-1}" -I{} bash -c 'run_one {}'
passed=$(find "$build/fuzz-logs" -name '*.passed' | wc -l)
printf '%d passed, %d failed\n' "$passed" $(($# - passed))
[ "$passed" -eq $# ]
