#!/bin/bash
# The bounded slice of the simulator in `make test`: seeds that once showed something (seeds.txt), two runs
# of the same seeds that must be the same, fixed seeds, then fresh ones until MINUTES are over.
# Ends in `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."

BUILD=${BUILD:-build}
JOBS=${JOBS:-1}
MINUTES=${MINUTES:-4}
FIXED=${FIXED:-120}
begin=$SECONDS
passed=0
failed=0

# run OPTION...: adds what it says to the sums; its lines are indented.
run() {
	local out line

	out=$("$BUILD/paxfs-sim" --quiet "$@" 2>&1) || true
	line=$(tail -1 <<<"$out")
	sed '$d' <<<"$out" | sed 's/^/  /'
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
	else
		echo "  $line"
		failed=$((failed + 1))
	fi
}

echo "seeds that once showed something"
while read -r seed; do
	run --seed "$seed"
done < <(grep -v '^#' tests/sim/seeds.txt | grep .)
echo "the same seed, the same run"
run --from 1 --seeds 4 --twice
echo "fixed seeds"
run --from 1 --seeds "$FIXED" --jobs "$JOBS"
echo "fresh seeds"
left=$((MINUTES * 60 - (SECONDS - begin)))
if [ "$left" -lt 30 ]; then
	left=30
fi
run --jobs "$JOBS" --hours "$(awk "BEGIN { print $left / 3600 }")"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
