#!/bin/bash
# PostgreSQL with its data on the mount: initdb, pgbench while a node, a leader, is killed; PostgreSQL itself killed,
# and recovered (in mode two by a server on the other mount); sums, indexes and checksums at the end.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"
BENCH_SECONDS=${PGBENCH_SECONDS:-60}
SCALE=${PGBENCH_SCALE:-3}
PGBIN=$(dirname "$(find /usr/lib/postgresql -name initdb -path '*/bin/*' | sort -V | tail -1)" 2>/dev/null)

as_pg() { # whoever that is: not root
	setpriv --reuid nobody --regid nogroup --clear-groups env HOME="$DISK" PATH="$PGBIN:$PATH" "$@"
}
sql() { as_pg psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$DISK" -d "${DB:-bench}" "$@"; }
start() { # start DIR: a socket on the disk, no port
	as_pg pg_ctl -D "$1/pg" -w -t 120 -l "$DISK/server.log" \
		-o "-c listen_addresses= -c unix_socket_directories=$DISK" start >/dev/null || {
		tail -n 20 "$DISK/server.log"
		return 1
	}
}
stop() { as_pg pg_ctl -D "$1/pg" -w -t 120 -m fast stop >/dev/null; }

kill_server() { # postmaster and all that it started, at once
	local pm children
	pm=$(head -1 "$A/pg/postmaster.pid")
	children=$(pgrep -P "$pm")
	# shellcheck disable=SC2086 # pids
	kill -KILL "$pm" $children
	for p in $pm $children; do until_true 20 gone "$p"; done
}
init() {
	chown nobody:nogroup "$DISK"
	mkdir "$A/pg"
	chown nobody:nogroup "$A/pg"
	chmod 700 "$A/pg"
	as_pg initdb -D "$A/pg" --data-checksums --auth=trust --no-locale -E UTF8 >"$DISK/initdb.log" 2>&1 || {
		tail -n 20 "$DISK/initdb.log"
		return 1
	}
	start "$A"
	DB=postgres sql -c 'CREATE DATABASE bench'
	sql -c 'CREATE EXTENSION amcheck'
	as_pg pgbench -h "$DISK" -i -s "$SCALE" -q bench 2>&1
}
bench() { # bench SECONDS: adds to what is acknowledged; no client may fail
	as_pg pgbench -h "$DISK" -c 4 -j 2 -T "$1" -n -M prepared bench >"$DISK/bench.log" 2>&1 || {
		cat "$DISK/bench.log"
		return 1
	}
	cat "$DISK/bench.log"
	fails grep -E 'aborted|ERROR|FATAL' "$DISK/bench.log"
	grep -q 'number of failed transactions: 0 ' "$DISK/bench.log"
	add_acked
}
add_acked() {
	local n
	n=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$DISK/bench.log")
	echo $(($(cat "$DISK/acked" 2>/dev/null || echo 0) + n)) >"$DISK/acked"
	echo "    note  $n transactions" >&3
}
sums() { # each transaction is there once, with all of its parts
	local n
	sql -c "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)
		AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)
		AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history)" |
		grep -qx t
	n=$(sql -c 'SELECT count(*) FROM pgbench_history')
	[ "$n" = "$(cat "$DISK/acked")" ] || {
		echo "$n transactions in the history, $(cat "$DISK/acked") acknowledged"
		return 1
	}
}
while_a_leader_dies() {
	local node
	node=$(leader_of 1)
	in_background bench "$BENCH_SECONDS"
	read -r -t $((BENCH_SECONDS / 3)) <> <(:) || true # in the midst of it
	kill_node "$node"
	echo "    note  node $node, leader of group 1, is killed" >&3
	read -r -t $((BENCH_SECONDS / 3)) <> <(:) || true
	restart_nodes
	wait_all
	until_true 60 all_serving
	sums
}
killed() { # its clients fail, what was acknowledged stays; recovered by a server at $1
	local n
	as_pg pgbench -h "$DISK" -c 4 -j 2 -T 600 -P 1 -n -M prepared bench >"$DISK/bench.log" 2>&1 &
	until_true 60 grep -q '^progress: 3' "$DISK/bench.log"
	kill_server
	wait || true
	start "$1"
	grep -q 'database system was not properly shut down' "$DISK/server.log"
	n=$(sql -c 'SELECT count(*) FROM pgbench_history')
	[ "$n" -ge "$(cat "$DISK/acked")" ]
	echo "$n" >"$DISK/acked"
	sums
}
second_is_refused() { # a server is there: one on the other mount, or here, must not start
	fails as_pg pg_ctl -D "$B/pg" -w -t 20 -l "$DISK/second.log" \
		-o "-c listen_addresses= -c unix_socket_directories=" start >/dev/null
	grep -q 'lock file "postmaster.pid" already exists' "$DISK/second.log"
}
indexes() {
	sql -c "SELECT bt_index_check(c.oid, true) FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
		JOIN pg_am a ON a.oid = c.relam
		WHERE a.amname = 'btree' AND c.relpersistence <> 't' AND i.indisready AND i.indisvalid" >/dev/null
	as_pg pg_dumpall -h "$DISK" >"$DISK/dump.sql"
	grep -q 'PostgreSQL database cluster dump complete' "$DISK/dump.sql"
}
checksums() {
	stop "$B"
	as_pg pg_checksums --check -D "$B/pg"
	as_pg pg_checksums --check -D "$A/pg" | grep -q 'Bad checksums:  0'
}
back() { # stopped there, started here, and all of it is there
	start "$A"
	sums
	stop "$A"
}
end_server() { # after a failure
	[ -s "$A/pg/postmaster.pid" ] && kill_server >/dev/null 2>&1
	return 0
}

suite() {
	[ -x "$PGBIN/initdb" ] || {
		check "PostgreSQL is installed" false
		return
	}
	check "initdb, pgbench -i" init
	if [ "$MODE" = disk ]; then
		check "pgbench" bench 5
	else
		check "pgbench, $BENCH_SECONDS s, a leader killed" while_a_leader_dies
	fi
	check "a second server is refused" second_is_refused
	check "PostgreSQL killed, recovered" killed "$B"
	check "pgbench after that" bench 10
	check "sums" sums
	check "amcheck, pg_dumpall" indexes
	check "pg_checksums" checksums
	check "started again" back
	end_server
}
run_suite
