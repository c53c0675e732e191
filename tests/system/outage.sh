#!/bin/bash
# Mounts and their sessions: what is lost when the store is away, when the mount is, when somebody ends its
# session; and that it goes on without being mounted anew.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

CLEANUP=outage_cleanup
LOG=$T/second.log
SHORT=5 # seconds: the least that there is

outage_cleanup() {
	[ -f "$T/second.pid" ] && kill -CONT "$(cat "$T/second.pid")" 2>/dev/null
	cleanup
}
store() { # each test is a shell of its own
	EP=$(store_endpoints)
	export PAXFS_ENDPOINTS=$EP
	second=$(cat "$T/second.pid")
}
is_mounted() { grep -q " $1 fuse" /proc/mounts; }
session_id() { # of a mount point
	"$PAXFS" clients | awk -v m=":$1" '$NF ~ m "$" {print $1}'
}
has_session() { [ "$(session_id "$1")" = "$2" ]; }
has_other_session() {
	local s
	s=$(session_id "$1")
	[ -n "$s" ] && [ "$s" != "$2" ]
}
lines() { grep -c "was closed by others" "$LOG" || true; }
lines_are() { [ "$(lines)" -eq "$1" ]; }
last_line() { grep "was closed by others" "$LOG" | tail -n 1; }
pass_seconds() { read -r -t "$1" <> <(:) || true; }

# A process with open files: ask LINE: its answer in $got; hear ANSWER LINE: it must be that.
player_start() {
	mkfifo "$T/to" "$T/from"
	"$PROG/fdplay" <"$T/to" >"$T/from" &
	PLAYER=$!
	exec 5>"$T/to" 6<"$T/from"
}
ask() {
	echo "$*" >&5
	read -r -t 60 got <&6
}
hear() {
	local want=$1
	shift
	ask "$@"
	[ "$got" = "$want" ] || die "$*: \"$got\" instead of \"$want\""
}
player_end() {
	exec 5>&-
	wait "$PLAYER"
	exec 6<&-
	rm "$T/to" "$T/from"
}
freeze_until_closed() { # by the other mount, which sees it silent
	local id
	id=$(session_id "$MNT2")
	kill -STOP "$second"
	until_true 60 gone_session "$id"
}
gone_session() { ! "$PAXFS" clients | awk '{print $1}' | grep -qx "$1"; }

