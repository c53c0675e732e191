#!/bin/bash
# The benchmarks of paxfs (`make bench`): run.sh [SECTION...], see bench/README.md.
# Sections: kv txn fs failover (default: all, or SECTIONS="kv txn").
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")

usage() {
	cat <<-E
		usage: bench/run.sh [SECTION...]        sections: kv txn fs failover (default: all)

		kv        durable puts and linearizable gets, 1, 32 and 256 clients
		txn       transactions over 1 and 2 groups
		fs        the file system, beside the other PEERS, with FSBENCH_DIR/compare.sh
		failover  what a writer sees while a leader is killed, then frozen

		SECTIONS     sections, when none are named
		BUILD        build directory (build); PAXFS: the binary (BUILD/paxfs)
		WORK         where stores keep their data (a directory below \${TMPDIR:-/tmp}): a real disk
		OUT          where figures go, "name value unit" a line (BUILD/bench)
		SECONDS_EACH length of a kv or txn measurement (5)
		NODES        servers (3); DATA_GROUPS: Paxos groups for data (4)
		CLIENTS      "1 32 256"; VALUE_SIZE: bytes (256); KEYS: how many (10000)
		FSBENCH_DIR  the file system benchmark (../shared/bench beside this tree)
		PEERS        "ext4 paxfs": any of FSBENCH_DIR/peers, which may install packages
		REPS         rounds over the peers (1); SCALE: of the counts (1)
		FAILOVER_SECONDS  length of a failover run (20); the leader goes after 5
	E
}

BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$top/$BUILD ;; esac
PAXFS=${PAXFS:-$BUILD/paxfs}
OUT=${OUT:-$BUILD/bench}
FSBENCH_DIR=${FSBENCH_DIR:-$top/../shared/bench}
SECONDS_EACH=${SECONDS_EACH:-5}
NODES=${NODES:-3}
DATA_GROUPS=${DATA_GROUPS:-4}
CLIENTS=${CLIENTS:-1 32 256}
VALUE_SIZE=${VALUE_SIZE:-256}
KEYS=${KEYS:-10000}
PEERS=${PEERS:-ext4 paxfs}
FAILOVER_SECONDS=${FAILOVER_SECONDS:-20}
T=
failed=0
asked=0 # sections were named

say() { echo "$*"; }
head_line() {
	echo
	echo "$*"
}
problem() {
	printf 'bench: %s\n' "$*" >&2
	failed=1
}
die() {
	problem "$*"
	exit 1
}

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	local mark

	[ -n "$T" ] || return 0
	store_down
	for mark in "$T"/bench-peer-*; do # interrupted: what was being measured
		[ -f "$mark" ] && timeout 120 "$T/fsbench/peers/${mark##*/bench-peer-}" down 2>/dev/null
	done
	if grep -q " $T/" /proc/mounts; then
		problem "something is still mounted below $T: left as it is"
	else
		rm -rf "$T"
	fi
}

need_binary() {
	[ -x "$PAXFS" ] || make -C "$top" --no-print-directory BUILD="$BUILD" all ||
		die "cannot build $PAXFS"
}

describe_machine() {
	local fs

	fs=$(df --output=fstype "$T" | tail -n 1)
	say "machine   $(nproc) CPUs, $(awk '/^MemTotal/ {printf "%.1f", $2 / 1048576}' /proc/meminfo)" \
		"GiB, $(uname -sr), load $(cut -d' ' -f1 /proc/loadavg)"
	say "binary    $("$PAXFS" --version)$(commit_of_tree)"
	say "data      $T ($fs)"
	case $fs in
	tmpfs | ramfs) say "          NOT A DISK: a sync costs nothing here; set WORK to a real disk" ;;
	esac
	say "figures   $OUT"
}

commit_of_tree() {
	git -C "$top" rev-parse HEAD >/dev/null 2>&1 || return 0
	printf ', commit %s' "$(git -C "$top" describe --always --dirty)"
}

# What was asked for by name and cannot be done is a failure.
skip() {
	say "  not measured: $*"
	[ $asked -eq 0 ] || failed=1
}

# ---- kv, txn ----

store_up() {
	[ -f "$T/data/local.json" ] && return 0
	"$PAXFS" local up --data "$T/data" --nodes "$NODES" --groups "$DATA_GROUPS" >"$T/up.log" 2>&1 ||
		die "the store did not start: $(tail -n 1 "$T/up.log")"
	PAXFS_ENDPOINTS=$(cat "$T/data/endpoints")
	export PAXFS_ENDPOINTS
}

table_head() {
	printf '  %-12s %8s %12s %10s %10s %10s\n' "" clients per_second p50_ms p99_ms max_ms
}

# measure FILE NAME CLIENTS OPTION...: one run of `paxfs bench`; figures to FILE, too.
measure() {
	local file=$1 name=$2 clients=$3 line

	shift 3
	if ! line=$("$PAXFS" bench --clients "$clients" --size "$VALUE_SIZE" --keys "$KEYS" \
		--duration "$SECONDS_EACH" "$@" 2>"$T/bench.err"); then
		problem "$name, $clients clients: $(tail -n 1 "$T/bench.err")"
		return
	fi
	awk -v name="$name" -v c="$clients" -v file="$file" '
	$3 == "p50" {
		sub("/s", "", $2)
		printf "  %-12s %8d %12d %10s %10s %10s\n", name, c, $2, $4, $7, $10
		n = name "_c" c
		printf "%s %d ops/s\n%s_p50 %s ms\n%s_p99 %s ms\n%s_max %s ms\n",
			n, $2, n, $4, n, $7, n, $10 >> file
		found = 1
	}
	END { exit !found }' <<<"$line" || problem "$name: cannot read \"$line\""
}

