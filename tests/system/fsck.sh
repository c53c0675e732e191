#!/bin/bash
# fsck of a store in use: damage of many kinds, planted past every call, is told of and mended while a
# workload runs and nodes die; exit statuses; what programs read.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

store() { # each test is a shell of its own
	EP=$(store_endpoints)
	export PAXFS_ENDPOINTS=$EP
}
damage() { "$PROG/damage" "$EP" "$@"; }
expect() { # expect STATUS COMMAND...
	local want=$1 rc=0
	shift
	"$@" || rc=$?
	[ "$rc" = "$want" ] || die "exit status $rc, not $want: $*"
}
kinds() { # of a report in JSON
	grep -o '"kind": *"[a-z-]*"' "$1" | sed 's/.*"\([a-z-]*\)"/\1/' | sort -u | tr '\n' ' '
}
churn() { # churn DIR: until $T/stop is there, and never an error
	local i=0
	mkdir -p "$1"
	until [ -e "$T/stop" ]; do
		i=$((i + 1))
		if ! { echo "line $i" >"$1/a" && cp "$1/a" "$1/b" && ln "$1/b" "$1/c" && mv "$1/c" "$1/d" &&
			mkdir "$1/e" && mv "$1/d" "$1/e/f" && truncate -s 100000 "$1/e/f" &&
			setfattr -n user.x -v "$i" "$1/a" && rm "$1/e/f" "$1/b" && rmdir "$1/e"; }; then
			echo "churn $1 failed at $i" >>"$T/errors"
			return 1
		fi
		echo "$i" >"$T/churned.${1##*/}"
	done
}
churned() { [ "$(cat "$T/churned.$1" 2>/dev/null || echo 0)" -ge "$2" ]; }
stop_churn() {
	touch "$T/stop"
	wait
	rm -f "$T/stop"
	[ ! -s "$T/errors" ] || { cat "$T/errors"; die "the workload met errors"; }
}
tree() { # tree NAME: what is to be damaged
	mkdir -p "$MNT/$1/dir/low"
	for f in links none type short version name use marks beyond place slash gone share shared dir/in dir/low/deep; do
		echo "contents of $f" >"$MNT/$1/$f"
	done
	ln "$MNT/$1/links" "$MNT/$1/links2"
	ln "$MNT/$1/none" "$MNT/$1/none2"
	sync
}
plant() { # plant NAME
	damage links "/$1/links" 7
	damage no-links "/$1/none"
	damage parent "/$1/dir/low" "/$1"
	damage type "/$1/type"
	damage short-inode "/$1/short"
	damage version "/$1/version"
	damage in-use "/$1/use"
	damage marks "/$1/marks"
	damage beyond "/$1/beyond"
	damage misplaced "/$1/place"
	damage slash "/$1/slash"
	damage shared "/$1/share" "/$1/shared"
	damage no-inode "/$1/dir"
	damage no-inode "/$1/gone"
	LOST=$(damage no-name "/$1/name")
} >/dev/null
found_again() { # found_again NAME: all that could be reached before can be now
	local f
	for f in links links2 none none2 type version use marks beyond place share shared dir/in dir/low/deep gone short; do
		[ "$(cat "$2/$1/$f")" = "contents of ${f%2}" ] || die "$f is not what it was"
	done
	[ "$(cat "$2/$1/with_slash")" = "contents of slash" ]
	[ "$(stat -c %h "$2/$1/links")" = 2 ]
	[ "$(stat -c %h "$2/$1/none")" = 2 ]
}

