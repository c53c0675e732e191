#!/bin/bash
# Checks the models of this folder with spin, as checks.list says: what holds is searched to the end,
# what must fail (the mutants) is searched until it does. Prints a table; the last line is
# `N passed, N failed`.
#
#   run.sh [short|long] [MODEL [NAME]]
#
# BUILD   where to put what is built (build), in its folder models/
# MODELS_MEM_MB   the memory that one search may take (2000)
set -euo pipefail
cd "$(dirname "$0")"

length=${1:-short}
only_model=${2:-}
only_name=${3:-}
build=${BUILD:-build}
memory_mb=${MODELS_MEM_MB:-2000}
cc=${CC:-gcc}
passed=0
failed=0

case $build in
/*) ;;
*) build=$(cd ../.. && pwd)/$build ;;
esac

command -v spin >/dev/null || {
	echo "models: spin is not installed (deps.sh does it)"
	echo "0 passed, 1 failed"
	exit 1
}

# compile MODEL EXPECT MODE FLAGS...: builds ./pan in the current directory.
compile() {
	local model=$1 expect=$2 mode=$3 cflags=(-w -O1)

	shift 3
	# A mutant's search is over before better code has paid for itself.
	[ "$expect" = holds ] || cflags=(-w -O0)
	if [ "$mode" = live ]; then
		cflags+=(-DNP -DNOFAIR)
	else
		cflags+=(-DSAFETY)
	fi
	[ "$length" = short ] || cflags+=(-O2 -DCOLLAPSE)
	spin -a "$@" "$model.pml" && "$cc" "${cflags[@]}" "-DMEMLIM=$memory_mb" -o pan pan.c
}

# search MODE: runs ./pan; 0 when it could say something.
search() {
	local options=(-m2000000 -w20)

	[ "$1" = live ] && options+=(-l)
	./pan "${options[@]}"
}

# verdict LOG: holds, fails, or why neither is known.
verdict() {
	if grep -qE 'max search depth too small|out of memory|reached -DMEMLIM|VECTORSZ|aborted' "$1"; then
		echo incomplete
	elif grep -qE 'errors: 0$' "$1" && ! grep -q 'Search not completed' "$1"; then
		echo holds
	elif grep -qE '^pan:.*(assertion violated|non-progress cycle|invalid end state)' "$1"; then
		echo fails
	else
		echo broken
	fi
}

states_of() {
	awk '/states, stored/ { n = $1 } END { printf "%d", n }' "$1"
}

# check MODEL NAME EXPECT MODE FLAGS...
check() {
	local model=$1 name=$2 expect=$3 mode=$4 dir found begin seconds

	shift 4
	dir=$build/models/$model.$name
	rm -rf "$dir"
	mkdir -p "$dir"
	cp "$model.pml" "$dir"
	begin=$(date +%s%N)
	if (cd "$dir" && compile "$model" "$expect" "$mode" "$@") >"$dir/build.log" 2>&1; then
		(cd "$dir" && search "$mode") >"$dir/search.log" 2>&1 || true
		found=$(verdict "$dir/search.log")
	else
		: >"$dir/search.log"
		found="not built"
	fi
	seconds=$((($(date +%s%N) - begin) / 10000000))
	printf '%-18s %-20s %10d %5d.%02d  %s' "$model" "$name" "$(states_of "$dir/search.log")" \
		$((seconds / 100)) $((seconds % 100)) "$found"
	if [ "$found" = "$expect" ]; then
		passed=$((passed + 1))
		[ "$expect" = fails ] && printf ', as it must'
		printf '\n'
		rm -f "$dir"/pan "$dir"/pan.* "$dir"/_spin*
	else
		failed=$((failed + 1))
		printf ' (expected: %s); see %s\n' "$expect" "$dir"
	fi
}

printf '%-18s %-20s %10s %8s  %s\n' model check states seconds result
while read -r row_length model name expect mode flags; do
	case $row_length in
	'' | '#'*) continue ;;
	esac
	[ "$row_length" = "$length" ] || continue
	[ -z "$only_model" ] || [ "$only_model" = "$model" ] || continue
	[ -z "$only_name" ] || [ "$only_name" = "$name" ] || continue
	# shellcheck disable=SC2086 # flags are words
	check "$model" "$name" "$expect" "$mode" $flags
done <checks.list

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
