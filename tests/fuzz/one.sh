#!/bin/bash
# Runs one fuzz target until it fails or is told to stop: one.sh BUILD TARGET KNOWN-TARGET...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
target=$2
shift 2
if [ -z "$target" ] || [ ! -x "$build/tests/fuzz/${target}_fuzz" ]; then
	printf 'make fuzz TARGET=name, one of: %s\n' "$*" >&2
	exit 2
fi
found=$build/fuzz-found/$target
mkdir -p "$found" "$build/fuzz-crashes"
dirs=()
for dir in "$here/corpus/$target" "$here/regress/$target"; do
	[ -d "$dir" ] && dirs+=("$dir")
done
exec nice -n 10 "$build/tests/fuzz/${target}_fuzz" -max_len=4096 -malloc_limit_mb=64 -rss_limit_mb=2048 \
	-timeout=20 -artifact_prefix="$build/fuzz-crashes/$target-" "$found" "${dirs[@]}"
