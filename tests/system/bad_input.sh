#!/bin/bash
# Bad input: one clear line each, a non-zero exit, nothing lost.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

test_start() {
	store_up 3 4
	echo keep >"$MNT/keep"
}
prepare() {
	EP=$(store_endpoints)
	export PAXFS_ENDPOINTS=$EP
}
# refuses PATTERN COMMAND...: fails, and says PATTERN in one line
refuses() {
	local pattern=$1 rc=0
	shift
	"$@" >"$T/out" 2>&1 || rc=$?
	if [ $rc -eq 0 ]; then
		die "succeeded: $*"
		return 1
	fi
	if ! grep -qE -- "$pattern" "$T/out"; then
		die "$*: said: $(cat "$T/out")"
		return 1
	fi
	[ "$(wc -l <"$T/out")" -le 2 ] || die "$*: more than a line: $(cat "$T/out")"
}
node() { timeout 20 "$PAXFS" node "$@"; }
still_fine() {
	[ "$(cat "$MNT/keep")" = keep ]
	until_true 20 "$PAXFS" status
}

test_garbage_on_every_port() {
	prepare
	pids="$(node_pid 1) $(node_pid 2) $(node_pid 3)"
	for a in ${EP//,/ }; do
		"$PROG/badframes" "${a%:*}" "${a#*:}" "$RANDOM" 300 >"$T/bf"
		note "$(cat "$T/bf") to $a"
	done
	[ "$pids" = "$(node_pid 1) $(node_pid 2) $(node_pid 3)" ]
	still_fine
	"$PAXFS" status -o json | tr -d ' ' | grep -q '"bad_frames":[1-9]'
}
test_unknown_options() {
	prepare
	refuses 'unknown' "$PAXFS" node --frobnicate
	refuses 'unknown mount option "frob"' "$PAXFS" mount "$EP" "$T/x" -o frob
	refuses 'wants 1 to' "$PAXFS" node --id 0 --listen 127.0.0.1:0 --data "$T/x"
	refuses 'needed' "$PAXFS" node --id 1
}
test_other_node_id_or_cluster() {
	prepare
	kill_node 3
	refuses 'node' node --id 2 --listen 127.0.0.1:0 --data "$T/data/n3"
	cp -a "$T/data/n3" "$T/foreign"
	rm -rf "$T/foreign/cluster"
	restart_nodes
	still_fine
}
test_data_directory_in_use() {
	prepare
	refuses 'in use' node --id 1 --listen 127.0.0.1:0 --data "$T/data/n1"
	still_fine
}
test_port_in_use() {
	prepare
	refuses 'in use' node --id 9 --listen "${EP%%,*}" --data "$T/new"
	still_fine
}
test_mount_points() {
	prepare
	refuses 'does not exist' "$PAXFS" mount "$EP" "$T/nowhere"
	touch "$T/file"
	refuses 'not a directory' "$PAXFS" mount "$EP" "$T/file"
	mkdir -p "$T/full"
	touch "$T/full/x"
	refuses 'not empty' "$PAXFS" mount "$EP" "$T/full"
	refuses 'busy' "$PAXFS" mount "$EP" "$MNT"
	mkdir -p "$T/empty"
	refuses 'reach|reachable|refused|timed out' "$PAXFS" mount -t 1 127.0.0.1:1 "$T/empty"
	still_fine
}
test_no_dev_fuse() {
	prepare
	mkdir -p "$T/empty"
	cat >"$T/nofuse" <<-S
		mount -t tmpfs none /dev && exec "$PAXFS" mount "$EP" "$T/empty"
	S
	refuses '/dev/fuse' unshare -m sh "$T/nofuse"
}
test_uninitialised_store() {
	prepare
	node --id 7 --listen 127.0.0.1:0 --data "$T/fresh" --ready-fd 9 9>"$T/addr" 2>/dev/null &
	p=$!
	until_true 10 grep -q : "$T/addr"
	refuses 'not initialised' "$PAXFS" get -e "$(cat "$T/addr")" x
	mkdir -p "$T/empty"
	refuses 'not initialised' "$PAXFS" mount "$(cat "$T/addr")" "$T/empty"
	kill $p
	wait $p || true
}
test_damaged_log_is_refused() {
	prepare
	kill_node 2
	cp -a "$T/data/n2" "$T/n2.good"
	# bytes flipped in the middle of the records: others are behind
	f=$(find "$T/data/n2/log" -type f -size +1M | sort | head -1)
	at=$(cmp -l "$f" /dev/zero 2>/dev/null | awk '$1 > 16384 && ++n == 300 {print $1; exit}')
	printf '\xff\x00\xff' | dd of="$f" bs=1 seek="$at" conv=notrunc 2>/dev/null
	refuses 'damaged at byte' node --id 2 --listen 127.0.0.1:0 --data "$T/data/n2"
	still_fine_without_2=$(cat "$MNT/keep")
	[ "$still_fine_without_2" = keep ]
	rm -rf "$T/data/n2"
	mv "$T/n2.good" "$T/data/n2"
	restart_nodes
	still_fine
}
test_empty_directory_under_a_known_id() {
	prepare
	kill_node 2
	mv "$T/data/n2" "$T/n2.good"
	"$PAXFS" local up --data "$T/data" >"$T/up.out" 2>&1 || true
	[ "$(cat "$MNT/keep")" = keep ]
	until_true 10 grep -q 'AMNESIA.*restore or rebuild it' "$T/data/n2.log"
	if [ -f "$T/data/n2.pid" ]; then kill -KILL "$(node_pid 2)" 2>/dev/null || true; fi
	rm -rf "$T/data/n2"
	mv "$T/n2.good" "$T/data/n2"
	restart_nodes
	still_fine
}
test_fsck_is_clean() {
	prepare
	"$PAXFS" fsck
}
run_tests
