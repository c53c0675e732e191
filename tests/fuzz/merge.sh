#!/bin/bash
# Minimises corpora: merge.sh BUILD TARGET... From the committed inputs and what was found, the fewest small
# ones that reach the same; then at most FUZZ_CORPUS_MAX of them, spread over their sizes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
shift
max=${FUZZ_CORPUS_MAX:-40}

for target in "$@"; do
	merged=$build/fuzz-merged/$target
	corpus=$here/corpus/$target
	rm -rf "$merged"
	mkdir -p "$merged" "$corpus" "$build/fuzz-found/$target"
	"$build/tests/fuzz/${target}_fuzz" -merge=1 -max_len=4000 "$merged" "$corpus" \
		"$build/fuzz-found/$target" >/dev/null 2>&1
	# By size, then every n-th: small ones for the cases, large ones for what lies deep.
	mapfile -t files < <(find "$merged" -type f -printf '%s %p\n' | sort -n | cut -d' ' -f2-)
	rm -f "$corpus"/*
	count=${#files[@]}
	for ((i = 0; i < count && i < max; i++)); do
		cp "${files[$((count <= max ? i : i * count / max))]}" "$corpus/"
	done
	printf 'fuzz %-14s %d of %d inputs\n' "$target" "$((count < max ? count : max))" "$count"
done