section_kv() {
	local c

	store_up
	: >"$OUT/kv.txt"
	head_line "kv: $NODES servers, $DATA_GROUPS groups, $VALUE_SIZE-byte values, $KEYS keys," \
		"$SECONDS_EACH s each"
	table_head
	for c in $CLIENTS; do measure "$OUT/kv.txt" put "$c"; done
	for c in $CLIENTS; do measure "$OUT/kv.txt" get "$c" --reads 100; done
}

section_txn() {
	local c n

	store_up
	: >"$OUT/txn.txt"
	head_line "txn: one transaction over N keys in N groups, else as kv"
	table_head
	for n in 1 2; do
		for c in $CLIENTS; do
			measure "$OUT/txn.txt" "txn_${n}_group" "$c" --transaction "$n"
		done
	done
}

# ---- the file system ----

# FSBENCH_DIR with paxfs among its peers: links, so that the directory itself stays as it is.
overlay() {
	local file

	[ -d "$T/fsbench" ] && return 0
	if [ ! -x "$FSBENCH_DIR/fsbench.sh" ] || [ ! -d "$FSBENCH_DIR/peers" ]; then
		skip "no file system benchmark in $FSBENCH_DIR (fsbench.sh, compare.sh," \
			"failover.sh, peers/): set FSBENCH_DIR"
		return 1
	fi
	if [ "$(id -u)" -ne 0 ]; then
		skip "mounting needs root; use: sudo make bench"
		return 1
	fi
	mkdir -p "$T/fsbench/peers"
	for file in "$(cd "$FSBENCH_DIR" && pwd)"/*; do
		if [ -d "$file" ]; then continue; fi
		ln -s "$file" "$T/fsbench/"
	done
	for file in "$(cd "$FSBENCH_DIR" && pwd)"/peers/*; do
		ln -s "$file" "$T/fsbench/peers/"
	done
	ln -sf "$here/peer-paxfs" "$T/fsbench/peers/paxfs"
	export PAXFS PAXFS_NODES=$NODES PAXFS_GROUPS=$DATA_GROUPS TMPDIR=$T
}

store_down() { # the file system is measured without a second store beside it
	[ -f "$T/data/local.json" ] || return 0
	"$PAXFS" local down --data "$T/data" >/dev/null
	rm -rf "$T/data"
}

section_fs() {
	local peer
	local -a peers

	head_line "fs: $FSBENCH_DIR, peers: $PEERS, rounds: ${REPS:-1}, scale: ${SCALE:-1}"
	overlay || return
	store_down
	read -ra peers <<<"$PEERS"
	for peer in "${peers[@]}"; do
		[ -x "$T/fsbench/peers/$peer" ] || die "there is no peer $peer in $FSBENCH_DIR/peers"
		"$T/fsbench/peers/$peer" install >"$T/install.log" 2>&1 ||
			die "peer $peer cannot be installed: $(tail -n 1 "$T/install.log")"
	done
	mkdir -p "$OUT/fs"
	rm -f "$OUT"/fs/*
	REPS=${REPS:-1} SCALE=${SCALE:-1} "$T/fsbench/compare.sh" "$OUT/fs" "${peers[@]}" ||
		problem "compare.sh failed; see $OUT/fs/*.err"
	"$T/fsbench/table.sh" "$OUT/fs" "${peers[@]}" | tee "$OUT/fs/table.md"
}

# With one group for all data the killed leader is surely the one that the writer needs.
section_failover() {
	local how groups

	head_line "failover: a writer (create, 4 KiB, fsync, close) while the leader is killed or frozen"
	overlay || return
	store_down
	for groups in 1 "$DATA_GROUPS"; do
		for how in kill stop; do
			say "  $groups group(s), $how"
			PAXFS_GROUPS=$groups timeout 400 "$T/fsbench/failover.sh" paxfs replica "$how" \
				"$FAILOVER_SECONDS" >"$OUT/failover.$groups.$how.txt" || problem "failover.sh failed"
			sed 's/^/    /' "$OUT/failover.$groups.$how.txt"
		done
	done
}

# ---- main ----

sections=("$@")
if [ ${#sections[@]} -eq 0 ] && [ -n "${SECTIONS:-}" ]; then
	read -ra sections <<<"$SECTIONS"
fi
if [ ${#sections[@]} -gt 0 ]; then
	asked=1
else
	sections=(kv txn fs failover)
fi
for s in "${sections[@]}"; do
	case $s in
	kv | txn | fs | failover) ;;
	-h | --help)
		usage
		exit 0
		;;
	*)
		usage >&2
		exit 2
		;;
	esac
done
need_binary
T=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/paxfs-bench.XXXXXX") || exit 1
trap cleanup EXIT
trap 'exit 1' INT TERM
mkdir -p "$OUT" || exit 1
OUT=$(cd "$OUT" && pwd)
describe_machine
for s in "${sections[@]}"; do
	case $s in
	kv) section_kv ;;
	txn) section_txn ;;
	fs) section_fs ;;
	failover) section_failover ;;
	esac
done
exit $failed
