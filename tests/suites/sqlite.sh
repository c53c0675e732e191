#!/bin/bash
# SQLite with busy writers on both mounts.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"

sql() { sqlite3 -batch -bail -cmd '.timeout 120000' "$@"; }

writer() { # writer DB NAME TRANSACTIONS MODE: one connection
	local i
	for i in $(seq "$3"); do
		echo "BEGIN IMMEDIATE;
		      UPDATE counter SET n = n + 1;
		      INSERT INTO log SELECT '$2', $i, n, hex(randomblob(500)) FROM counter;
		      COMMIT;"
	done | { echo "PRAGMA journal_mode=$4; PRAGMA synchronous=FULL;" && cat; } | sql "$1" >/dev/null
}
busy() { # busy JOURNAL_MODE WRITERS TRANSACTIONS
	local i db=busy.$1 want=$(($2 * $3))
	sql "$A/$db" "PRAGMA journal_mode=$1;
		CREATE TABLE counter(n INTEGER); INSERT INTO counter VALUES(0);
		CREATE TABLE log(who, i, n INTEGER PRIMARY KEY, filler);
		CREATE INDEX who ON log(who, i);"
	for i in $(seq "$2"); do
		if [ $((i % 2)) = 0 ]; then
			in_background writer "$A/$db" "w$i" "$3" "$1"
		else
			in_background writer "$B/$db" "w$i" "$3" "$1"
		fi
	done
	wait_all
	counted "$B/$db" "$want"
	counted "$A/$db" "$want"
	cp "$A/$db" "$DISK/$db"
	counted "$DISK/$db" "$want"
}
counted() { # counted DB N: sound, each transaction there once, in an order
	local got
	got=$(sql "$1" "PRAGMA integrity_check; SELECT n FROM counter;
		SELECT count(*), count(DISTINCT who || ' ' || i), min(n), max(n) FROM log;")
	[ "$got" = "ok
$2
$2|$2|1|$2" ] || {
		echo "$1: $got"
		return 1
	}
}
readers_and_writers() { # sums that every reader must see unchanged
	local db=bank i
	sql "$A/$db" "CREATE TABLE account(id INTEGER PRIMARY KEY, n);
		WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20)
		INSERT INTO account SELECT i, 100 FROM c;"
	for i in 1 2; do
		in_background mover "$A/$db" "$1"
		in_background adder "$B/$db" "$1"
	done
	wait_all
	[ "$(sql "$B/$db" 'SELECT sum(n), count(*) FROM account; PRAGMA integrity_check')" = "2000|20
ok" ]
}
mover() {
	for i in $(seq "$2"); do
		echo "BEGIN IMMEDIATE; UPDATE account SET n = n - $i WHERE id = $((i % 20 + 1));
		UPDATE account SET n = n + $i WHERE id = $((i * 7 % 20 + 1)); COMMIT;"
	done | sql "$1"
}
adder() {
	local wrong
	wrong=$(for i in $(seq "$2"); do echo 'SELECT sum(n) FROM account;'; done | sql "$1" | grep -vc '^2000$') || true
	[ "$wrong" = 0 ]
}
killed_writer() { # a hot journal, which who comes next rolls back, on the other mount
	local db=hot pid i n=0
	sql "$A/$db" 'CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE c(n); INSERT INTO c VALUES(0);'
	for i in 1 2 3 4 5; do
		{
			while :; do
				n=$((n + 1))
				echo "BEGIN IMMEDIATE; UPDATE c SET n = n + 1;
				INSERT INTO t(b) VALUES(hex(randomblob(20000))); COMMIT;"
			done
		} 2>/dev/null | sqlite3 -batch "$A/$db" &
		pid=$!
		until_true 20 [ -e "$B/$db-journal" ]
		kill -KILL $pid
		wait $pid || true
		[ "$(sql "$B/$db" 'PRAGMA integrity_check; SELECT (SELECT count(*) FROM t) = (SELECT n FROM c)')" = "ok
1" ]
	done
}

suite() {
	local n=40
	[ "$QUICK" ] && n=10
	check "4 writers, rollback journal" busy delete 4 $n
	check "4 writers, truncated journal" busy truncate 4 $n
	check "4 writers, persistent journal" busy persist 4 $n
	check "sums under movers" readers_and_writers $n
	check "killed writers" killed_writer
	if [ "$MODE" = two ]; then
		echo "  note  two: WAL keeps its index in shared memory, which two machines have not (README.md)"
	else
		check "4 writers, write-ahead log" busy wal 4 $n
	fi
}
run_suite
