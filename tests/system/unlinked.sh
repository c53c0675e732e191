#!/bin/bash
# Files that one mount removes while another one has them open; and what is left of them when mounts die.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

test_start() {
	store_up 3 4
	second_mount
}
store() { # each test is a shell of its own
	EP=$(store_endpoints)
	export PAXFS_ENDPOINTS=$EP
}
count() { # count WHAT: of fsck's last line
	"$PAXFS" fsck -o json | sed "s/.*\"$1\": *\([0-9]*\).*/\1/"
}
nothing_left() { [ "$(count orphans)" -eq 0 ] && [ "$(count blocks)" -eq 0 ]; }
only_held() { [ "$(count orphans)" -eq "$1" ]; }
all_asked() { # all_asked HELD: one removed after them is deleted, so the grace period of all of them is over
	echo last >"$MNT/last"
	rm "$MNT/last"
	until_true 20 only_held "$1"
}
has_open() { [ -n "$(find "/proc/$1/fd" -lname "$2" 2>/dev/null)" ]; }
is_gone() { [ ! -e "/proc/$1" ]; }
second_pid() { pgrep -f "paxfs mount $EP $MNT2" | head -n 1; }
session_of() { "$PAXFS" clients | awk -v m=":$1" '$NF ~ m "$" {print $1}'; }

test_reads_and_writes_go_on() {
	store
	echo text >"$MNT/f"
	exec 5<>"$MNT2/f"
	rm "$MNT/f"
	[ ! -e "$MNT2/f" ]
	[ "$(cat "/proc/self/fd/5")" = text ]
	all_asked 1
	echo more >>/proc/self/fd/5
	[ "$(cat "/proc/self/fd/5")" = "text
more" ]
	[ "$(stat -L -c %h /proc/self/fd/5)" = 0 ]
	[ "$(count orphans)" -eq 1 ]
	exec 5>&-
	until_true 20 nothing_left
}
test_a_file_replaced_by_a_rename() {
	store
	echo old >"$MNT/f"
	echo new >"$MNT/g"
	exec 5<"$MNT2/f"
	mv "$MNT/g" "$MNT/f"
	all_asked 1
	[ "$(cat <&5)" = old ]
	[ "$(cat "$MNT2/f")" = new ]
	exec 5<&-
	rm "$MNT/f"
	until_true 20 nothing_left
}
test_a_directory_that_is_open() {
	store
	mkdir "$MNT/d"
	exec 5<"$MNT2/d"
	rmdir "$MNT/d"
	all_asked 1
	[ "$(stat -L -c %h /proc/self/fd/5)" = 0 ]
	exec 5<&-
	until_true 20 nothing_left
}
test_room_is_given_back() {
	store
	dd if=/dev/urandom of="$MNT/big" bs=1M count=20 status=none
	exec 5<"$MNT2/big"
	rm "$MNT/big"
	all_asked 1
	[ "$(count blocks)" -eq 640 ]
	[ "$(md5sum <&5 | wc -c)" -gt 30 ]
	exec 5<&-
	until_true 30 nothing_left
}
test_many_files_with_two_mounts() {
	store
	mkdir "$MNT/many"
	for i in $(seq 500); do echo "$i" >"$MNT/many/$i"; done
	rm -r "$MNT/many"
	until_true 20 nothing_left
}
test_the_maker_is_killed() {
	local pid
	store
	mkdir "$MNT/many"
	for i in $(seq 300); do echo "$i" >"$MNT/many/$i"; done
	exec 5<"$MNT/many/7"
	pid=$(second_pid)
	(rm -rf "$MNT2/many" || true) &
	until_true 10 test ! -e "$MNT/many/7"
	kill -9 "$pid"
	wait $! || true
	[ "$(cat <&5)" = 7 ]
	"$PAXFS" clients --evict "$(session_of "$MNT2")"
	umount -l "$MNT2"
	rm -rf "$MNT/many"
	exec 5<&-
	until_true 60 nothing_left
	second_mount
}
test_the_holder_is_killed() {
	local pid
	store
	echo text >"$MNT/f"
	tail -f "$MNT2/f" >/dev/null 2>&1 &
	holder=$!
	pid=$(second_pid)
	until_true 10 has_open $holder "$MNT2/f"
	rm "$MNT/f"
	all_asked 1
	kill -9 "$pid"
	until_true 10 is_gone "$pid"
	[ "$(count orphans)" -eq 1 ] # its session is not over yet
	"$PAXFS" clients --evict "$(session_of "$MNT2")"
	until_true 60 nothing_left
	kill "$holder" 2>/dev/null || true
	umount -l "$MNT2"
}
test_the_store_is_whole() {
	store
	"$PAXFS" fsck
}
run_tests
