#!/bin/bash
# stress-ng's class "filesystem": every stressor that the scratch directory's own file system passes; in mode two
# one worker of it on each mount, at the same time. STRESS_SECONDS=5 each, STRESSORS="..." these.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"
SECONDS_EACH=${STRESS_SECONDS:-5}
# These take no directory: they are about /proc, loop and binder devices, every mount of the machine, or nothing in a
# file system.
NOT_HERE=" bind-mount binderfs dup eventfd fanotify ioprio procfs "

stressors() {
	stress-ng --class 'filesystem?' 2>&1 | sed -n 's/.*stressors: *//p' | tr ' ' '\n' | while read -r s; do
		case $NOT_HERE in *" $s "*) ;; *) echo "$s" ;; esac
	done
}
one_stressor() { # one_stressor NAME DIR SECONDS
	local log=$DISK/$1.${2##*/}.log rc=0
	timeout -k 10 $(($3 + 900)) stress-ng --"$1" 1 --timeout "$3s" --verify --temp-path "$2" --no-rand-seed \
		>"$log" 2>&1 || rc=$?
	[ $rc -eq 0 ] || grep -vE 'dispatching|setting to|defaulting' "$log"
	return $rc
}
told_to_skip() { grep -qi 'skipp' "$DISK/$1".*.log; }
on_mounts() {
	mkdir "$A/a" "$A/b"
	if [ "$MODE" = two ]; then
		in_background one_stressor "$1" "$A/a" "$SECONDS_EACH"
		in_background one_stressor "$1" "$B/b" "$SECONDS_EACH"
		wait_all
	else
		one_stressor "$1" "$A/a" "$SECONDS_EACH"
	fi
	if told_to_skip "$1"; then
		grep -ih skipp "$DISK/$1".*.log | sed 's/.*\] *//; s/^/    note  /' >&3
	fi
	[ -z "$(find "$B/a" "$B/b" -mindepth 1 | head)" ] # it cleans up behind it
	rm -r "$B/a" "$B/b"
}

suite() {
	local s
	for s in ${STRESSORS:-$(stressors)}; do
		mkdir "$DISK/t"
		if (one_stressor "$s" "$DISK/t" 1) >/dev/null 2>&1; then
			rm -f "$DISK/$s".*.log
			check "$s" on_mounts "$s"
			rm -rf "$A/a" "$A/b"
		else
			echo "  note  $MODE: $s: does not pass on the disk here"
		fi
		rm -rf "$DISK/t"
	done
}
run_suite
