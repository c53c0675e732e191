#!/bin/bash
# dbench: a file server's load, which stops at the first call that fails or tells another size than expected.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"
SECONDS_EACH=${DBENCH_SECONDS:-20}

load() { # load DIR CLIENTS ARGUMENTS...
	local dir=$1 clients=$2 rc=0
	shift 2
	mkdir -p "$dir"
	dbench -D "$dir" -t "$SECONDS_EACH" "$@" "$clients" >"$dir.log" 2>&1 || rc=$?
	tail -n 3 "$dir.log"
	fails grep -iE 'failed|error|expected' "$dir.log"
	grep -q '^Throughput' "$dir.log"
	return $rc
}
both() {
	in_background load "$A/a" 4
	in_background load "$B/b" 4
	wait_all
}
gone() { # dbench removes what it made
	rm -r "$B"/[ab]* "$B"/s*
	[ -z "$(ls -A "$A")" ]
}

suite() {
	check "4 clients on each" both
	check "2 clients, synchronous" load "$A/s" 2 -s -S
	check remove gone
}
run_suite
