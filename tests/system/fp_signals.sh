#!/bin/bash
# Signals that a call survives on a disk file system do not end it here either; one that ends the caller
# does, also when the store is down.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

test_calls_go_on_after_signals() {
	store_up 3 2
	"$PROG/fp_signals" "$T" 100
	"$PROG/fp_signals" "$MNT" 100
}
test_a_stopped_copy_goes_on() {
	local p stops=0
	cp -r /usr/include/linux "$MNT/copy" &
	p=$!
	while [ $stops -lt 20 ] && kill -STOP $p 2>/dev/null; do
		kill -CONT $p
		stops=$((stops + 1))
		read -r -t 0.02 <> <(:) || true
	done
	wait $p
	[ $stops -gt 1 ]
	diff -r /usr/include/linux "$MNT/copy"
}
test_a_caller_can_be_ended() {
	local n started took
	for n in 1 2 3; do kill_node $n STOP; done
	started=$SECONDS
	if timeout -k 20 -s INT 1 cat "$MNT/copy/fs.h" >"$T/cat.out" 2>&1; then die "a frozen store answers"; fi
	took=$((SECONDS - started))
	for n in 1 2 3; do kill_node $n CONT; done
	[ $took -lt 10 ] || die "it took $took s"
}
run_tests
