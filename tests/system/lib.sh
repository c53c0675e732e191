# shellcheck shell=bash
# Sourced by the system tests: a store of its own per test file, helpers, verdicts.
#
# A test file defines functions test_*; each runs in a subshell with `set -e` in the order of
# definition; its output is shown only when it fails. PAXFS is the binary, T the scratch directory.
# ONLY="start git" runs these alone.

set -u
PAXFS=${PAXFS:?set by run.sh}
PROG=${PROG:?set by run.sh}
T=$(mktemp -d "${TMPDIR:-/tmp}/paxfs-test.XXXXXX")
MNT=$T/mnt
MNT2=$T/mnt2
passed=0
failed=0

note() { echo "    $*" >&3; }
die() {
	echo "FAILED: $*" >&2
	return 1
}

# until SECONDS COMMAND...: polls a condition; fails with a clear line
until_true() {
	local seconds=$1 end
	shift
	end=$((SECONDS + seconds))
	until "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $end ]; then
			die "waited ${seconds}s for: $*"
			return 1
		fi
		read -r -t 0.05 <> <(:) || true
	done
}

store_up() { # store_up [NODES [GROUPS]]
	"$PAXFS" local up --data "$T/data" --mount "$MNT" --nodes "${1:-3}" --groups "${2:-4}"
	EP=$(cat "$T/data/endpoints")
	export PAXFS_ENDPOINTS=$EP
}
store_endpoints() { cat "$T/data/endpoints"; }
node_pid() { cut -d' ' -f1 "$T/data/n$1.pid"; }
mount_pid() { cut -d' ' -f1 "$T/data/mount.pid"; }
gone() { ! kill -0 "$1" 2>/dev/null; }

kill_node() { # kill_node ID [SIGNAL]
	local pid
	pid=$(node_pid "$1")
	kill "-${2:-KILL}" "$pid"
	[ "${2:-KILL}" = KILL ] && until_true 10 gone "$pid"
	return 0
}
restart_nodes() { "$PAXFS" local up --data "$T/data" >/dev/null; }
second_mount() {
	mkdir -p "$MNT2"
	"$PAXFS" mount "$EP" "$MNT2"
}
all_serving() { "$PAXFS" status --endpoints "$(store_endpoints)"; }
leader_of() { # the node that leads a group
	"$PAXFS" status | awk -v g="$1" '/^group/ {groups = 1} groups && $1 == g {print $2}'
}
group_of() { # the group of a file's inode
	"$PAXFS" where -o json "$1" | sed 's/.*"group": *\([0-9]*\).*/\1/'
}
# two directories below $1 whose own inodes are in different groups: sets D1 D2
two_groups() {
	local i g first=
	mkdir -p "$1"
	for i in $(seq 40); do
		mkdir "$1/d$i"
		g=$(group_of "$1/d$i")
		if [ -z "$first" ]; then
			first=$g
			export D1=$1/d$i
		elif [ "$g" != "$first" ]; then
			export D2=$1/d$i
			return 0
		fi
	done
	die "40 directories, all in group $first"
}

c_project() { # c_project DIR FILES: a program of so many C files, with a Makefile
	local i sum=0
	mkdir "$1"
	for i in $(seq "$2"); do
		printf 'int f%d(int x);\nint f%d(int x) { return x + %d; }\n' "$i" "$i" "$i" >"$1/f$i.c"
		sum=$((sum + i))
	done
	{
		for i in $(seq "$2"); do echo "int f$i(int);"; done
		echo 'int main(void) { int s = 0;'
		for i in $(seq "$2"); do echo "s = f$i(s);"; done
		echo "return s == $sum ? 0 : 1; }"
	} >"$1/main.c"
	# shellcheck disable=SC2016 # make expands it
	printf 'OBJ := $(patsubst %%.c,%%.o,$(wildcard *.c))\nprog: $(OBJ)\n\tgcc -o $@ $^\n' >"$1/Makefile"
}

unmount_quietly() {
	grep -q " $1 fuse" /proc/mounts && { umount "$1" || umount -l "$1"; } 2>/dev/null
	return 0
}
cleanup() {
	local p
	unmount_quietly "$MNT2"
	for p in "$T"/data/n*.pid "$T"/data/mount.pid; do
		[ -f "$p" ] && kill -CONT "$(cut -d' ' -f1 "$p")" 2>/dev/null
	done
	[ -f "$T/data/local.json" ] && "$PAXFS" local down --data "$T/data" >/dev/null 2>&1
	unmount_quietly "$MNT"
	if grep -q " $T/" /proc/mounts; then
		echo "    a mount is left below $T"
	else
		rm -rf "$T"
	fi
}

run_tests() {
	local name log rc
	exec 3>&1
	trap '"${CLEANUP:-cleanup}"' EXIT
	trap 'exit 1' INT TERM
	for name in $(declare -F | awk '{print $3}' | grep '^test_' |
		while read -r f; do
			shopt -s extdebug
			declare -F "$f"
			shopt -u extdebug
		done | sort -k2n | awk '{print $1}'); do
		case " ${ONLY:-${name#test_}} " in *" ${name#test_} "*) ;; *) continue ;; esac
		log=$T/$name.log
		(
			set -e
			"$name"
		) >"$log" 2>&1
		rc=$?
		if [ $rc -eq 0 ]; then
			passed=$((passed + 1))
			echo "  ok    ${0##*/}: ${name#test_}"
		else
			failed=$((failed + 1))
			echo "  FAIL  ${0##*/}: ${name#test_} (exit $rc)"
			tail -n 30 "$log" | sed 's/^/        /'
			for l in "$T"/data/*.log; do
				[ -f "$l" ] && { echo "        --- ${l##*/}"; tail -n 8 "$l" | sed 's/^/        /'; }
			done
		fi
	done
	echo "$passed passed, $failed failed"
	[ $failed -eq 0 ]
}
