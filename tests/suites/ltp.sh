#!/bin/bash
# The Linux Test Project's programs, which are not part of this tree: LTP=dir of a built one (README.md says how). Those
# of LTP_LISTS (files of its runtest/) that are about the file system they run on. In mode two, two of each
# run at once, one on each mount. LTP_SECONDS=10: how long each of those goes on that would take a minute or two.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"
LISTS=${LTP_LISTS:-fs fs_perms_simple fcntl-locktests}
LONG=${LTP_SECONDS:-10}
# About /proc, other file systems on loop devices, quotas, or a machine of their own.
NOT_HERE='^(proc01|inode01|read_all|quota_|isofs|fs_fill|binfmt|squashfs|acl_|fanotify|inotify.*mount|writetest)'

tests_of() { # name and command, a line each
	local list
	for list in $LISTS; do
		sed -E 's/#.*//; /^[[:space:]]*$/d' "$LTP/runtest/$list"
	done | grep -vE "$NOT_HERE" | grep -E "${LTP_ONLY:-.}" |
		sed -E "s/ -L [0-9]+/ -L $LONG/; s/-i (60|120)s/-i ${LONG}s/; s#([ :])/tmp/#\1\$TMPDIR/#g"
}
# What is built, of many directories, in one, as after an installation.
collect() {
	mkdir -p "$ROOT/testcases/bin"
	find "$LTP/testcases" "$LTP/tools/apicmds" -type f -perm -1 -exec ln -sf -t "$ROOT/testcases/bin" {} +
}
in_dir() { # in_dir DIR COMMAND: 0 passed, 32 not for this machine
	local rc=0
	mkdir "$1"
	(
		cd "$1" || exit 2
		exec env TMPDIR="$1" TMP="$1" LTPROOT="$ROOT" PATH="$ROOT/testcases/bin:$PATH" LTP_TIMEOUT_MUL=5 \
			timeout -k 10 600 bash -c "$2"
	) >"$DISK/${1##*/}.log" 2>&1 </dev/null &
	wait $! || rc=$?
	kill -KILL -- -$! 2>/dev/null || true # the group that timeout makes: what the test has left running
	[ $rc -eq 0 ] || [ $rc -eq 32 ] || tail -n 15 "$DISK/${1##*/}.log"
	rm -rf "$1" || rc=99
	return $rc
}
one_test() { # one_test COMMAND
	local rc=0
	if [ "$MODE" = two ]; then
		in_background in_dir "$A/a" "$1"
		in_background in_dir "$B/b" "$1"
		wait_all || rc=$?
	else
		in_dir "$A/a" "$1" || rc=$?
	fi
	[ $rc -ne 32 ] || echo "    note  the last one is not for this machine (TCONF)" >&3
	[ $rc -eq 0 ] || [ $rc -eq 32 ]
}

suite() {
	local name command not_built=0
	if [ -z "${LTP:-}" ]; then
		skip "LTP=dir is not set"
		return
	fi
	ROOT=$DISK/root
	collect
	while read -r name command <&4; do
		if ! env PATH="$ROOT/testcases/bin:$PATH" bash -c "type $(program_of "$command")" >/dev/null 2>&1; then
			not_built=$((not_built + 1))
			continue
		fi
		mkdir "$DISK/$name"
		if (in_dir "$DISK/$name/d" "$command") >/dev/null 2>&1; then
			check "$name" one_test "$command"
		else
			echo "  note  $MODE: $name does not pass on the disk here"
		fi
	done 4< <(tests_of)
	echo "  note  $MODE: $not_built of the lists are not built"
}
program_of() { # behind `export X;` and the like
	sed -E 's/^(export [A-Z]+|mkfifo [^;]*) *; *//; s/ .*//' <<<"$1"
}
run_suite
