#!/bin/bash
# kill -9 of all nodes at once, KILL_ROUNDS times (12; 200 for the figures of docs/performance.md), under load: files
# with fsync through a mount, and transactions over all groups from a client. After every round the store is back by
# itself and has all that was acknowledged.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
ROUNDS=${KILL_ROUNDS:-12}

now_ms() { echo $(($(date +%s%N) / 1000000)); }
ask() { # sets `answer`
	echo "$*" >&"${LOAD[1]}"
	read -r -t 100 answer <&"${LOAD[0]}" || die "the load does not answer to $*"
}
load_start() {
	local line
	coproc LOAD { exec "$PROG/fp_load" "$EP" calm 2>"$T/load.err"; }
	read -r -t 30 line <&"${LOAD[0]}" && [ "$line" = ready ]
}
acked() { wc -l <"$T/acks"; }
both_go_on() { # since the restart: another file, and every counter once more
	[ "$(acked)" -gt "$1" ] || return 1
	ask stall
	[ "${answer##* }" -ge 1 ]
}
percentile() { # percentile P FILE of sorted numbers
	awk -v p="$1" '{v[NR] = $1} END {i = int((NR * p + 99) / 100); print v[i < 1 ? 1 : i]}' "$2"
}

one_round() { # one_round NUMBER: files of its own
	local t0 n pids p w
	mkdir "$MNT/rounds/$1"
	: >"$T/acks"
	"$PROG/ackwriter" write "$MNT/rounds/$1" "$T/acks" 36000 <"$T/hold" >"$T/writer.out" &
	w=$!
	exec 6>"$T/hold"
	ask after
	until_true 30 both_go_on 10 # there is something to lose
	pids="$(node_pid 1) $(node_pid 2) $(node_pid 3)"
	# shellcheck disable=SC2086 # three words
	kill -KILL $pids
	for p in $pids; do until_true 10 gone "$p"; done
	n=$(acked)
	t0=$(now_ms)
	restart_nodes
	ask after
	until_true 60 both_go_on "$n"
	echo $(($(now_ms) - t0)) >>"$T/recovery"
	exec 6>&-
	wait $w
	ask check
	case $answer in ok*) ;; *) die "$answer" ;; esac
	"$PROG/ackwriter" check "$MNT/rounds/$1" "$T/acks"
	mv "$T/acks" "$T/acks.$1"
}
test_all_nodes_killed_again_and_again() {
	local i
	store_up 3 3
	mkdir "$MNT/rounds"
	mkfifo "$T/hold"
	load_start
	for i in $(seq "$ROUNDS"); do
		one_round "$i" || die "round $i"
	done
	ask quit
	for i in $(seq "$ROUNDS"); do
		"$PROG/ackwriter" check "$MNT/rounds/$i" "$T/acks.$i" >>"$T/checked"
	done
	sort -n -o "$T/recovery" "$T/recovery"
	note "$ROUNDS rounds, $(awk '{n += $2} END {print n}' "$T/checked") files; back after:" \
		"p50 $(percentile 50 "$T/recovery") ms, p99 $(percentile 99 "$T/recovery") ms," \
		"max $(percentile 100 "$T/recovery") ms"
}
test_fsck_is_clean() {
	EP=$(store_endpoints)
	export PAXFS_ENDPOINTS=$EP
	"$PAXFS" fsck >"$T/fsck" || true
	sed '$d' "$T/fsck" | grep -v -E '^a key of no kind, key [0-9a-f]{8}fa' && die "fsck found something"
	grep -q ' directories, .* orphans: ' "$T/fsck"
}
run_tests
