#!/bin/bash
# What one mount wrote and closed, the other reads at once.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

test_start() {
	store_up 3 4
	second_mount
}
test_read_after_close() {
	for i in $(seq 300); do
		echo "value $i" >"$MNT/f"
		[ "$(cat "$MNT2/f")" = "value $i" ]
		echo "back $i" >"$MNT2/f"
		[ "$(cat "$MNT/f")" = "back $i" ]
	done
}
test_stat_and_names_at_once() {
	for i in $(seq 100); do
		mkdir "$MNT/d$i"
		[ -d "$MNT2/d$i" ]
		touch "$MNT2/d$i/x"
		[ "$(ls "$MNT/d$i")" = x ]
		mv "$MNT/d$i/x" "$MNT/d$i/y"
		[ ! -e "$MNT2/d$i/x" ] && [ -e "$MNT2/d$i/y" ]
		rm "$MNT2/d$i/y"
		rmdir "$MNT/d$i"
		[ ! -e "$MNT2/d$i" ]
	done
}
test_same_size_same_time_is_seen() {
	echo aaaa >"$MNT/s"
	touch -d 2020-01-01 "$MNT/s"
	exec 5<"$MNT2/s"
	[ "$(cat "$MNT2/s")" = aaaa ]
	echo bbbb >"$MNT/s"
	touch -d 2020-01-01 "$MNT/s"
	[ "$(cat <&5)" = bbbb ]
	exec 5<&-
}
test_appends_from_two_mounts_lose_nothing() {
	for m in "$MNT" "$MNT2"; do
		(for i in $(seq 300); do echo "$m $i" >>"$m/log"; done) &
	done
	wait
	[ "$(wc -l <"$MNT/log")" -eq 600 ]
	[ "$(sort -u "$MNT2/log" | wc -l)" -eq 600 ]
}
test_exclusive_create_has_one_winner() {
	for i in $(seq 50); do
		(set -C; : >"$MNT/lock$i") 2>/dev/null && echo one >>"$T/winners" &
		(set -C; : >"$MNT2/lock$i") 2>/dev/null && echo two >>"$T/winners"
		wait || true
	done
	note "exclusive creates won: $(sort "$T/winners" | uniq -c | tr '\n' ' ')"
	[ "$(wc -l <"$T/winners")" -eq 50 ]
}
test_clone_on_one_read_on_the_other() {
	mkdir "$T/origin"
	git -C "$T/origin" init -q
	for i in $(seq 30); do echo "file $i" >"$T/origin/f$i"; done
	git -C "$T/origin" add -A
	git -C "$T/origin" -c user.name=t -c user.email=t@localhost commit -qm one
	git clone -q "$T/origin" "$MNT/clone"
	git -c safe.directory='*' -C "$MNT2/clone" fsck --strict
	[ -z "$(git -c safe.directory='*' -C "$MNT2/clone" status --short)" ]
}
run_tests
