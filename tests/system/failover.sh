#!/bin/bash
# How long a client waits when a leader is lost: killed, stopped, isolated, or with a disk that takes a second per
# sync. FAILOVER_KILLS (5; 100 for the figures of docs/performance.md) of each, under load of several clients
# with transactions over all groups; the longest wait of any of their calls is one sample.
#
# Every node has a network namespace of its own, on a bridge in the namespace of this test: nothing of it
# touches the machine's network.
if [ -z "${PAXFS_NETNS:-}" ]; then
	PAXFS_NETNS=1 exec unshare -n -- bash "$0" "$@"
fi
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
FP=${BUILD_FP:-${PROG%/tests/system}-fp}
case $FP in /*) ;; *) FP=$(cd "$(dirname "$0")/../.." && pwd)/$FP ;; esac
PAXFS=$FP/paxfs
KILLS=${FAILOVER_KILLS:-5}
SEED=${SEED:-$RANDOM}
SLOW_SECONDS=3
LIMIT_MS=5000 # no call waits longer, whatever the machine is doing
RANDOM=$SEED

export PAXFS_FAILPOINT_DIR=$T/fp
mkdir -p "$PAXFS_FAILPOINT_DIR" "$T/data"
EP=10.77.0.1:7000,10.77.0.2:7000,10.77.0.3:7000

pause() { read -r -t "$1" <> <(:) || true; }

# ---- nodes ----

network_up() {
	local n
	ip link set lo up
	ip link add name pxbr type bridge
	ip addr add 10.77.0.100/24 dev pxbr
	ip link set pxbr up
	for n in 1 2 3; do
		unshare -n tail -f /dev/null &
		holder[n]=$!
		until_true 5 other_namespace "${holder[n]}"
		ip link add "px$n" type veth peer name eth0 netns "${holder[n]}"
		ip link set "px$n" master pxbr up
		nsenter -t "${holder[n]}" -n ip link set lo up
		nsenter -t "${holder[n]}" -n ip addr add "10.77.0.$n/24" dev eth0
		nsenter -t "${holder[n]}" -n ip link set eth0 up
	done
}
other_namespace() { [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
node_start() {
	nsenter -t "${holder[$1]}" -n "$PAXFS" node --id "$1" --listen "10.77.0.$1:7000" --data "$T/data/n$1" \
		>>"$T/data/n$1.log" 2>&1 &
	pids[$1]=$!
}
answers() { "$PAXFS" status --endpoints "10.77.0.$1:7000" --timeout 1; }
all_end() {
	local p
	exec 2>/dev/null
	for p in "${pids[@]}" "${holder[@]}"; do kill -KILL "$p"; done
}
declare -a pids holder

# ---- the load ----

ask() { # sets `answer`
	echo "$*" >&"${LOAD[1]}"
	read -r -t 100 answer <&"${LOAD[0]}" || die "the load does not answer to $*"
}
load_start() {
	local line
	coproc LOAD { exec "$FP/tests/system/fp_load" "$EP" calm 2>"$T/load.err"; }
	read -r -t 30 line <&"${LOAD[0]}" && [ "$line" = ready ]
}
some_leader() { # of a data group picked afresh: sets `node`
	local pair g=$((RANDOM % 3 + 1))
	for _ in $(seq 100); do
		ask leaders
		for pair in $answer; do [ "${pair%%:*}" = $g ] && node=${pair##*:}; done
		[ "$node" != 0 ] && return 0
		pause 0.05
	done
	die "group $g has no leader"
}
passed_again() { # every counter was added to five times: all groups serve
	ask stall
	[ "${answer##* }" -ge 5 ]
}

# ---- the four ways ----

lose() { # lose WAY NODE
	case $1 in
	killed) kill -KILL "${pids[$2]}" ;;
	stopped) kill -STOP "${pids[$2]}" ;;
	isolated) ip link set "px$2" down ;;
	slow_disk)
		echo log_before_write:1:delay=1000 >"$PAXFS_FAILPOINT_DIR/${pids[$2]}"
		kill -USR2 "${pids[$2]}"
		pause "$SLOW_SECONDS"
		;;
	esac
}
leads_still() { # leads_still NODE: any data group
	ask leaders
	[[ " ${answer#* }" =~ :$1\  ]]
}
bring_back() {
	case $1 in
	killed)
		wait "${pids[$2]}" || true
		node_start "$2"
		until_true 20 answers "$2"
		;;
	stopped) kill -CONT "${pids[$2]}" ;;
	isolated) ip link set "px$2" up ;;
	slow_disk)
		: >"$PAXFS_FAILPOINT_DIR/${pids[$2]}"
		kill -USR2 "${pids[$2]}"
		;;
	esac
}
percentile() { # percentile P FILE of sorted numbers
	awk -v p="$1" '{v[NR] = $1} END {i = int((NR * p + 99) / 100); print v[i < 1 ? 1 : i]}' "$2"
}
measure() { # measure WAY
	local i node p50 p99 max kept=0
	: >"$T/stalls.$1"
	for i in $(seq "$KILLS"); do
		some_leader
		ask mark
		lose "$1" "$node"
		ask after
		until_true 60 passed_again
		echo "${answer%% *}" >>"$T/stalls.$1"
		if [ "$1" = slow_disk ] && leads_still "$node"; then kept=$((kept + 1)); fi
		bring_back "$1" "$node"
		ask check
		case $answer in ok*) ;; *) die "$1, round $i, node $node: $answer" || return 1 ;; esac
	done
	sort -n -o "$T/stalls.$1" "$T/stalls.$1"
	p50=$(percentile 50 "$T/stalls.$1")
	p99=$(percentile 99 "$T/stalls.$1")
	max=$(percentile 100 "$T/stalls.$1")
	note "$(printf '%-9s %3d times: p50 %4d ms  p99 %4d ms  max %4d ms (aims 300, 1000, 2000)' "$1" "$KILLS" \
		"$p50" "$p99" "$max")"
	[ "$1" = slow_disk ] && note "$(printf '%13s still leads after %s s: %d' '' "$SLOW_SECONDS" $kept)"
	[ "$max" -le $LIMIT_MS ]
}

test_leaders_lost() {
	local n way failed_ways=
	trap all_end EXIT
	network_up
	for n in 1 2 3; do node_start $n; done
	until_true 20 "$PAXFS" init --endpoints "$EP" --groups 3 --timeout 5
	load_start
	note "SEED=$SEED"
	for way in ${WAYS:-killed stopped isolated slow_disk}; do
		measure "$way" || failed_ways+=" $way"
	done
	ask quit
	[ -z "$failed_ways" ] || die "failed:$failed_ways"
}
run_tests
