#!/bin/bash
# Replays the committed inputs of fuzz targets: replay.sh BUILD TARGET... Each target is one process.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
shift
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for target in "$@"; do
	inputs=("$here"/corpus/"$target"/* "$here"/regress/"$target"/*)
	files=()
	for input in "${inputs[@]}"; do
		[ -f "$input" ] && files+=("$input")
	done
	if [ ${#files[@]} -eq 0 ]; then
		printf 'fuzz %s: no inputs in corpus/%s\n' "$target" "$target"
		failed=$((failed + 1))
	elif timeout 300 "$build/tests/fuzz/${target}_fuzz" "${files[@]}" >"$log" 2>&1; then
		printf 'fuzz %-14s %4d inputs\n' "$target" "${#files[@]}"
		passed=$((passed + ${#files[@]}))
	else
		tail -n 60 "$log"
		printf 'fuzz %s: FAILED; to replay: %s/tests/fuzz/%s_fuzz FILE\n' \
			"$target" "$build" "$target"
		failed=$((failed + 1))
	fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
