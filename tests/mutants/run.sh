#!/bin/bash
# Seeded bugs: applies each patch of this folder to a copy of the sources, builds the simulator from it
# and runs seeds until one fails. A mutant that survives LIMIT seconds of one core is a failure of the
# tests. run.sh [NAME...] runs those; PICK=n runs n of them, picked afresh.
# Ends in `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."

BUILD=${BUILD:-build}
LIMIT=${LIMIT:-600}
PICK=${PICK:-0}
SIM_JOBS=${SIM_JOBS:-1}
root=$PWD
work=$root/$BUILD/mutants
passed=0
failed=0

fail() {
	echo "mutants: $*" >&2
	exit 2
}

# What a mutant leaves unused is no error.
build() {
	make -C "$work/tree" --no-print-directory -s BUILD=build WARN="-std=c11 -w" CONVERSION= \
		build/paxfs-sim
}

copy_tree() {
	rm -rf "$work/tree"
	mkdir -p "$work/tree"
	cp -a Makefile base net wal consensus txn kv fs mount tools "$work/tree/"
	mkdir -p "$work/tree/tests"
	cp -a tests/sim tests/check "$work/tree/tests/"
	build >"$work/base.log" 2>&1 || fail "the copy does not build: $(tail -1 "$work/base.log")"
}

# The bug's name is the patch's, its description the patch's first line; the second may be "options: " and
# what the simulator is to be told, for bugs that only a directed attack finds soon.
run_one() {
	local name=$1 patch=$root/tests/mutants/$1.patch text start took seed what options

	text=$(head -1 "$patch")
	read -ra options < <(sed -n '2s/^options: //p' "$patch") || options=()
	if ! patch -d "$work/tree" -p1 -s -F 3 --dry-run <"$patch" >"$work/$name.log" 2>&1; then
		failed=$((failed + 1))
		echo "| $name | $text | **does not apply any more**: $(tail -1 "$work/$name.log") | |"
		return
	fi
	patch -d "$work/tree" -p1 -s -F 3 <"$patch" >"$work/$name.log" 2>&1
	start=$(date +%s)
	if ! build >"$work/$name.log" 2>&1; then
		failed=$((failed + 1))
		echo "| $name | $text | **does not build**: $(grep -m1 error "$work/$name.log") | |"
		patch -d "$work/tree" -p1 -s -R -F 3 <"$patch" >/dev/null
		return
	fi
	timeout --signal=KILL "$LIMIT" "$work/tree/build/paxfs-sim" --quiet --first --jobs "$SIM_JOBS" \
		--limit 60 --seeds 1000000 "${options[@]}" >"$work/$name.out" 2>"$work/$name.err" || true
	took=$(($(date +%s) - start))
	patch -d "$work/tree" -p1 -s -R -F 3 <"$patch" >/dev/null
	seed=$(grep -am1 -oE '^seed [0-9]+: (FAILED|HANGS|DIED)' "$work/$name.out" || true)
	what=$(grep -am1 '^VIOLATION' "$work/$name.err" | sed 's/^VIOLATION seed [0-9]* at [0-9.]* s, //' || true)
	if [ -n "$seed" ]; then
		passed=$((passed + 1))
		printf '| %s | %s | %s s | %s: %s |\n' "$name" "$text" "$took" "${seed%%:*}" "${what:-$seed}"
		rm -f "$work/$name".{out,err,log}
	else
		failed=$((failed + 1))
		printf '| %s | %s | **survived %s s** | |\n' "$name" "$text" "$took"
	fi
}

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
	for patch in tests/mutants/*.patch; do
		names+=("$(basename "$patch" .patch)")
	done
fi
if [ "$PICK" -gt 0 ]; then
	mapfile -t names < <(printf '%s\n' "${names[@]}" | shuf -n "$PICK")
fi
copy_tree
echo "| mutant | what is wrong | caught after | by |"
echo "| --- | --- | --- | --- |"
for name in "${names[@]}"; do
	run_one "$name"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
