#!/bin/bash
# One process holds store and mount; the mount(8) conventions.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

test_one_process() {
	store_up 1 2
	[ "$("$PAXFS" local status --data "$T/data" | grep -c 'node+mount')" -eq 1 ]
	echo hello >"$MNT/f"
	cp -a /usr/include/linux "$MNT/linux"
	diff -r /usr/include/linux "$MNT/linux"
}
test_survives_kill_and_restart() {
	kill_node 1
	umount -l "$MNT"
	"$PAXFS" local up --data "$T/data"
	[ "$(cat "$MNT/f")" = hello ]
	diff -r /usr/include/linux "$MNT/linux"
	PAXFS_ENDPOINTS=$(store_endpoints) "$PAXFS" fsck
}
test_umount_ends_the_process() {
	pid=$(node_pid 1)
	umount "$MNT"
	until_true 20 gone "$pid"
}
test_mount_helper() {
	EP=$(store_endpoints)
	"$PAXFS" node --data "$T/data/n1" --listen "$EP" 2>"$T/node.log" &
	p=$!
	ln -sf "$PAXFS" "$T/mount.paxfs"
	mkdir -p "$MNT2"
	"$T/mount.paxfs" "$EP" "$MNT2" -o rw,nofail,_netdev,x-systemd.automount,noatime
	[ "$(cat "$MNT2/f")" = hello ]
	grep -q " $MNT2 fuse.paxfs " /proc/mounts
	umount "$MNT2"
	rc=0
	"$T/mount.paxfs" "$EP" "$MNT2" -o rw,frobnicate 2>"$T/err" || rc=$?
	[ $rc -eq 1 ] && grep -q frobnicate "$T/err"
	rc=0
	"$T/mount.paxfs" "$EP" "$T/nowhere" 2>"$T/err" || rc=$?
	[ $rc -eq 32 ]
	"$T/mount.paxfs" "$EP" "$MNT2" -f -o rw
	kill $p
	wait $p
}
run_tests
