#!/bin/bash
# kill -9 of the mount in the middle of renames and cross-group transactions: the tree is consistent
# afterwards and no lock stays.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

test_start() { store_up 3 4; }
no_locks() {
	"$PAXFS" status -o json | tr -d ' \n' | grep -q '"locks":[1-9]' && return 1
	"$PAXFS" status -o json | tr -d ' \n' | grep -q '"prepared":[1-9]' && return 1
	"$PAXFS" status
}
churn() { # until the mount dies: mkdir, create, rename across, remove
	local i=0
	while mkdir "$MNT/churn/$1.$i" && echo x >"$MNT/churn/$1.$i/f" &&
		mv "$MNT/churn/$1.$i/f" "$MNT/target/$1.$i" && rmdir "$MNT/churn/$1.$i" &&
		{ [ $((i % 3)) -ne 0 ] || rm "$MNT/target/$1.$i"; }; do
		i=$((i + 1))
		echo "$i" >"$T/progress.$1"
	done
}
reached() { [ "$(cat "$1" 2>/dev/null || echo 0)" -ge "$2" ]; }
test_kill_in_the_middle_of_renames() {
	EP=$(store_endpoints)
	export PAXFS_ENDPOINTS=$EP
	mkdir "$MNT/churn" "$MNT/target"
	for round in 1 2 3 4 5; do
		rm -f "$T"/progress.*
		for w in 1 2 3 4; do churn "$round.$w" 2>/dev/null & done
		until_true 20 reached "$T/progress.$round.1" 20
		kill -KILL "$(mount_pid)"
		wait
		umount "$MNT" 2>/dev/null || umount -l "$MNT"
		until_true 20 no_locks
		"$PAXFS" fsck --repair >"$T/fsck" || true
		"$PAXFS" fsck || { cat "$T/fsck"; return 1; }
		if grep -v -E 'orphan|reap|repaired$' "$T/fsck" | grep -q .; then
			cat "$T/fsck"
			die "fsck found more than orphans"
		fi
		"$PAXFS" local up --data "$T/data" --mount "$MNT" >/dev/null
	done
	ls -R "$MNT" >/dev/null
}
test_local_up_clears_a_dead_mount() {
	kill -KILL "$(mount_pid)"
	until_true 10 gone "$(mount_pid)"
	if ls "$MNT" 2>/dev/null; then die "a dead mount answers"; fi
	"$PAXFS" local up --data "$T/data" --mount "$MNT" >/dev/null
	ls "$MNT" >/dev/null
}
test_unmounting_without_a_store_ends() {
	EP=$(store_endpoints)
	second_mount
	pid=$(pgrep -f "paxfs mount .* $MNT2\$")
	for i in $(seq 400); do echo "$i" >"$MNT2/orphan$i"; done
	cat "$MNT2"/orphan* >/dev/null                  # access times to be written
	exec 7<"$MNT2/orphan1" && rm "$MNT2"/orphan*    # something to be reaped
	for n in 1 2 3; do kill_node $n; done
	exec 7<&-
	umount -l "$MNT2"
	until_true 20 gone "$pid"
	restart_nodes
	until_true 30 all_serving
}
run_tests