test_start() {
	store_up 3 4
	note "3 nodes, 4 groups"
}
test_exit_statuses() {
	store
	expect 0 "$PAXFS" fsck
	tree status
	damage links /status/links 5
	expect 4 "$PAXFS" fsck
	expect 1 "$PAXFS" fsck --repair
	expect 0 "$PAXFS" fsck --repair
	damage unknown
	expect 4 "$PAXFS" fsck --repair
	damage known
	expect 16 "$PAXFS" fsck --nonsense
	expect 16 "$PAXFS" fsck something
	expect 8 "$PAXFS" fsck -e 127.0.0.1:1 -t 1
	expect 0 "$PAXFS" fsck --help
	"$PAXFS" fsck --help | grep -q '32 interrupted'
	rm -r "$MNT/status"
}
test_what_programs_read() {
	store
	tree json
	damage links /json/links 5
	damage type /json/type
	expect 4 "$PAXFS" fsck -o json >"$T/json.out"
	[ "$(kinds "$T/json.out")" = "link-count name-type " ]
	grep -q '"path": *"/json/type"' "$T/json.out"
	grep -q '"problems": *2' "$T/json.out"
	expect 1 "$PAXFS" fsck --repair -o json >"$T/json.out"
	[ "$(grep -o '"repaired": *true' "$T/json.out" | wc -l)" = 2 ]
	"$PAXFS" fsck | tail -1 | grep ' 0 problems'
	rm -r "$MNT/json"
}
test_damage_is_mended_while_others_work() {
	store
	tree work
	rm -f "$T/errors"
	churn "$MNT/w1" &
	churn "$MNT/w2" &
	until_true 60 churned w1 3
	plant work
	expect 4 "$PAXFS" fsck >"$T/found" 2>&1
	for text in 'counts 7 links' 'counts no links' 'does not know that it is in' 'for another type' \
		'damaged inode' 'is in use, but marked' 'or which' 'beyond its end' 'where nobody looks' \
		'none that a file can have' 'has the data of' 'but what was in it'; do
		grep -q "$text" "$T/found" || { cat "$T/found"; die "not told: $text"; }
	done
	grep -q '(group [0-9]*, /work/type)' "$T/found"
	! grep -E '/w[12]' "$T/found" || die "told of what nobody damaged"
	"$PAXFS" fsck --repair >"$T/mended" 2>&1 || true
	note "$(grep -c ': repaired' "$T/mended") repairs with a workload"
	stop_churn
	"$PAXFS" fsck --repair >"$T/more" 2>&1 || true # what the workload kept from being sure of
	expect 0 "$PAXFS" fsck
	! grep -E '/w[12]' "$T/mended" "$T/more" || die "mended what nobody damaged"
	note "$(cat "$T"/churned.w1 "$T"/churned.w2 | tr '\n' ' ')turns of the workload, without an error"
	second_mount # it remembers nothing
	found_again work "$MNT2"
	[ "$(cat "$MNT2/lost+found/#$LOST")" = "contents of name" ]
	umount "$MNT2"
	rm -rf "$MNT/work" "$MNT/w1" "$MNT/w2"
}
test_the_counter_of_numbers() {
	store
	damage counter
	damage rename-order
	expect 1 "$PAXFS" fsck --repair
	expect 0 "$PAXFS" fsck
	mkdir "$MNT/new" "$MNT/new/a" "$MNT/new/b"
	mv "$MNT/new/a" "$MNT/new/b/a"
	[ -d "$MNT/new/b/a" ]
	rm -r "$MNT/new"
}
test_a_node_dies_in_the_middle() {
	store
	mkdir "$MNT/many"
	for i in $(seq 400); do echo "$i" >"$MNT/many/$i"; done
	for round in 1 2 3; do
		tree "kill$round"
		plant "kill$round"
		timeout 120 "$PAXFS" fsck --repair -t 60 >"$T/kill.$round" 2>&1 &
		checker=$!
		kill_node "$round"
		rc=0
		wait "$checker" || rc=$?
		note "node $round killed in the middle: exit status $rc"
		case $rc in 0 | 1 | 4 | 8) ;; *) cat "$T/kill.$round"; die "exit status $rc" ;; esac
		restart_nodes
		until_true 60 all_serving
	done
	"$PAXFS" fsck --repair -t 60 || true
	expect 0 "$PAXFS" fsck
	second_mount
	for round in 1 2 3; do found_again "kill$round" "$MNT2"; done
	[ "$(cat "$MNT2"/many/* | sort -n | uniq | wc -l)" = 400 ]
	umount "$MNT2"
}
test_progress_and_interrupt() {
	store
	for i in $(seq 12); do
		mkdir "$MNT/many/d$i"
		(cd "$MNT/many/d$i" && seq 1000 | xargs touch)
	done
	"$PAXFS" fsck --progress >/dev/null 2>"$T/progress"
	tr '\r' '\n' <"$T/progress" | grep -q 'pass 1, round 1: *[0-9]* %, [0-9]* keys'
	[ -z "$("$PAXFS" fsck 2>&1 >/dev/null)" ] # no terminal
	"$PAXFS" fsck >/dev/null 2>&1 &
	checker=$!
	kill -INT "$checker" || true
	rc=0
	wait "$checker" || rc=$?
	case $rc in 0 | 32 | 130) ;; *) die "exit status $rc after SIGINT" ;; esac
}
run_tests
