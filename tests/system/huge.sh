#!/bin/bash
# Many entries, large files, deep trees: everything goes on, and memory stays bounded. What grows with
# the number of files is measured against a limit that does not, or by so much a file.
#
#   HUGE=small (part of the system tests)  HUGE=full (make huge)
# or one by one: ENTRIES DIRS SPARSE_GIB REAL_MIB DEPTH HUGE_NODES HUGE_MOUNTS
case ${HUGE:-small} in
full) set -- 1000000 100000 100 20480 500 1 12 ;;
*) set -- 20000 2000 100 512 500 1 4 ;;
esac
ENTRIES=${ENTRIES:-$1} DIRS=${DIRS:-$2} SPARSE_GIB=${SPARSE_GIB:-$3} REAL_MIB=${REAL_MIB:-$4}
DEPTH=${DEPTH:-$5} HUGE_NODES=${HUGE_NODES:-$6} HUGE_MOUNTS=${HUGE_MOUNTS:-$7}
THREADS=$((HUGE_MOUNTS > 4 ? 4 * HUGE_MOUNTS : 16)) # in a directory one a mount changes it
GIB=$((1 << 30))
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

CLEANUP=leave
leave() {
	local i
	unmount_quietly "$T/capped"
	for i in $(seq 2 "$HUGE_MOUNTS"); do unmount_quietly "$T/mnt$i"; done
	unmount_quietly "$MNT"
	cleanup
}

play() { "$PROG/hugeplay" "$@" >&3; }
through_all() { # through_all DIR: the same directory on each mount
	local i
	echo "$MNT/$1"
	for i in $(seq 2 "$HUGE_MOUNTS"); do echo "$T/mnt$i/$1"; done
}
memory_of() { awk -v f="$2:" '$1 == f {print int($2 / 1024)}' "/proc/$1/status"; } # MiB
pid_on() { # pid_on MOUNTPOINT: of the process that serves it
	local p
	for p in $(pgrep -x paxfs); do
		tr "\\0" " " 2>/dev/null <"/proc/$p/cmdline" | grep -q " mount [^ ]* $1 " && echo "$p" && return
	done
	die "nobody serves $1"
}
stats_of() { getfattr --absolute-names --only-values -n paxfs.mount "$1" 2>/dev/null; }
known_to() { stats_of "$1" | cut -d' ' -f2; }
at_most() { # at_most WHAT VALUE LIMIT
	[ "$2" -le "$3" ] || die "$1: $2, at most $3"
}

# A mount: 160 bytes an inode that the kernel knows, beside what it needs anyhow. A node: its caches, memory tables
# and log, whatever the number of files.
MOUNT_MIB=120
NODE_MIB=900
memory_is_bounded() {
	local id peak most=0
	peak=$(memory_of "$(pid_on "$MNT")" VmHWM)
	for id in $(seq "$HUGE_NODES"); do
		most=$(printf '%s\n' "$most" "$(memory_of "$(node_pid "$id")" VmHWM)" | sort -n | tail -n 1)
	done
	note "peak memory: mount $peak MiB, largest node $most MiB; $(stats_of "$MNT" | cut -d' ' -f1-6)"
	at_most "MiB of the mount" "$peak" $((MOUNT_MIB + (ENTRIES + DIRS) * 160 / 1048576))
	at_most "MiB of a node" "$most" "$NODE_MIB"
}

test_start() {
	local i
	"$PAXFS" local up --data "$T/data" --nodes "$HUGE_NODES" --groups 4
	mkdir "$MNT"
	"$PAXFS" mount "$(store_endpoints)" "$MNT" # processes of their own, also with one node
	for i in $(seq 2 "$HUGE_MOUNTS"); do
		mkdir "$T/mnt$i"
		"$PAXFS" mount "$(store_endpoints)" "$T/mnt$i"
	done
	memory_is_bounded
}

test_entries() {
	local before after
	mkdir "$MNT/many"
	# shellcheck disable=SC2046 # one word each
	play create "$ENTRIES" "$THREADS" $(through_all many)
	memory_is_bounded
	before=$(memory_of "$(pid_on "$MNT")" VmRSS)
	play list "$MNT/many" "$ENTRIES"
	after=$(memory_of "$(pid_on "$MNT")" VmRSS)
	note "listing it took the mount from $before to $after MiB"
	at_most "MiB that listing took" $((after - before)) 16
	# shellcheck disable=SC2046
	play stat "$ENTRIES" "$THREADS" $(through_all many)
	memory_is_bounded
}

