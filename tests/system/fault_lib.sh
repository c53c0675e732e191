# shellcheck shell=bash
# Sourced by the fault tests, after lib.sh: a store whose every connection goes through a proxy
# (faultproxy) and whose disks can be made bad (faultio.so), load that records a history, and the
# verdict over it.
#
# Parties of the proxy: nodes 1 to 3, loads 21, 22, ...; 0 is everybody else (the mount, commands).

FAULTIO=$PROG/faultio.so
export CLEANUP=fault_cleanup
NODES=${NODES:-3}
CHECK=${PROG%/system}/check
BUILD_LOGS=${PROG%/tests/system}/test-logs/histories

# Kept across the subshells of tests: files, no variables.
remember() { echo "$2" >"$T/pid.$1"; }
pid_of() { cat "$T/pid.$1"; }

proxy_start() { # proxy_start SEED
	local i args=()
	for i in $(seq "$NODES"); do args+=("$i=$T/n$i.sock"); done
	"$PROG/faultproxy" run "$T/proxy.ctl" "$1" "${args[@]}" </dev/null >"$T/proxy.out" 2>&1 &
	remember proxy $!
	until_true 10 grep -q ready "$T/proxy.out"
	awk 'NF == 2 {printf "%s%s", s, $2; s = ","}' "$T/proxy.out" >"$T/data/endpoints"
}
links() { "$PROG/faultproxy" ctl "$T/proxy.ctl" "$@"; } # links COMMAND...
advertised() { awk -v i="$1" '$1 == i {print $2}' "$T/proxy.out"; }

# bad_disk ID [RULE...]: from now on these; none: a good one again
bad_disk() {
	local id=$1
	shift
	printf '%s\n' "$@" >"$T/n$id.rules.new"
	rm -f "$T/n$id.rules.hits"
	mv "$T/n$id.rules.new" "$T/n$id.rules"
}
disk_hits() { if [ -f "$T/n$1.rules.hits" ]; then wc -l <"$T/n$1.rules.hits"; else echo 0; fi; }

node_start() { # node_start ID [PREFIX...]: the prefix may be env NAME=VALUE
	local id=$1
	shift
	"$@" env LD_PRELOAD="${NODE_PRELOAD:+$NODE_PRELOAD:}$FAULTIO" FAULTIO_CONTROL="$T/n$id.rules" \
		FAULTIO_BIND="127.0.1.$id" "$PAXFS" node --id "$id" --listen "unix:$T/n$id.sock" \
		--advertise "$(advertised "$id")" --data "$T/data/n$id" --log "$T/data/n$id.log" \
		</dev/null >>"$T/data/n$id.out" 2>&1 6>&- &
	remember "n$id" $!
}
node_alive() { kill -0 "$(pid_of "n$1")" 2>/dev/null; }
node_kill() { # node_kill ID [SIGNAL]
	local pid
	pid=$(pid_of "n$1")
	kill "-${2:-KILL}" "$pid" 2>/dev/null || true
	case ${2:-KILL} in
	KILL | TERM) until_true 20 gone "$pid" ;;
	esac
}
node_revive() { # starts it again if it has ended
	kill -CONT "$(pid_of "n$1")" 2>/dev/null || node_start "$@"
}

faulty_store() { # faulty_store SEED [GROUPS]: nodes up and made into a cluster; sets EP
	local i
	mkdir -p "$T/data"
	proxy_start "$1"
	for i in $(seq "$NODES"); do node_start "$i"; done
	for i in $(seq "$NODES"); do until_true 20 test -S "$T/n$i.sock"; done
	endpoints
	"$PAXFS" init --endpoints "$EP" --groups "${2:-3}"
}
endpoints() {
	EP=$(store_endpoints)
	export PAXFS_ENDPOINTS=$EP
}
faulty_mount() {
	mkdir -p "$MNT"
	"$PAXFS" mount -f "$EP" "$MNT" </dev/null >"$T/data/mount.log" 2>&1 6>&- &
	remember mount $!
	until_true 20 grep -q " $MNT fuse" /proc/mounts
}
heal_all() {
	local i
	links "heal * *"
	for i in $(seq "$NODES"); do
		bad_disk "$i"
		node_revive "$i"
	done
	until_true 60 all_serving
}

