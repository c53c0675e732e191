#!/bin/bash
# Every named failpoint (base/failpoint.h) in each role where it can be hit: the node dies there, under load;
# it comes back, and nothing acknowledged is lost, transactions are whole, replicas equal, no lock stays.
#
# SEED picks the few that a run takes (POINTS_MAX, 20); ALL=1 takes all; POINTS="name name" these.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
FP=${BUILD_FP:-${PROG%/tests/system}-fp}
case $FP in /*) ;; *) FP=$(cd "$(dirname "$0")/../.." && pwd)/$FP ;; esac
SRC=$(cd "$(dirname "$0")/../.." && pwd)
PAXFS=$FP/paxfs
SEED=${SEED:-$RANDOM}
POINTS_MAX=${POINTS_MAX:-20}
HIT_SECONDS=30

export PAXFS_FAILPOINT_DIR=$T/fp
# Small segments, little kept: what takes long otherwise happens all the time.
export PAXFS_SEGMENT_BYTES=1048576 PAXFS_RETAIN_BYTES=1048576 PAXFS_LOG_BYTES=67108864
export PAXFS_LOCK_WAIT_NS=500000000
mkdir -p "$PAXFS_FAILPOINT_DIR"

now_ms() { echo $(($(date +%s%N) / 1000000)); }
pause() { read -r -t "$1" <> <(:) || true; } # between two looks

# ---- the load: one process for all points ----

load_start() {
	coproc LOAD { exec "$FP/tests/system/fp_load" "$(store_endpoints)" 2>"$T/load.err"; }
	local line
	read -r -t 30 line <&"${LOAD[0]}" || { cat "$T/load.err"; die "no load"; return 1; }
	[ "$line" = ready ] || die "load: $line"
}
ask() { # ask COMMAND...: sets `answer`
	echo "$*" >&"${LOAD[1]}"
	read -r -t 100 answer <&"${LOAD[0]}" || { cat "$T/load.err"; die "the load does not answer to $*"; }
}
check() {
	ask check
	case $answer in
	ok*) return 0 ;;
	*) die "check: $answer" ;;
	esac
}
fsck_clean() { # the load's own keys are of no kind
	"$PAXFS" fsck --endpoints "$(store_endpoints)" >"$T/fsck" || true
	if grep -v -E "^a key of no kind, key [0-9a-f]{8}fa" "$T/fsck" | sed '$d' | grep .; then
		die "fsck found something"
		return 1
	fi
	grep -q ' directories, .* orphans: ' "$T/fsck"
}

# ---- who is what ----

declare -A leads
look_at_leaders() { # leads[GROUP]=NODE
	local pair
	ask leaders
	for pair in $answer; do leads[${pair%%:*}]=${pair##*:}; done
}
count_led() { # count_led NODE GROUP...: how many of these it leads
	local node=$1 n=0 g
	shift
	for g in "$@"; do [ "${leads[$g]}" = "$node" ] && n=$((n + 1)); done
	echo "$n"
}
all_led() {
	local g
	look_at_leaders
	for g in 0 1 2 3; do [ "${leads[$g]}" != 0 ] || return 1; done
}
# Sets `node`, moving leaderships until one is what the role says.
choose() { # choose ROLE POINT
	local n g
	for _ in $(seq 40); do
		until_true 10 all_led && all_led
		node=
		for n in 1 2 3; do
			case $1 in
			L)
				case $2 in
				*_open | *_drop_*) [ "${leads[0]}" = "$n" ] && node=$n ;;
				*) [ "$(count_led "$n" 1 2 3)" -gt 0 ] && node=$n ;;
				esac
				;;
			F) [ "$(count_led "$n" 0 1 2 3)" -eq 0 ] && node=$n ;;
			C | P)
				case $(count_led "$n" 1 2 3) in
				1 | 2)
					ask "aim $n $1"
					[ "$answer" = aimed ] && node=$n
					;;
				esac
				;;
			*) node=$((RANDOM % 3 + 1)) ;;
			esac
			[ -n "$node" ] && break
		done
		[ -n "$node" ] && return 0
		# give away what the node with the fewest leads, or one group of the only leader
		g=$((RANDOM % 4))
		if [ "$1" = F ]; then
			n=$(for n in 1 2 3; do echo "$(count_led $n 0 1 2 3) $n"; done | sort -n | head -1 |
				cut -d' ' -f2)
			for g in 0 1 2 3; do [ "${leads[$g]}" = "$n" ] && ask "give $g"; done
		else
			ask "give $g"
		fi
		pause 0.1
	done
	die "no node is $1"
}
other_leader() { # a node other than $1, one that leads something if there is one
	local n best=
	for n in 1 2 3; do
		[ "$n" = "$1" ] && continue
		if [ -z "$best" ] || [ "$(count_led "$n" 0 1 2 3)" -gt "$(count_led "$best" 0 1 2 3)" ]; then
			best=$n
		fi
	done
	echo "$best"
}

# ---- one point ----

arm() { # arm PID SPEC
	rm -f "$PAXFS_FAILPOINT_DIR/$1.fired"
	echo "$2" >"$PAXFS_FAILPOINT_DIR/$1"
	kill -USR2 "$1"
}
fire() { # fire TRIGGER NODE PID: once more what makes it happen
	local n
	case $1 in
	ask) "$PAXFS" get --timeout 1 --endpoints "$(cut -d, -f"$2" "$T/data/endpoints")" fp/count || true ;;
	elect)
		n=$(other_leader "$2")
		gone "$(node_pid "$n")" || kill_node "$n"
		;;
	hand_over) ask "give *" ;;
	freeze)
		n=$(other_leader "$2")
		kill -STOP "$(node_pid "$n")"
		pause 1.2
		kill -CONT "$(node_pid "$n")"
		look_at_leaders
		;;
	bounce)
		n=$(other_leader "$2")
		kill_node "$n"
		pause 0.3
		restart_others "$2"
		;;
	floor) ask floor ;;
	source)
		n=$(other_leader "$2")
		kill_node "$n"
		pause 5
		restart_others "$2"
		;;
	esac
}
# The node under test may have died by now: it is not to be started yet.
restart_others() {
	local pid
	pid=$(node_pid "$1")
	gone "$pid" && return 0
	timeout 3 "$PAXFS" local up --data "$T/data" >/dev/null || dead "$pid" # it waits for one that died
}
boots() { # boots NODE POINT SECONDS_DOWN: the node starts with the point armed; sets `pid`
	kill_node "$1"
	pause "$3"
	PAXFS_FAILPOINT=$2 timeout 3 "$PAXFS" local up --data "$T/data" >/dev/null 2>&1 || true
	pid=$(node_pid "$1")
}
# It depends on who is elected: the node that starts, and lacks what was chosen, or the other one.
boots_until_hit() { # boots_until_hit NODE POINT: sets `pid`
	for _ in $(seq 8); do
		boots "$1" "$2" 1
		kill_node "$(other_leader "$1")" || true
		until_true 3 fired "$pid" "$2" 2>/dev/null && return 0
		restart_others "$1"
		check
		look_at_leaders
	done
}
hit_in_time() { # hit_in_time TRIGGER NODE PID
	local end=$((SECONDS + HIT_SECONDS)) next=0 again=2
	case $1 in source | floor) again=12 ;; esac
	until dead "$3"; do
		[ $SECONDS -lt $end ] || return 1
		if [ $SECONDS -ge $next ]; then
			fire "$1" "$2" "$3"
			next=$((SECONDS + again))
		fi
		pause 0.02
	done
}
dead() { # whoever is to take note of it may take its time
	gone "$1" || grep -q '^State:.Z' "/proc/$1/status"
}
fired() { [ "$(cat "$PAXFS_FAILPOINT_DIR/$1.fired" 2>/dev/null)" = "$2" ]; }

hit_point() { # hit_point POINT ROLE TRIGGER: prints a line of the table
	local node pid t0 armed
	choose "$2" "$1"
	armed=$(now_ms)
	case $3 in
	boot) boots "$node" "$1" 0.3 ;;
	boot_elect) boots_until_hit "$node" "$1" ;;
	behind) boots "$node" "$1" 5 ;;
	*)
		pid=$(node_pid "$node")
		arm "$pid" "$1"
		;;
	esac
	if ! hit_in_time "$3" "$node" "$pid"; then
		printf '%-24s %s  not hit\n' "$1" "$2"
		arm "$pid" ""
		restart_nodes
		return 1
	fi
	t0=$(now_ms)
	fired "$pid" "$1" || { die "node $node died, but not at $1"; return 1; }
	until_true 20 restart_nodes # its last thread may still hold the lock of the directory
	check || return 1
	printf '%-24s %s  hit after %5d ms, back after %5d ms\n' "$1" "$2" $((t0 - armed)) $(($(now_ms) - t0))
}

# ---- tests ----

list() { "$FP/tests/system/fp_list"; }

# What is in the list is in the code, too (the reverse does not compile).
test_list_and_code_agree() {
	[ -x "$PAXFS" ] || die "$PAXFS is missing: make failpoints-build"
	local name missing=0
	while read -r name _; do
		grep -rqE "\\b(FAILPOINT|FAILPOINT_IF|FAILPOINT_ERROR)\\(([^;]*[ (])?$name\\b" --include='*.c' \
			"$SRC"/base "$SRC"/net "$SRC"/wal "$SRC"/consensus "$SRC"/txn "$SRC"/kv ||
			grep -rqzE "FAILPOINT_IF\\([^;]*[[:space:](]${name}[,)]" --include='*.c' "$SRC"/kv "$SRC"/txn ||
			{
				echo "$name is in the list and not in the code"
				missing=1
			}
	done < <(list)
	[ $missing -eq 0 ]
	note "$(list | wc -l) failpoints, $(list | cut -f2 | tr -d '\n' | wc -c) with roles"
}

chosen() { # lines NAME ROLE TRIGGER of those to be hit: roles of one point apart, each point's trigger with it
	list | awk -F'\t' '$3 != "init" {for (i = 1; i <= length($2); i++) print $1, substr($2, i, 1), $3}' |
		if [ -n "${POINTS:-}" ]; then
			awk -v p=" $POINTS " 'index(p, " " $1 " ")'
		elif [ -n "${ALL:-}" ]; then
			cat
		else
			awk '$3 != "floor"' | shuf -n "$POINTS_MAX" --random-source=<(yes "$SEED")
		fi
}

test_each_point_in_each_role() {
	local failed_points=0 hit=0 point role trigger
	"$PAXFS" local up --data "$T/data" --nodes 3 --groups 3
	load_start
	note "SEED=$SEED"
	while read -r point role trigger <&8; do
		if hit_point "$point" "$role" "$trigger" >"$T/line"; then
			hit=$((hit + 1))
		else
			failed_points=$((failed_points + 1))
		fi
		note "$(cat "$T/line")"
		check || return 1
	done 8< <(chosen)
	fsck_clean
	ask quit
	note "$hit hit, $failed_points not"
	[ $failed_points -eq 0 ] && [ "$hit" -gt 0 ]
}

# The other actions: a failed write ends the process, a stopped one goes on, a damaged chunk is fetched again.
test_other_actions() {
	local node pid
	[ -f "$T/data/local.json" ] || "$PAXFS" local up --data "$T/data" --nodes 3 --groups 3
	restart_nodes
	load_start
	choose L log_before_write
	pid=$(node_pid "$node")
	arm "$pid" log_before_write:3:error
	until_true 10 gone "$pid"
	tail -n 3 "$T/data/n$node.log" | grep -q 'write of .* failed'
	restart_nodes
	check
	choose L send_accept
	pid=$(node_pid "$node")
	arm "$pid" send_accept:5:stop
	until_true 10 grep -q '^State:.*stopped' "/proc/$pid/status"
	kill -CONT "$pid"
	check
	boots $((node % 3 + 1)) install_chunk:1:error 5
	until_true 20 fired "$pid" install_chunk
	check
	gone "$pid" && die "an error of a chunk ended the node"
	ask quit
}

serves() { # what was put is there
	echo "$1" | "$PAXFS" put --endpoints "$2" "$1" && [ "$("$PAXFS" get --endpoints "$2" "$1")" = "$1" ]
}
some_fired() { cat "$PAXFS_FAILPOINT_DIR"/*.fired | grep -q "$1"; }
# Nodes die while a cluster is made; `up` again makes it.
test_making_a_cluster() {
	local point t0 dir up
	trap 'for dir in "$T"/new.*/; do "$PAXFS" local down --data "$dir" >/dev/null 2>&1 || true; done' EXIT
	while read -r point; do
		dir=$T/new.$point
		PAXFS_FAILPOINT=$point "$PAXFS" local up --data "$dir" --nodes 3 --groups 3 >"$T/up.out" 2>&1 &
		up=$!
		until_true 30 some_fired "$point"
		rm -f "$PAXFS_FAILPOINT_DIR"/*.fired
		kill -KILL $up 2>/dev/null || true # whoever made the cluster dies, too
		wait $up || true
		[ ! -f "$dir/local.json" ] || "$PAXFS" local down --data "$dir" >/dev/null # others are armed
		t0=$(now_ms)
		"$PAXFS" local up --data "$dir" --nodes 3 --groups 3 >/dev/null
		serves "$point" "$(cat "$dir/endpoints")"
		"$PAXFS" fsck --endpoints "$(cat "$dir/endpoints")" >/dev/null
		note "$(printf '%-24s N  hit  %5d ms' "$point" $(($(now_ms) - t0)))"
		"$PAXFS" local down --data "$dir" >/dev/null
		rm -rf "$dir"
	done < <(list | awk -F'\t' '$3 == "init" {print $1}')
}
run_tests