# Less than all is remembered: the kernel forgets, the mount with it; what is in use stays.
capped_mount() { # capped_mount OPTIONS
	local limit=1000 pid rss
	mkdir -p "$T/capped"
	"$PAXFS" mount "$(store_endpoints)" "$T/capped" -o "max_inodes=$limit$1"
	pid=$(pid_on "$T/capped")
	mkdir "$T/capped/here"
	echo kept >"$T/capped/here/open"
	exec 5<"$T/capped/here/open"
	cd "$T/capped/here"
	play stat $((ENTRIES < 50000 ? ENTRIES : 50000)) 4 "$T/capped/many"
	rss=$(memory_of "$pid" VmRSS)
	note "max_inodes=$limit$1: $(stats_of "$T/capped"), $rss MiB"
	# the rest comes back within pauses: none of what is known beyond the limit is in use
	until_true 20 below "$T/capped" "$limit"
	at_most "MiB of the capped mount" "$(memory_of "$pid" VmHWM)" "$MOUNT_MIB"
	[ "$(/bin/pwd)" = "$T/capped/here" ] || die "the working directory is $(/bin/pwd)"
	[ "$(cat <&5)" = kept ] || die "the open file"
	[ "$(readlink /proc/self/fd/5)" = "$T/capped/here/open" ] || die "its name"
	exec 5<&-
	cd /
	rm -r "$T/capped/here"
	umount "$T/capped"
}
below() { [ "$(known_to "$1")" -le "$2" ]; }
test_forgetting() {
	capped_mount ""
}
test_forgetting_as_before_6_18() {
	capped_mount ",noprune"
}
test_forgetting_while_all_is_in_use() {
	local i fd n=300 dir=$T/capped/many
	mkdir -p "$T/capped"
	"$PAXFS" mount "$(store_endpoints)" "$T/capped" -o max_inodes=100
	(
		for i in $(seq 0 $((n - 1))); do
			# shellcheck disable=SC2034 # they stay open
			exec {fd}<"$dir/e$i"
		done
		[ "$(known_to "$T/capped")" -ge "$n" ] || die "an open file was forgotten"
		for i in $(seq 0 $((n - 1))); do
			[ -e "$dir/e$i" ] || die "e$i is gone"
		done
	)
	until_true 20 below "$T/capped" 100 # now that nobody has them open
	umount "$T/capped"
}

test_check() {
	local out
	PAXFS_ENDPOINTS=$(store_endpoints)
	export PAXFS_ENDPOINTS
	out=$(/usr/bin/env time -f '%M KiB, %e s' "$PAXFS" fsck 2>&1) || die "fsck: $out"
	note "fsck: $(echo "$out" | tail -n 1)"
	at_most "KiB of fsck" "$(echo "$out" | tail -n 1 | cut -d' ' -f1)" \
		$((60 * 1024 + (ENTRIES + DIRS) * 400 / 1024))
}

test_unlink() {
	# shellcheck disable=SC2046
	play unlink "$ENTRIES" "$THREADS" $(through_all many)
	[ -z "$(ls -A "$MNT/many")" ] || die "something is left"
	rmdir "$MNT/many"
	memory_is_bounded
}

test_directories() {
	mkdir "$MNT/dirs"
	# shellcheck disable=SC2046
	play mkdir "$DIRS" "$THREADS" $(through_all dirs)
	[ "$(stat -c %h "$MNT/dirs")" -eq $((DIRS + 2)) ] || die "$(stat -c %h "$MNT/dirs") links"
	play list "$MNT/dirs" "$DIRS"
	# shellcheck disable=SC2046
	play stat "$DIRS" "$THREADS" $(through_all dirs)
	memory_is_bounded
	# shellcheck disable=SC2046
	play rmdir "$DIRS" "$THREADS" $(through_all dirs)
	rmdir "$MNT/dirs"
	memory_is_bounded
}

test_depth() {
	local path i
	mkdir "$MNT/deep"
	play deep "$MNT/deep" "$DEPTH"
	[ "$(find "$MNT/deep" -type d | wc -l)" -eq $((DEPTH + 1)) ] || die "find counts otherwise"
	play undeep "$T/mnt2/deep" "$DEPTH"
	rmdir "$MNT/deep"
	PAXFS_ENDPOINTS=$(store_endpoints)
	export PAXFS_ENDPOINTS
	# the tools take paths of up to 4095 bytes, of any depth
	path=/chain$(printf '/%.0s7' $(seq "$DEPTH"))
	echo bottom | "$PAXFS" put "$path/file"
	[ "$("$PAXFS" get "$path/file")" = bottom ] || die "get"
	[ "$(cat "$MNT$path/file")" = bottom ] || die "cat"
	[ "$("$PAXFS" ls "$path")" = file ] || die "ls: $("$PAXFS" ls "$path")"
	"$PAXFS" where "$MNT$path/file" >/dev/null
	path=$path$(printf '/%.0sxxxxxxx' $(seq 512))
	if "$PAXFS" get "$path" 2>"$T/err"; then die "a path of ${#path} bytes was taken"; fi
	grep -qi 'long' "$T/err" || die "$(cut -c-200 "$T/err")"
	rm -r "$MNT/chain"
}

test_sparse() {
	play sparse "$MNT/sparse" $((SPARSE_GIB * GIB))
	[ "$(du -m "$MNT/sparse" | cut -f1)" -le 2 ] || die "du: $(du -m "$MNT/sparse")"
	rm "$MNT/sparse"
	memory_is_bounded
}

test_real_file() {
	local free need
	free=$(($(stat -f -c '%a * %S' "$T") / 1048576))
	need=$((REAL_MIB * (2 * HUGE_NODES + 1)))
	if [ "$free" -lt "$need" ]; then
		note "SKIPPED: a file of $REAL_MIB MiB on $HUGE_NODES nodes wants $need MiB, $free are free"
		return 0
	fi
	play write "$MNT/real" $((REAL_MIB << 20))
	memory_is_bounded
	play verify "$T/mnt2/real" $((REAL_MIB << 20))
	rm "$MNT/real"
	memory_is_bounded
}

test_end() {
	"$PAXFS" fsck --endpoints "$(store_endpoints)"
}

run_tests
