#!/bin/bash
# kill -9 of nodes in the middle of everything: no error reaches a tool, nothing acknowledged is lost.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

test_start() { store_up 3 4; }
prepare() {
	EP=$(store_endpoints)
	export PAXFS_ENDPOINTS=$EP
}
# while_killing COMMAND...: kills and restarts one node after the other until the command has ended;
# its exit status. At least all three die once: the command goes on until `enough`.
enough() { [ -e "$T/enough" ]; }
while_killing() {
	local n=1 kills=0 rc=0 cmd
	rm -f "$T/enough"
	"$@" <&0 & # else its input would be /dev/null
	cmd=$!
	while kill -0 $cmd 2>/dev/null; do
		kill_node $n
		kills=$((kills + 1))
		[ $kills -lt 3 ] || touch "$T/enough"
		restart_nodes
		until_true 30 all_serving
		n=$((n % 3 + 1))
	done
	wait $cmd || rc=$?
	note "$kills nodes killed during: $1 ${2:-}"
	[ $rc -ne 0 ] || [ $kills -ge 3 ] || die "the command was too quick for three kills"
	return $rc
}

test_writer_sees_no_error_and_only_short_pauses() {
	prepare
	mkdir "$MNT/w"
	while_killing "$PROG/ackwriter" write "$MNT/w" "$T/acks" 25 >"$T/w.out" </dev/zero
	note "$(cat "$T/w.out")"
	"$PROG/ackwriter" check "$MNT/w" "$T/acks"
}
copy_all() {
	local i=0
	until [ $i -ge 2 ] && enough; do
		i=$((i + 1))
		cp -a /usr/include/linux "$MNT/inc$i" || return 1
		echo $i >"$T/copies"
	done
}
test_cp_a() {
	prepare
	while_killing copy_all
	for i in $(seq "$(cat "$T/copies")"); do diff -r /usr/include/linux "$MNT/inc$i"; done
}
ROWS=500
sqlite_work() {
	until sqlite3 "$MNT/db" <"$T/sql" >"$T/sql.out" && enough; do
		[ "$(tr '\n' ' ' <"$T/sql.out")" = "$ROWS ok " ] || return 1
		rm "$MNT/db"
	done
}
test_sqlite() {
	prepare
	{
		echo 'create table t(id integer primary key, v text);'
		for i in $(seq $ROWS); do echo "begin; insert into t(v) values('v$i'); commit;"; done
		echo 'select count(*) from t; pragma integrity_check;'
	} >"$T/sql"
	while_killing sqlite_work
	[ "$(tr '\n' ' ' <"$T/sql.out")" = "$ROWS ok " ]
}
git_work() {
	local i=0
	until [ $i -ge 2 ] && enough; do
		i=$((i + 1))
		git clone -q "$T/origin" "$MNT/clone$i" || return 1
		echo more >>"$MNT/clone$i/f1" || return 1
		git -C "$MNT/clone$i" -c user.name=t -c user.email=t@localhost commit -qam two || return 1
		git -C "$MNT/clone$i" fsck --strict || return 1
	done
}
test_git() {
	prepare
	mkdir "$T/origin"
	git -C "$T/origin" init -q
	for i in $(seq 300); do echo "file $i" >"$T/origin/f$i"; done
	git -C "$T/origin" add -A
	git -C "$T/origin" -c user.name=t -c user.email=t@localhost commit -qm one
	while_killing git_work
}
tar_work() {
	local i=0
	until [ $i -ge 2 ] && enough; do
		i=$((i + 1))
		mkdir "$MNT/untar$i" || return 1
		tar -C "$MNT/untar$i" -xf "$T/t.tar" || return 1
		tar -C "$MNT/untar$i" -cf "$T/t$i.tar" linux || return 1
		echo $i >"$T/untars"
	done
}
test_tar() {
	prepare
	tar -C /usr/include -cf "$T/t.tar" linux
	while_killing tar_work
	for i in $(seq "$(cat "$T/untars")"); do
		diff -r /usr/include/linux "$MNT/untar$i/linux"
		tar -C "$MNT/untar$i" -df "$T/t$i.tar"
	done
}
build_work() {
	until enough; do
		make -s -j2 -C "$MNT/proj" || return 1
		"$MNT/proj/prog" || return 1
		rm "$MNT"/proj/*.o "$MNT/proj/prog" || return 1
	done
}
test_build_a_c_project() {
	prepare
	c_project "$MNT/proj" 40
	while_killing build_work
}
LARGE=134217728 # bytes: three stripes
large_file_work() {
	until enough; do large_file_once || return 1; done
}
large_file_once() {
	head -c $LARGE /dev/urandom >"$T/big"
	cp "$T/big" "$MNT/big" || return 1
	echo 3 >/proc/sys/vm/drop_caches
	cmp "$T/big" "$MNT/big"
}
test_large_file() {
	prepare
	while_killing large_file_work
	[ "$(stat -c %s "$MNT/big")" = $LARGE ]
	rm "$MNT/big" "$T/big"
}
move_back_and_forth() {
	until enough; do
		"$PROG/renamewatch" move "$D1" "$D2" 300 || return 1
		"$PROG/renamewatch" move "$D2" "$D1" 300 || return 1
	done
}
test_renames_across_groups() {
	prepare
	two_groups "$MNT/ren"
	for i in $(seq 0 299); do echo "$i" >"$D1/$i"; done
	while_killing move_back_and_forth
	for i in $(seq 0 299); do [ "$(cat "$D1/$i")" = "$i" ]; done
	[ -z "$(ls "$D2")" ]
}
test_all_nodes_killed_at_once() {
	prepare
	mkdir "$MNT/all"
	mkfifo "$T/hold"
	"$PROG/ackwriter" write "$MNT/all" "$T/acks.all" 60 <"$T/hold" >"$T/all.out" &
	w=$!
	exec 6>"$T/hold"
	until_true 20 grep -q '^200$' "$T/acks.all"
	for _ in 1 2 3; do
		pids="$(node_pid 1) $(node_pid 2) $(node_pid 3)"
		# shellcheck disable=SC2086 # three words
		kill -KILL $pids
		for p in $pids; do until_true 10 gone "$p"; done
		restart_nodes
		until_true 30 all_serving
		n=$(($(wc -l <"$T/acks.all") + 100))
		until_true 30 grep -q "^$n\$" "$T/acks.all"
	done
	exec 6>&-
	wait $w
	note "all nodes killed three times: $(cat "$T/all.out")"
	"$PROG/ackwriter" check "$MNT/all" "$T/acks.all"
}
test_stopped_leader() {
	prepare
	mkdir "$MNT/stop"
	g=$(group_of "$MNT/stop")
	n=$(leader_of "$g")
	mkfifo "$T/hold2"
	"$PROG/ackwriter" write "$MNT/stop" "$T/acks.stop" 60 <"$T/hold2" >"$T/stop.out" &
	w=$!
	exec 6>"$T/hold2"
	until_true 20 grep -q '^50$' "$T/acks.stop"
	kill_node "$n" STOP
	k=$(($(wc -l <"$T/acks.stop") + 100))
	until_true 30 grep -q "^$k\$" "$T/acks.stop"
	kill_node "$n" CONT
	exec 6>&-
	wait $w
	note "leader of group $g stopped: $(cat "$T/stop.out")"
	"$PROG/ackwriter" check "$MNT/stop" "$T/acks.stop"
}
test_sigint_ends_a_waiting_call() {
	prepare
	for n in 1 2 3; do kill_node $n STOP; done
	started=$SECONDS
	if timeout -k 20 -s INT 1 cat "$MNT/db" >"$T/cat.out" 2>&1; then die "a frozen store answers"; fi
	took=$((SECONDS - started))
	for n in 1 2 3; do kill_node $n CONT; done
	[ $took -lt 10 ] || die "it took $took s"
}
test_fsck_is_clean() {
	prepare
	until_true 30 all_serving
	"$PAXFS" fsck
}
run_tests
