#!/bin/bash
# Programs on two mounts, and on one, find each other's changes at once; none hangs; options of a mount.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
MNT3=$T/mnt3

# on_two CASE: what hangs in the kernel is freed by cutting the mount off, and is a failure
on_two() {
	local rc=0
	timeout -k 1 60 "$PROG/coherence" "$1" "$MNT2" "$MNT" || rc=$?
	[ $rc -eq 0 ] && return 0
	[ $rc -ge 124 ] && umount -f "$MNT2"
	die "coherence $1: exit $rc"
}
mount3() { "$PAXFS" mount "$(store_endpoints)" "$MNT3" -o "$1"; }
remount() { "$T/mount.fuse.paxfs" "$(store_endpoints)" "$MNT3" -o "remount,user_id=0,group_id=0,$1"; }
fails() {
	if "$@"; then die "it should have failed: $*"; fi
}
shown() { awk -v m="$MNT3" '$2 == m {print $4}' /proc/mounts; }
clean_up_here() {
	unmount_quietly "$MNT3"
	cleanup
}
export CLEANUP=clean_up_here

test_start() {
	store_up 3 4
	chmod 1777 "$MNT"
	chmod 755 "$T" # other users come by
	mkdir "$MNT3"
	second_mount
	ln -s "$PAXFS" "$T/mount.fuse.paxfs"
}
test_the_end_moves_at_once() { on_two end_moves; }
test_same_size_and_time() { on_two forged; }
test_setattr_hides_nothing() { on_two hidden_by_setattr; }
test_truncation_of_mapped_pages() { on_two truncate_dirty; }
test_write_back_extends_nothing() { on_two write_back_extends_nothing; }
test_pages_of_two_mounts() { on_two both_pages; }
test_set_id_bits_as_elsewhere() {
	mkdir -m 1777 "$T/here"
	"$PROG/coherence" setid "$T/here" >"$T/expected"
	[ "$(wc -l <"$T/expected")" -eq 168 ]
	"$PROG/coherence" setid "$MNT2" >"$T/found"
	diff "$T/expected" "$T/found"
	note "set-id bits: $(wc -l <"$T/found") cases as on $(stat -f -c %T "$T/here")"
}
test_set_id_bits_from_afar() { on_two setid_from_afar; }
test_o_noatime() { "$PROG/coherence" noatime "$MNT2"; }
test_strictatime() {
	mount3 strictatime
	"$PROG/coherence" strictatime "$MNT3"
	umount "$MNT3"
	fails "$PROG/coherence" strictatime "$MNT2"
}
test_every_option_mounts() {
	local o
	for o in ro rw noatime relatime norelatime strictatime nostrictatime atime lazytime nolazytime \
		diratime nodiratime iversion silent loud sync async dirsync suid nosuid dev nodev exec noexec \
		timeout=5 max_background=9 fsname=x; do
		mount3 "$o" || die "option $o"
		ls "$MNT3" >"$T/ls"
		umount "$MNT3"
	done
}
test_remount() {
	local rc
	mount3 nosuid
	remount ro,nosuid
	[[ $(shown) == ro,nosuid,* ]]
	fails touch "$MNT3/f"
	remount rw,nosuid,noexec
	[[ $(shown) == rw,nosuid,noexec,* ]]
	exec 7>"$MNT3/f"
	rc=0
	remount ro 2>"$T/err" || rc=$?
	[ $rc -eq 32 ] && grep -q 'open for writing' "$T/err"
	exec 7>&-
	umount "$MNT3"
	mount3 ro
	rc=0
	remount rw 2>"$T/err" || rc=$?
	[ $rc -eq 32 ] && grep -q 'mounted read-only' "$T/err"
	[[ $(shown) == ro,* ]]
	umount "$MNT3"
	rc=0
	remount ro 2>"$T/err" || rc=$?
	[ $rc -eq 32 ] && grep -q 'no paxfs is mounted' "$T/err"
}
# Last: takes the store down. The process of the mount is held where only SIGKILL gets at it.
test_down_frees_who_waits_for_a_mount_that_hangs() {
	local pid waiting rc=0
	pid=$(mount_pid)
	umount "$MNT2"
	"$PROG/coherence" hold "$pid" >"$T/hold" 2>&1 3>&- &
	until_true 10 grep held "$T/hold"
	stat "$MNT/unknown" >"$T/waited" 2>&1 3>&- &
	waiting=$!
	"$PAXFS" local down --data "$T/data" >"$T/down" || rc=$?
	cat "$T/down"
	[ $rc -eq 0 ]
	grep -q 'its connection to the kernel was cut' "$T/down"
	grep -q 'the mount did not stop in time and was killed' "$T/down"
	grep -q 'stopped 4 processes' "$T/down"
	until_true 10 gone "$waiting"
	[ ! -e "$T/data/mount.pid" ]
	fails grep " $MNT " /proc/mounts
}
run_tests
