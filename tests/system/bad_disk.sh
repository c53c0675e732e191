#!/bin/bash
# Disks that fail, tear, forget or take long: a node whose log cannot be written ends with one clear line and
# acknowledges nothing more; what was acknowledged is never lost.
#
# BAD_DISK_KS="1 2 3 ..." fails these writes, one after another.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/system/fault_lib.sh
. "$(dirname "$0")/fault_lib.sh"

KS=${BAD_DISK_KS:-1 3 17}
ended() { ! node_alive "$1"; }
new_log() { # new_log ID: what the node has written to its log since log_mark
	tail -c +$(($(cat "$T/mark.$1") + 1)) "$T/data/n$1.log"
}
log_mark() { stat -c %s "$T/data/n$1.log" >"$T/mark.$1"; }
says() { # says ID REGEX
	new_log "$1" | grep -E -q "$2" || {
		new_log "$1" | tail -n 5
		die "node $1 does not say: $2"
	}
}
# fails_and_recovers ID RULE: the node ends, the others go on, it comes back
fails_and_recovers() {
	local id=$1
	log_mark "$id"
	bad_disk "$id" "$2"
	until_true 20 ended "$id"
	[ "$(disk_hits "$id")" -ge 1 ] || die "node $id ended for another reason"
	load_goes_on 1 100
	bad_disk "$id"
	node_start "$id"
	until_true 30 all_serving
}

# What an earlier test left behind, when it failed, must not fail the next ones.
prepare() {
	endpoints
	heal_all
}

test_start() {
	faulty_store 1 3
	load_start 1 1
	load_start 2 2
	until_true 20 load_reached 1 200
}
test_a_failing_sync_ends_the_node() {
	prepare
	n=$(leader_of 1)
	fails_and_recovers "$n" "fail=EIO sync */n$n/log/*.wal k=1"
	says "$n" '(error|fatal).*(log|wal).*[Ii]nput/output error'
	note "$(new_log "$n" | grep -E 'nput/output error' | head -n 1 | cut -d' ' -f2-)"
}
test_a_torn_write_is_cut_off() {
	prepare
	n=$(leader_of 2)
	fails_and_recovers "$n" "tear=EIO write */n$n/log/*.wal k=2"
}
test_the_kth_write_fails() {
	prepare
	for k in $KS; do
		n=$(leader_of $((k % 4)))
		fails_and_recovers "$n" "fail=EIO write,sync */n$n/log/*.wal k=$k"
	done
	note "writes that failed, each on a leader: $KS"
}
# RocksDB as Debian builds it has its assertions on: some errors end the process by one of these.
test_an_engine_that_cannot_write() {
	prepare
	n=$(leader_of 3)
	node_kill "$n"
	log_mark "$n"
	bad_disk "$n" "fail=EIO write,sync */n$n/engine/* from=1"
	node_start "$n"
	until_true 20 ended "$n"
	load_goes_on 1 100
	cat "$T/data/n$n.out" >>"$T/data/n$n.log"
	says "$n" 'engine|rocksdb'
	bad_disk "$n"
	node_start "$n"
	until_true 30 all_serving
	log_mark "$n"
	bad_disk "$n" "fail=EIO write,sync */n$n/engine/*.sst from=1" "fail=EIO write,sync */n$n/engine/*.log from=1"
	"$PROG/replicasame" "$EP" 20 flush
	load_goes_on 1 200
	note "flush of an engine that cannot write: $(ended "$n" && echo "node $n ends" || echo "node $n goes on")"
	bad_disk "$n"
	node_revive "$n"
	until_true 30 all_serving
}
# shellcheck disable=SC2317 # called by until_true
flushes() { "$PROG/replicasame" "$EP" 20 flush | grep -qx "node $1: flush: done"; }
# RocksDB gets over that by itself, and flushes go on to be flushes.
test_an_engine_that_finds_no_space_for_a_while() {
	prepare
	n=$(leader_of 2)
	until_true 20 flushes "$n"
	log_mark "$n"
	bad_disk "$n" "fail=ENOSPC write */n$n/engine/*.sst from=1"
	load_goes_on 1 100
	if flushes "$n"; then die "node $n has flushed without space"; fi
	[ "$(disk_hits "$n")" -ge 1 ]
	says "$n" '[Nn]o space'
	bad_disk "$n"
	for i in 1 2 3; do
		load_goes_on 1 50
		until_true 30 flushes "$n"
	done
	node_alive "$n"
	note "no space for a flush: $(new_log "$n" | grep -i 'no space' | head -n 1 | cut -d' ' -f2- | cut -c1-120)"
}
leads_nothing() { ! "$PAXFS" status | awk '/^group/ {on = 1; next} on {print $2}' | grep -qx "$1"; }
# shellcheck disable=SC2317 # called by longest_during
slow() {
	bad_disk "$1" "delay=1000 sync */n$1/log/* from=1"
	until_true 20 leads_nothing "$1"
	load_goes_on 1 300
}
test_a_leader_with_a_slow_disk_leads_no_more() {
	prepare
	n=$(leader_of 1)
	began=$SECONDS
	longest_during 1 slow "$n"
	note "a sync takes 1 s at a leader: longest call $LONGEST ms, it led for less than $((SECONDS - began + 1)) s"
	bad_disk "$n"
	until_true 30 all_serving
	[ "$LONGEST" -lt 8000 ]
}
test_histories() {
	prepare
	load_stop 1
	load_stop 2
	judge "bad disks:"
	same_and_clean
}
# shellcheck disable=SC2317 # called by until_true
refused() { new_log "$1" | grep -q AMNESIA || ended "$1"; }
# Its disk says yes and writes nothing: found out after the next start, and it must not vote.
test_a_disk_that_forgets() {
	prepare
	n=$(leader_of 1)
	load_start 1 3 1
	until_true 20 load_reached 1 100
	log_mark "$n"
	bad_disk "$n" "drop write */n$n/log/* from=1"
	load_goes_on 1 300
	[ "$(disk_hits "$n")" -ge 10 ]
	node_kill "$n"
	bad_disk "$n"
	load_goes_on 1 300
	node_start "$n"
	load_goes_on 1 300
	until_true 20 refused "$n"
	note "$(new_log "$n" | grep -E 'AMNESIA|error' | head -n 1 | cut -d' ' -f2-)"
	load_stop 1
	judge "a disk that forgets:"
}
run_tests
