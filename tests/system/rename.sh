#!/bin/bash
# mv between directories in different groups: never both names, never none.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

test_start() {
	store_up 3 4
	second_mount
}
prepare() {
	EP=$(store_endpoints)
	export PAXFS_ENDPOINTS=$EP
}
test_files_across_groups() {
	prepare
	two_groups "$MNT/files"
	for i in $(seq 0 299); do echo "$i" >"$D1/$i"; done
	"$PROG/renamewatch" watch "${D1/$MNT/$MNT2}" "${D2/$MNT/$MNT2}" 300 >"$T/watch" &
	w=$!
	"$PROG/renamewatch" move "$D1" "$D2" 300
	wait $w
	note "$(cat "$T/watch")"
	[ -z "$(ls "$D1")" ]
	for i in $(seq 0 299); do [ "$(cat "${D2/$MNT/$MNT2}/$i")" = "$i" ]; done
}
test_directory_trees_across_groups() {
	prepare
	two_groups "$MNT/trees"
	for i in $(seq 0 39); do
		mkdir -p "$D1/$i/sub"
		echo "$i" >"$D1/$i/sub/leaf"
	done
	"$PROG/renamewatch" watch "${D1/$MNT/$MNT2}" "${D2/$MNT/$MNT2}" 40 >"$T/watch" &
	w=$!
	"$PROG/renamewatch" move "$D1" "$D2" 40
	wait $w
	note "$(cat "$T/watch")"
	for i in $(seq 0 39); do [ "$(cat "${D2/$MNT/$MNT2}/$i/sub/leaf")" = "$i" ]; done
	[ "$(stat -c %h "$D2")" = 42 ]
	[ "$(stat -c %h "$D1")" = 2 ]
}
test_two_mounts_cannot_make_a_cycle() {
	prepare
	mkdir -p "$MNT/cycle"
	for i in $(seq 20); do
		mkdir "$MNT/cycle/a" "$MNT/cycle/b"
		mv "$MNT/cycle/a" "$MNT/cycle/b/" 2>/dev/null &
		p=$!
		mv "$MNT2/cycle/b" "$MNT2/cycle/a/" 2>/dev/null || true
		wait $p || true
		[ "$(find "$MNT/cycle" -mindepth 1 | wc -l)" -eq 2 ]
		rm -rf "$MNT/cycle/a" "$MNT/cycle/b"
	done
}
test_fsck_is_clean() {
	prepare
	"$PAXFS" fsck
}
run_tests
