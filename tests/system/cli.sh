#!/bin/bash
# Keys without a mount, what the commands print, exit codes.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

rc_of() { local rc=0; "$@" >/dev/null 2>&1 || rc=$?; echo $rc; }

test_local_up_prints_what_it_did() {
	store_up 3 4 | tee "$T/up"
	grep -q 'paxfs is up: 3 nodes, 4 data groups' "$T/up"
	grep -q "mounted at $MNT" "$T/up"
	grep -q 'paxfs local down' "$T/up"
	"$PAXFS" local status --data "$T/data" -o json | grep -q '"pid": [0-9]'
	[ "$("$PAXFS" local status --data "$T/data" | wc -l)" -eq 5 ]
}
test_up_again_changes_nothing() {
	EP=$(store_endpoints)
	before=$(node_pid 1)
	"$PAXFS" local up --data "$T/data" --mount "$MNT"
	[ "$(node_pid 1)" = "$before" ]
	[ "$(store_endpoints)" = "$EP" ]
}
export PAXFS_ENDPOINTS=
use_store() { PAXFS_ENDPOINTS=$(store_endpoints); export PAXFS_ENDPOINTS; }

test_put_and_get() {
	use_store
	"$PAXFS" put app/conf 'hello world'
	[ "$("$PAXFS" get app/conf)" = 'hello world' ]
	[ "$(cat "$MNT/app/conf")" = 'hello world' ]
	echo from-mount >"$MNT/app/other"
	[ "$("$PAXFS" get app/other)" = from-mount ]
	head -c 300000 /dev/urandom >"$T/blob"
	"$PAXFS" put app/blob -f "$T/blob"
	"$PAXFS" get app/blob | cmp - "$T/blob"
	"$PAXFS" put app/blob2 <"$T/blob"
	cmp "$MNT/app/blob2" "$T/blob"
	"$PAXFS" get app/conf -o json | grep -q '"value": *"hello world"'
}
test_ls_and_del() {
	use_store
	"$PAXFS" ls app | sort | tr '\n' ' ' | grep -q 'blob blob2 conf other '
	"$PAXFS" ls -l app | grep -q 'file *300000 .* blob$'
	"$PAXFS" del app/blob app/blob2
	[ "$(rc_of "$PAXFS" get app/blob)" = 1 ]
	[ ! -e "$MNT/app/blob" ]
}
test_mput_is_atomic_over_groups() {
	use_store
	"$PAXFS" mput m1/a=1 m2/b=2 m3/c=3 m4/d=4
	[ "$("$PAXFS" mget m1/a m2/b m3/c m4/d m4/none | tr '\n' ' ')" = 'm1/a=1 m2/b=2 m3/c=3 m4/d=4 m4/none (absent) ' ]
	"$PAXFS" mput m1/a=x -- -m2/b
	[ "$("$PAXFS" mget m1/a m2/b | tr '\n' ' ')" = 'm1/a=x m2/b (absent) ' ]
}
test_cas() {
	use_store
	"$PAXFS" cas counter --absent 1
	[ "$(rc_of "$PAXFS" cas counter --absent 1)" = 1 ]
	"$PAXFS" cas counter --expect 1 2
	[ "$("$PAXFS" cas counter --expect 1 3 2>/dev/null || true)" = 2 ]
	[ "$("$PAXFS" get counter)" = 2 ]
}
test_swap() {
	use_store
	"$PAXFS" mput s1/x=left s2/y=right
	"$PAXFS" swap s1/x s2/y
	[ "$("$PAXFS" get s1/x)$("$PAXFS" get s2/y)" = rightleft ]
}
test_status_and_where() {
	use_store
	until_true 10 "$PAXFS" status
	"$PAXFS" status | tee "$T/status"
	[ "$(grep -c ' up ' "$T/status")" -eq 3 ]
	"$PAXFS" status -o json | grep -q '"serving": true'
	"$PAXFS" where "$MNT/app/conf" | grep -q 'group [1-4] (leader node [1-3], replicas'
	"$PAXFS" where app/conf -o json | grep -q '"replicas"'
}
test_watch_tells_of_changes() {
	use_store
	"$PAXFS" put w/key 1
	"$PAXFS" watch w/key -n 2 -t 20 >"$T/watch" &
	watcher=$!
	until_true 10 test -s "$T/watch"
	"$PAXFS" put w/key 2
	wait "$watcher"
	[ "$(sort -un "$T/watch" | wc -l)" -eq 2 ]
	"$PAXFS" watch "$MNT/w/key" -n 1 -o json | grep -q '"absent":false'
	"$PAXFS" del w/key
	[ "$("$PAXFS" watch w/key -n 1)" = absent ]
	[ "$(rc_of "$PAXFS" watch w/key -n 2 -t 0.5)" = 1 ]
	[ "$(rc_of "$PAXFS" watch)" = 2 ]
	[ "$(rc_of "$PAXFS" watch -k xyz)" = 2 ]
}
test_bench_runs() {
	use_store
	"$PAXFS" bench -d 0.3 -c 4 -r 50 | grep -q 'p99'
}
test_bench_interrupted_leaves_no_keys() {
	use_store
	if timeout -s INT 2 "$PAXFS" bench -d 60 -c 8 -k 200 >"$T/bench.out"; then
		die "an interrupted bench says that all is well"
	fi
	"$PAXFS" fsck
}
test_fsck_is_clean() {
	use_store
	"$PAXFS" fsck | grep -q ' 0 problems'
}
test_exit_codes() {
	use_store
	[ "$(rc_of "$PAXFS")" = 2 ]
	[ "$(rc_of "$PAXFS" nonsense)" = 2 ]
	[ "$(rc_of "$PAXFS" get --nonsense x)" = 2 ]
	[ "$(rc_of "$PAXFS" get)" = 2 ]
	[ "$(rc_of "$PAXFS" get no/such/key)" = 1 ]
	[ "$(rc_of "$PAXFS" get -e 127.0.0.1:1 -t 1 x)" = 3 ]
	[ "$(rc_of "$PAXFS" status -e 127.0.0.1:1 -t 1)" = 3 ]
}
test_every_command_has_help() {
	for c in local node init mount status get put del ls mget mput cas swap where watch fsck bench; do
		"$PAXFS" $c --help | grep -q "^usage: paxfs $c"
	done
	"$PAXFS" --help | grep -q COMMAND
	"$PAXFS" --version | grep -q '^paxfs [0-9]'
}
run_tests
