#!/bin/bash
# Disks that get full: the nodes' data lie on small file systems of their own. Whoever writes is told ENOSPC,
# reads and deletes go on, no node ends, and all is well again when there is room. On all nodes, on a leader,
# on a follower; under a load whose history is judged.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/system/fault_lib.sh
. "$(dirname "$0")/fault_lib.sh"

# FULL_DISK_MIB=n: how much is written beside a full leader or follower.
SIZE=${FULL_DISK_SIZE:-600m}
MIB=${FULL_DISK_MIB:-40}
fill() { # the last byte that the file system of node $1 has
	dd if=/dev/zero of="$T/data/n$1/ballast" bs=64k 2>"$T/dd.out" || true
	grep -q 'No space left' "$T/dd.out" || die "could not fill the disk of node $1"
}
empty() { rm -f "$T/data/n$1/ballast"; }
all_alive() { for i in $(seq "$NODES"); do node_alive "$i" || die "node $i has ended: $(tail -n 2 "$T/data/n$i.log")"; done; }
# writes_until_full MIB: makes files of 1 MiB until one fails; that must be for want of space
writes_until_full() {
	local i
	for i in $(seq "$1"); do
		if ! dd if="$T/mib" of="$MNT/full$i" bs=1M conv=fsync 2>"$T/dd.out"; then
			grep -q 'No space left on device' "$T/dd.out" || {
				cat "$T/dd.out"
				die "a write failed, and not for want of space"
			}
			FULL_AT=$i
			return 0
		fi
	done
	return 1
}
writes_well() { dd if="$T/mib" of="$MNT/well" bs=1M conv=fsync; }
reads_well() { echo 3 >/proc/sys/vm/drop_caches; cmp "$T/mib" "$MNT/kept"; }

prepare() { # what an earlier test left behind must not fail the next ones
	local i
	endpoints
	for i in $(seq "$NODES"); do empty "$i"; done
	heal_all
	until_true 30 writes_well
}

test_start() {
	for i in $(seq "$NODES"); do
		mkdir -p "$T/data/n$i"
		mount -t tmpfs -o "size=$SIZE" paxfs-test "$T/data/n$i"
	done
	faulty_store 1 2
	faulty_mount
	head -c 1048576 /dev/urandom >"$T/mib"
	cp "$T/mib" "$MNT/kept"
	sync "$MNT/kept"
	load_start 1 1 0 1
	until_true 20 load_reached 1 100
}
test_full_on_all() {
	prepare
	for i in $(seq "$NODES"); do fill "$i"; done
	writes_until_full 600 || die "600 MiB went into nothing"
	note "all disks full: ENOSPC at MiB $FULL_AT"
	all_alive
	reads_well
	ls "$MNT" >/dev/null
	rm -f "$MNT"/full*
	all_alive
	reads_well
	for i in $(seq "$NODES"); do empty "$i"; done
	until_true 60 writes_well
	load_goes_on 1 100
	all_alive
}
test_full_on_a_leader() {
	prepare
	n=$(leader_of 1)
	fill "$n"
	if writes_until_full "$MIB"; then
		note "leader's disk full: ENOSPC at MiB $FULL_AT"
	else
		note "leader's disk full: $MIB MiB written"
	fi
	all_alive
	reads_well
	rm -f "$MNT"/full*
	empty "$n"
	until_true 60 writes_well
	until_true 60 all_serving
}
leads_anything() { "$PAXFS" status | awk '/^group/ {on = 1; next} on {print $2}' | grep -qx "$1"; }
test_full_on_a_follower() {
	prepare
	n=1
	while [ "$n" -le "$NODES" ] && leads_anything "$n"; do n=$((n + 1)); done
	[ "$n" -le "$NODES" ] || n=$(($(leader_of 1) % NODES + 1))
	fill "$n"
	if writes_until_full "$MIB"; then
		note "a follower's disk full: ENOSPC at MiB $FULL_AT"
	else
		note "a follower's disk full: $MIB MiB written"
	fi
	all_alive
	reads_well
	rm -f "$MNT"/full*
	empty "$n"
	until_true 60 writes_well
	until_true 60 all_serving
}
test_histories() {
	prepare
	load_stop 1
	judge "full disks:"
	same_and_clean
}
run_tests