# Histories: one directory of files per load, judged together.
load_start() { # load_start NUMBER SEED WORKLOAD...
	local n=$1 seed=$2
	shift 2
	mkdir -p "$T/history"
	LD_PRELOAD=$FAULTIO FAULTIO_BIND="127.0.1.$((20 + n))" "$PROG/histload" "$EP" "$T/history" \
		"$n" "$seed" "$@" </dev/null >"$T/load.$n.out" 2>&1 6>&- &
	remember "load$n" $!
}
load_stop() { # load_stop NUMBER
	local pid
	pid=$(pid_of "load$1")
	kill -TERM "$pid"
	until_true 60 gone "$pid"
	grep -q '^done' "$T/load.$1.out" || {
		cat "$T/load.$1.out"
		die "load $1 did not end well"
	}
}
# judge: nothing that the loads saw is wrong; says how much was judged. The files go.
judge() {
	"$CHECK/histcheck" "$T"/history/*.hist >"$T/verdict" || {
		cat "$T/verdict"
		mkdir -p "$BUILD_LOGS"
		cp "$T"/history/*.hist "$BUILD_LOGS"
		die "the history is wrong; it is kept in $BUILD_LOGS"
	}
	note "$* $(tail -n 1 "$T/verdict"); $(for f in "$T"/load.*.out; do tail -n 1 "$f"; done | tr '\n' ' ')"
	rm -f "$T"/history/*.hist "$T"/load.*.out
}
# The number of operations that a load has finished, by its own account.
load_count() { tail -n 1 "$T/load.$1.out" | awk '$2 ~ /^[0-9]+$/ {n = $2} END {print n + 0}'; }

same_and_clean() {
	"$PROG/rawwipe" "$EP"
	"$PROG/replicasame" "$EP" 60
	"$PAXFS" fsck --endpoints "$EP"
}

fault_cleanup() {
	set +e
	local f
	if grep -q " $MNT fuse" /proc/mounts; then # not without a limit: the store may be down
		timeout -s KILL 20 umount "$MNT" 2>/dev/null || umount -l "$MNT"
	fi
	for f in "$T"/pid.*; do
		[ -f "$f" ] || continue
		kill -CONT "$(cat "$f")" 2>/dev/null
		kill -KILL "$(cat "$f")" 2>/dev/null
		until_true 10 gone "$(cat "$f")"
	done
	for f in "$T"/data/n*; do
		if grep -q " $f tmpfs" /proc/mounts; then umount "$f"; fi
	done
	cleanup
}

# The longest call that a load saw while COMMAND ran, in ms: LONGEST.
longest_during() { # longest_during NUMBER COMMAND...
	local n=$1 pid marks
	shift
	pid=$(pid_of "load$n")
	marks=$(grep -c '^mark' "$T/load.$n.out" || true)
	kill -USR1 "$pid"
	until_true 10 marked "$n" $((marks + 1))
	"$@"
	kill -USR1 "$pid"
	until_true 10 marked "$n" $((marks + 2))
	export LONGEST # for the caller
	LONGEST=$(grep '^mark' "$T/load.$n.out" | tail -n 1 | sed 's/.*longest_ms \([0-9]*\).*/\1/')
}
marked() { [ "$(grep -c '^mark' "$T/load.$1.out")" -ge "$2" ]; }
# load_goes_on NUMBER OPERATIONS [SECONDS]: so many more end
load_goes_on() {
	local target
	target=$(($(load_count "$1") + $2))
	until_true "${3:-30}" load_reached "$1" "$target"
}
load_reached() { [ "$(load_count "$1")" -ge "$2" ]; }
pass_seconds() { read -r -t "$1" <> <(:) || true; } # how long a fault lasts
