#!/bin/bash
# Ordinary tools on the mount.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

TREES=(/usr/include/linux /usr/include/c++ /usr/include/rocksdb) # of a few thousand files

test_start() { store_up 3 4; }
test_cp_a_and_diff() {
	mkdir "$MNT/include"
	cp -a "${TREES[@]}" "$MNT/include"
	for tree in "${TREES[@]}"; do
		diff -r --no-dereference "$tree" "$MNT/include/${tree##*/}"
	done
}
test_tar_round_trip() {
	tar -C "$MNT/include" -cf "$T/t.tar" linux
	mkdir "$MNT/untar"
	tar -C "$MNT/untar" -xf "$T/t.tar"
	diff -r /usr/include/linux "$MNT/untar/linux"
	rm -rf "$MNT/untar" "$MNT/include"
	[ -z "$(ls -A "$MNT")" ]
}
test_git() {
	mkdir "$T/origin"
	git -C "$T/origin" init -q
	for i in $(seq 60); do echo "file $i" >"$T/origin/f$i"; done
	git -C "$T/origin" add -A
	git -C "$T/origin" -c user.name=t -c user.email=t@localhost commit -qm one
	git clone -q "$T/origin" "$MNT/clone"
	echo more >>"$MNT/clone/f1"
	git -C "$MNT/clone" -c user.name=t -c user.email=t@localhost commit -qam two
	[ -z "$(git -C "$MNT/clone" status --short)" ]
	git -C "$MNT/clone" fsck --strict
	git -C "$MNT/clone" gc -q
	git -C "$MNT/clone" log --oneline | grep -q two
}
test_sqlite_1000_transactions() {
	{
		echo 'create table t(id integer primary key, v text);'
		for i in $(seq 1000); do echo "begin; insert into t(v) values('v$i'); commit;"; done
		echo 'select count(*) from t; pragma integrity_check;'
	} | sqlite3 "$MNT/db" | tr '\n' ' ' | grep -q '^1000 ok $'
}
test_build_a_c_project() {
	c_project "$MNT/proj" 20
	make -s -j2 -C "$MNT/proj"
	"$MNT/proj/prog"
	make -s -C "$MNT/proj" | grep -q 'up to date' || make -C "$MNT/proj" | grep -q 'up to date'
}
test_save_by_rename() {
	echo old >"$MNT/doc"
	for i in $(seq 50); do
		echo "version $i" >"$MNT/.doc.swp"
		sync "$MNT/.doc.swp"
		mv "$MNT/.doc.swp" "$MNT/doc"
		[ "$(cat "$MNT/doc")" = "version $i" ]
	done
}
test_one_gib_file() {
	head -c 1073741824 /dev/urandom >"$T/big"
	cp "$T/big" "$MNT/big"
	sha256sum <"$T/big" | cut -d' ' -f1 >"$T/sum"
	rm "$T/big"
	[ "$(stat -c %s "$MNT/big")" = 1073741824 ]
	echo 3 >/proc/sys/vm/drop_caches
	[ "$(sha256sum <"$MNT/big" | cut -d' ' -f1)" = "$(cat "$T/sum")" ]
	rm "$MNT/big"
}
test_small_things() {
	cp -a /etc/passwd /bin/cat "$MNT/" # modes, owners, times
	[ "$(stat -c '%a %u %g %Y' "$MNT/passwd")" = "$(stat -c '%a %u %g %Y' /etc/passwd)" ]
	[ "$(stat -c '%a %u %g %Y' "$MNT/cat")" = "$(stat -L -c '%a %u %g %Y' /bin/cat)" ]
	ln -s target "$MNT/sym" && [ "$(readlink "$MNT/sym")" = target ]
	echo x >"$MNT/h1" && ln "$MNT/h1" "$MNT/h2" && [ "$(stat -c %h "$MNT/h2")" = 2 ]
	mkfifo "$MNT/fifo" && [ -p "$MNT/fifo" ]
	setfattr -n user.colour -v blue "$MNT/h1"
	[ "$(getfattr --only-values -n user.colour "$MNT/h2")" = blue ]
	chmod 751 "$MNT/h1" && chown 12:34 "$MNT/h1" && [ "$(stat -c '%a %u %g' "$MNT/h1")" = '751 12 34' ]
	touch -d '2001-02-03 04:05:06.789' "$MNT/h1"
	[ "$(stat -c %y "$MNT/h1" | cut -c1-23)" = "$(date -d '2001-02-03 04:05:06.789' '+%F %T.789')" ]
	truncate -s 1000000 "$MNT/h1" && [ "$(head -c 2 "$MNT/h1" | head -c 1)" = x ]
	truncate -s 1 "$MNT/h1" && truncate -s 10 "$MNT/h1"
	[ "$(od -An -c "$MNT/h1" | tr -d ' \n')" = 'x\0\0\0\0\0\0\0\0\0' ]
	mkdir "$MNT/full" && touch "$MNT/full/f"
	if rmdir "$MNT/full" 2>/dev/null; then die "removed a full directory"; fi
	mkdir -p "$MNT/a/b/c" && ! mv "$MNT/a" "$MNT/a/b/c/" 2>/dev/null
	exec 5<"$MNT/h2" && rm "$MNT/h1" "$MNT/h2" && [ "$(head -c 1 <&5)" = x ] && exec 5<&-
	seq 1000 | xargs -P 4 -I{} sh -c "echo {} >>'$MNT/appended'"
	[ "$(sort -n "$MNT/appended" | md5sum)" = "$(seq 1000 | md5sum)" ]
}
test_fsck_is_clean() {
	PAXFS_ENDPOINTS=$(store_endpoints) "$PAXFS" fsck
}
run_tests
