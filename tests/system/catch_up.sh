#!/bin/bash
# A node that was down for 200,000 writes, more than the others keep in their logs, comes back and catches up by
# snapshot, while serving goes on.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
WRITES=${WRITES:-200000}

test_start() { store_up 3 4; }
commits() { # sum of the commit slots of all groups, and of commands executed
	"$PAXFS" status -o json | tr -d ' ,' | awk -F: '/"commands"/ {if ($2 > m[g]) m[g] = $2}
		/"group":/ {g = $2} END {for (g in m) s += m[g]; print s + 0}'
}
level() { # node 3 has applied what the leaders have committed
	"$PAXFS" status >"$T/status" || return 1
	! grep -q 'node 3:' "$T/status"
}
test_down_for_many_writes() {
	EP=$(store_endpoints)
	export PAXFS_ENDPOINTS=$EP
	kill_node 3
	before=$(commits)
	while [ $(($(commits) - before)) -lt "$WRITES" ]; do
		"$PAXFS" bench -c 256 -d 5 -k 20000 -s 2048 >"$T/bench"
	done
	note "$(($(commits) - before)) commands executed while node 3 was down"
	"$PAXFS" bench -c 4 -d 15 >"$T/serving" &
	b=$!
	restart_nodes
	until_true 60 level
	wait $b
	note "meanwhile: $(cat "$T/serving")"
	grep -q 'snapshot' "$T/data/n3.log"
	# and it counts: with node 1 dead, 2 and 3 are the majority
	kill_node 1
	mkdir "$MNT/after"
	echo works >"$MNT/after/f"
	[ "$(cat "$MNT/after/f")" = works ]
	restart_nodes
	until_true 30 "$PAXFS" status
}
run_tests
