#!/bin/bash
# Locks between two mounts: flock, fcntl, open file descriptions; waits and what ends them.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

store() { # each test is a shell of its own
	EP=$(store_endpoints)
	export PAXFS_ENDPOINTS=$EP
}
play() { timeout 60 "$PROG/lockplay" "$MNT" "$MNT2" "$1"; }
no_locks() { [ "$("$PAXFS" locks -o json)" = '[]' ]; }
session_of() { # the session of a mount point
	"$PAXFS" clients | awk -v m=":$1" '$NF ~ m "$" {print $1}'
}
hold_on_second() { # a process that holds "held" on MNT2; HOLDER
	mkfifo "$T/to" "$T/from"
	"$PROG/lockplay" "$MNT" "$MNT2" hold <"$T/to" >"$T/from" &
	HOLDER=$!
	exec 5>"$T/to" 6<"$T/from"
	read -r line <&6
	[ "$line" = held ]
}
let_go() {
	exec 5>&- 6<&-
	wait "$HOLDER" || true
	rm "$T/to" "$T/from"
}
waiter_on_first() { # a process that waits for it on MNT; WAITER
	"$PROG/lockplay" "$MNT" "$MNT2" take >"$T/taken" &
	WAITER=$!
	until_true 10 grep -q waits "$T/taken"
}

test_start() {
	store_up 3 4
	second_mount
}
test_flock() { play flock; }
test_ranges() { play ranges; }
test_a_wait_ends_with_the_lock() {
	play wake >"$T/wake"
	note "$(cat "$T/wake")"
}
test_a_signal_ends_a_wait_at_once() { play signal; }
test_deadlock_where_there_is_one() { play deadlock; }
test_open_file_descriptions() { play descriptions; }
test_close_gives_up() { play close; }
test_nothing_is_left() {
	store
	until_true 10 no_locks
	"$PAXFS" fsck
}
test_the_list() {
	store
	hold_on_second
	waiter_on_first
	"$PAXFS" locks "$MNT" >"$T/list"
	cat "$T/list"
	grep -q 'posix  exclusive  held .* /held$' "$T/list"
	grep -q 'posix  exclusive  waits .* /held$' "$T/list"
	grep -q 'flock  exclusive  held .* /held$' "$T/list"
	grep -q ":$MNT2 " "$T/list"
	"$PAXFS" locks -o json | grep -q '"path": *"/held"'
	echo >&5
	read -r line <&6
	[ "$line" = written ]
	let_go
	wait "$WAITER"
}
test_one_after_the_other_in_a_script() { # a lock is free when the command that held it has returned
	for i in $(seq 30); do
		flock -n "$MNT/script" -c "echo $i >>'$MNT/script.log'"
	done
	[ "$(wc -l <"$MNT/script.log")" -eq 30 ]
}
test_counters_under_a_lock() {
	echo 0 >"$MNT/n"
	add() { # add MNT: 100 times
		for _ in $(seq 100); do
			flock "$1/n.lock" -c "expr \$(cat '$1/n') + 1 >'$1/n.$$' && cat '$1/n.$$' >'$1/n'"
		done
	}
	add "$MNT" &
	add "$MNT2"
	wait
	[ "$(cat "$MNT/n")" -eq 200 ]
}
test_sqlite_with_two_writers() {
	sqlite3 "$MNT/db" 'create table t (who text, n integer);'
	insert() { # insert MNT NAME
		for i in $(seq 50); do
			sqlite3 -cmd '.timeout 60000' "$1/db" "insert into t values ('$2', $i);"
		done
	}
	insert "$MNT" one &
	insert "$MNT2" two
	wait $!
	[ "$(sqlite3 "$MNT2/db" 'select count(*) from t;')" -eq 100 ]
	[ "$(sqlite3 "$MNT/db" 'pragma integrity_check;')" = ok ]
}
test_read_only_mounts_lock_too() {
	store
	mkdir "$T/ro"
	touch "$MNT/ro"
	"$PAXFS" mount -o ro "$EP" "$T/ro"
	exec 5<"$T/ro/ro"
	flock -s -n 5
	if flock -n "$MNT/ro" true; then die "the reader's lock does not hold"; fi
	exec 5<&-
	flock -w 5 "$MNT/ro" true
	umount "$T/ro"
}
test_local_locks_are_local() {
	store
	mkdir "$T/local"
	touch "$MNT/l"
	"$PAXFS" mount -o locallocks "$EP" "$T/local"
	exec 5<"$T/local/l"
	flock -n 5
	if flock -n "$T/local/l" true; then die "no lock in one mount"; fi
	flock -n "$MNT/l" true
	exec 5<&-
	umount "$T/local"
}
test_an_evicted_mount_cannot_write_under_its_lock() {
	store
	rm -f "$MNT/held"
	hold_on_second
	waiter_on_first
	session=$(session_of "$MNT2")
	"$PAXFS" clients --evict "$session"
	wait "$WAITER" # the lock was free at once
	echo >&5
	read -r line <&6
	[ "$line" = "Input/output error" ]
	let_go
	[ "$(cat "$MNT/held")" = w ]
	[ "$(session_of "$MNT2")" != "$session" ] # it goes on with another one
	refused=0
	"$PAXFS" clients --evict 999999 2>/dev/null || refused=$?
	[ "$refused" -eq 1 ]
	unmount_quietly "$MNT2"
}
test_a_killed_mount_holds_nothing_when_its_session_is_over() {
	local pid
	store
	second_mount
	pid=$(pgrep -f "paxfs mount $EP $MNT2" | head -n 1)
	hold_on_second
	waiter_on_first
	kill -9 "$pid"
	if flock -n "$MNT/held" true; then die "the session is not over yet"; fi
	"$PAXFS" clients --evict "$(session_of "$MNT2")" # what 60 s of silence do, too
	wait "$WAITER"
	let_go
	umount -l "$MNT2"
	"$PAXFS" fsck --repair || true
	"$PAXFS" fsck
}
run_tests
