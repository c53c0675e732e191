#!/bin/bash
# Clocks that jump (libfaketime), one node at a time, under a load whose history is judged.
#
# A node uses CLOCK_BOOTTIME for leases and timeouts, CLOCK_REALTIME for stamps and logs. In the first store
# only CLOCK_REALTIME is faked, in the second all clocks: these move together then, for libfaketime has one
# offset and one speed for all of them. What it cannot fake: how long poll(2), epoll_wait(2) and condition
# variables really wait (a fast clock makes timers fire at the next turn of the loop, a slow one lets it
# wake up too early and wait again), clocks of another speed beside timerfd_settime(2), which then fails in the
# library (so there is no drift here; tests/sim has it), the kernel's own times (TCP, file times), and CLOCK_BOOTTIME apart from
# CLOCK_MONOTONIC. CLOCK_BOOTTIME never runs backwards on a real machine, so that is not tried.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/system/fault_lib.sh
. "$(dirname "$0")/fault_lib.sh"

LIBFAKETIME=$(echo /usr/lib/*/faketime/libfaketimeMT.so.1)
export FAKETIME_NO_CACHE=1 NO_FAKE_STAT=1
clock() { # clock ID SETTING: as in faketime(1); each node reads its own file at every look at a clock
	echo "$2" >"$T/clock.$1.new"
	mv "$T/clock.$1.new" "$T/clock.$1"
}
node_prefix() { echo "FAKETIME_TIMESTAMP_FILE=$T/clock.$1"; }
start_with_clocks() { # start_with_clocks SEED
	local i
	[ -f "$LIBFAKETIME" ] || die "libfaketime is missing: run ./deps.sh"
	mkdir -p "$T/data"
	proxy_start "$1"
	for i in $(seq "$NODES"); do
		clock "$i" "+0"
		NODE_PRELOAD=$LIBFAKETIME node_start "$i" env "$(node_prefix "$i")"
	done
	for i in $(seq "$NODES"); do until_true 20 test -S "$T/n$i.sock"; done
	endpoints
	"$PAXFS" init --endpoints "$EP" --groups 3
	load_start 1 "$1"
	load_start 2 $(($1 + 1))
	until_true 20 load_reached 1 200
}
# shellcheck disable=SC2317 # called by longest_during
try_all() {
	local id=$1 setting
	shift
	for setting in "$@"; do
		clock "$id" "$setting"
		load_goes_on 1 250 60
	done
}
# jumps WHO SETTING...: each for a while, the load going on; then as it was
jumps() {
	local id=$1
	shift
	longest_during 1 try_all "$id" "$@"
	node_alive "$id" || die "node $id has ended: $(tail -n 2 "$T/data/n$id.log")"
	note "node $id: clock ${*}: longest call $LONGEST ms"
	[ "$LONGEST" -lt 5000 ] || die "a call took $LONGEST ms"
}
ends_well() {
	load_stop 1
	load_stop 2
	judge "$1"
	same_and_clean
}

test_the_library_fakes_what_is_thought() {
	clock 0 "+0"
	{
		echo
		pass_seconds 0.2
		clock 0 "+1000"
		echo
	} | env "LD_PRELOAD=$LIBFAKETIME" DONT_FAKE_MONOTONIC=1 "$(node_prefix 0)" "$PROG/clockshow" >"$T/clocks"
	note "$(tail -n 1 "$T/clocks")"
	awk 'NR == 1 {r = $2; m = $4; b = $6}
		END {exit !($2 - r > 0 && $4 - m >= 0 && $4 - m < 500 && $6 - b < 500)}' "$T/clocks"
}
test_start_with_wall_clocks() {
	export DONT_FAKE_MONOTONIC=1
	start_with_clocks 1
}
test_wall_clock_of_a_leader_jumps() {
	endpoints
	jumps "$(leader_of 1)" "+3600" "-3600" "+86400" "+0"
}
test_wall_clocks_differ() {
	endpoints
	clock 1 "+100"
	clock 2 "-100"
	jumps 3 "+5" "-5" "+1000"
}
test_histories_with_wall_clocks() {
	endpoints
	ends_well "wall clocks:"
}
test_start_with_all_clocks() {
	for i in $(seq "$NODES"); do node_kill "$i"; done
	kill "$(pid_of proxy)" 2>/dev/null || true
	until_true 10 gone "$(pid_of proxy)"
	rm -rf "$T/data" "$T"/n?.sock "$T/history"
	unset DONT_FAKE_MONOTONIC
	start_with_clocks 2
}
test_all_clocks_of_a_leader_jump() {
	endpoints
	jumps "$(leader_of 1)" "+1" "+11" "+41"
}
test_all_clocks_of_a_follower_jump() {
	endpoints
	jumps $(($(leader_of 1) % NODES + 1)) "+1" "+11" "+41"
}
test_histories_with_all_clocks() {
	endpoints
	ends_well "all clocks:"
}
run_tests