test_start() {
	store_up 3 4
	mkdir -p "$MNT2"
	"$PAXFS" mount -f --log "$LOG" -o session_timeout=$SHORT "$EP" "$MNT2" 5>&- 6<&- &
	echo $! >"$T/second.pid"
	until_true 20 is_mounted "$MNT2"
	until_true 20 has_other_session "$MNT2" 0
}
test_bounds_of_the_option() {
	store
	for bad in 4 3601 -1 x 1e9; do
		! "$PAXFS" mount -o "session_timeout=$bad" "$EP" "$T" 2>"$T/err" || die "$bad was taken"
		grep -q "session_timeout wants 5 to 3600 seconds" "$T/err"
	done
}
test_evicted_while_idle() {
	store
	was=$(lines)
	player_start
	hear ok "open a $MNT2/idle"
	hear ok "write a 0 before"
	id=$(session_id "$MNT2")
	"$PAXFS" clients --evict "$id"
	hear ok "write a 6 -after" # the first one that comes, and no error
	hear "ok before-after" "read a 0 100"
	echo new >"$MNT2/new"
	until_true 10 has_other_session "$MNT2" "$id"
	player_end
	[ "$(cat "$MNT/idle")" = before-after ]
	until_true 10 lines_are $((was + 1))
	note "$(last_line)"
	last_line | grep -q "session $id was closed by others; goes on with session .*; lost: 0 locks"
}
test_a_lost_lock_is_told_once() {
	store
	was=$(lines)
	player_start
	hear ok "open a $MNT2/locked"
	hear ok "open b $MNT2/locked"
	hear ok "open c $MNT2/free"
	hear ok "open d $MNT2/flocked"
	hear ok "open e $MNT2/asked"
	hear ok "write a 0 0123456789"
	hear ok "lock a w"
	hear ok "flock d x"
	hear ok "lock e r"
	"$PAXFS" clients --evict "$(session_id "$MNT2")"
	hear EIO "write a 0 stolen" # what would be written under a lock that is none
	hear ok "write c 0 fine"
	hear ok "write b 10 b"  # has no lock
	hear "ok 0123456789b" "read a 0 100" # once
	hear EIO "flock d u"
	hear ok "flock d x"
	hear ok "flock d u"
	hear EIO "read e 0 1"
	hear "ok" "write e 0 e"
	hear ok "lock a w" # and it can be had again
	hear ok "write a 0 X"
	player_end
	until_true 10 lines_are $((was + 1))
	note "$(last_line)"
	last_line | grep -q "lost: 3 locks (3 open files will be told)"
}
test_frozen_for_too_long() {
	store
	was=$(lines)
	player_start
	hear ok "open a $MNT2/frozen"
	hear ok "open b $MNT2/mine"
	hear ok "open c $MNT2/nameless"
	hear ok "write a 0 old"
	hear ok "write c 0 hidden"
	hear ok "lock a w" # decided in memory from here on: nobody else wants it
	hear ok "lock b w"
	rm "$MNT2/nameless"
	freeze_until_closed
	printf '%s\n' "open a $MNT/frozen" "lock a W" "write a 0 new" "lock a u" |
		timeout 60 "$PROG/fdplay" >"$T/thief"
	[ "$(tr '\n' ' ' <"$T/thief")" = "ok ok ok ok " ]
	kill -CONT "$second"
	hear EIO "read a 0 3"
	hear "ok new" "read a 0 3"
	hear EIO "lock b w"
	hear ok "lock b w"
	hear ok "write b 0 mine"
	hear "ok hidden" "read c 0 100" # it has no name, but it is held
	hear ok "write c 6 -still"
	hear "ok hidden-still" "read c 0 100"
	hear "ok 0" "links c"
	player_end
	until_true 10 lines_are $((was + 1))
	note "$(last_line)"
}
test_all_nodes_killed_under_load() {
	store
	was=$(lines)
	id=$(session_id "$MNT2")
	player_start
	hear ok "open a $MNT2/through"
	hear ok "lock a w"
	mkdir -p "$MNT2/load"
	: >"$T/go"
	(
		i=0
		while [ -f "$T/go" ]; do
			i=$((i + 1))
			dd if=/dev/urandom of="$T/block" bs=64k count=4 status=none
			cp "$T/block" "$MNT2/load/f$((i % 8))"
			cmp "$T/block" "$MNT2/load/f$((i % 8))"
			rm -f "$MNT2/load/f$(((i + 3) % 8))"
		done
		echo "$i" >"$T/copies"
	) >"$T/load.log" 2>&1 &
	load=$!
	(
		i=0
		while [ -f "$T/go" ]; do
			i=$((i + 1))
			sqlite3 "$MNT2/load.db" ".timeout 100000" \
				"create table if not exists t (n); insert into t values ($i);"
		done
		echo "$i" >"$T/rows"
	) >"$T/sqlite.log" 2>&1 &
	sql=$!
	until_true 30 test -s "$MNT/load.db"
	for n in 1 2 3; do kill_node $n; done
	pass_seconds $((SHORT + 2)) # longer than the session lives in silence
	restart_nodes
	until_true 60 all_serving
	hear ok "write a 0 through"
	hear "ok through" "read a 0 100"
	rm "$T/go"
	wait $load $sql
	[ ! -s "$T/load.log" ] || die "the copies: $(cat "$T/load.log")"
	[ ! -s "$T/sqlite.log" ] || die "sqlite: $(cat "$T/sqlite.log")"
	note "$(cat "$T/copies") copies, $(cat "$T/rows") rows"
	[ "$(sqlite3 "$MNT/load.db" 'select count(*) from t;')" -eq "$(cat "$T/rows")" ]
	has_session "$MNT2" "$id" # and its locks
	lines_are "$was"
	player_end
}
test_a_majority_away() {
	store
	was=$(lines)
	id=$(session_id "$MNT2")
	player_start
	hear ok "open a $MNT2/patient"
	hear ok "lock a w"
	kill_node 1 STOP
	kill_node 2 STOP
	echo "write a 0 waits" >&5
	pass_seconds $((SHORT + 2))
	kill_node 1 CONT
	kill_node 2 CONT
	read -r -t 60 got <&6
	[ "$got" = ok ] || die "the write that waited: $got"
	hear "ok waits" "read a 0 100"
	hear ok "lock a u"
	player_end
	has_session "$MNT2" "$id"
	lines_are "$was"
}
test_a_new_session_lives_on() { # it is renewed like the first one, and can be lost again
	store
	was=$(lines)
	id=$(session_id "$MNT2")
	player_start
	hear ok "open a $MNT2/again"
	"$PAXFS" clients --evict "$id"
	hear ok "write a 0 1"
	next=$(session_id "$MNT2")
	pass_seconds $((SHORT + 3))
	has_session "$MNT2" "$next"
	freeze_until_closed
	kill -CONT "$second"
	hear ok "write a 1 2"
	hear "ok 12" "read a 0 9"
	player_end
	until_true 10 lines_are $((was + 2))
}
test_it_unmounts() {
	store
	freeze_until_closed
	kill -CONT "$second"
	ls "$MNT2" >/dev/null
	id=$(session_id "$MNT2")
	umount "$MNT2"
	until_true 20 gone_session "$id"
	"$PAXFS" fsck --repair || true # what sessions that ended left of locks, where nobody came by
	"$PAXFS" fsck
}

run_tests
