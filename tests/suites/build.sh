#!/bin/bash
# make -j4 of a C project, paxfs itself: by two makes at once, one a mount; and by one make whose compilers work
# through both mounts. What is built is what is built on the disk.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"
top=$(cd "$suites_dir/../.." && pwd)
PARTS=(base net wal consensus txn fs)
TARGETS=("${PARTS[@]/#/lib}")

sources() {
	mkdir "$1/src"
	cp -a "$top/Makefile" "$top/base" "$top/net" "$top/wal" "$top/consensus" "$top/txn" "$top/fs" "$1/src"
	mkdir "$1/src/kv" && cp -a "$top"/kv/*.h "$1/src/kv"
}
made() { # made DIR BUILD [VARIABLE...]: no debug information, which has the directory's name in it
	local dir=$1 build=$2
	shift 2
	make -s -C "$dir/src" -j4 BUILD="$build" OPT=-O1 CC="${CC:-$(compiler)}" "$@" \
		"${TARGETS[@]/%/.a}" >"$DISK/make.$build.log" 2>&1 || {
		tail -n 20 "$DISK/make.$build.log"
		return 1
	}
}
compiler() { PATH=/usr/bin:/bin command -v gcc; } # no cache of results
objects() { (cd "$1" && find . -name '*.[oa]' -type f -print0 | sort -z | xargs -0 sha256sum); }
same_objects() { # same_objects DIR: as many as on the disk, and those
	objects "$DISK/src/out" >"$DISK/want"
	objects "$1" | diff "$DISK/want" -
	[ "$(wc -l <"$DISK/want")" -gt 50 ]
}
on_disk() {
	sources "$DISK"
	BUILDS=out made_in "$DISK" out
}
made_in() { # made_in DIR BUILD: targets are BUILD/libX.a
	TARGETS=("${PARTS[@]/#/$2/lib}")
	made "$@"
}
two_makes() {
	in_background made_in "$A" out
	in_background made_in "$B" second
	wait_all
	same_objects "$B/src/out"
	same_objects "$A/src/second"
}
make_compiler() { # one that works where the sources are on the other mount, every other time
	cat >"$DISK/cc" <<EOC
#!/bin/bash
case \$PWD in
$A*) [ \$((\$\$ % 2)) = 0 ] && cd "$B\${PWD#"$A"}" ;;
esac
exec $(compiler) "\$@"
EOC
	chmod +x "$DISK/cc"
}
one_make() {
	make_compiler
	CC=$DISK/cc made_in "$A" third
	same_objects "$B/src/third"
}
nothing_left() { # neither mount's make finds anything older than what it comes from
	for d in "$A" "$B"; do
		make -q -C "$d/src" BUILD=out OPT=-O1 CC="$(compiler)" out/libfs.a
		make -q -C "$d/src" BUILD=third OPT=-O1 CC="$(compiler)" third/libfs.a
	done
}
one_changed() { # a header changed through one mount makes the other's make build just what includes it
	echo >>"$A/src/base/crc32c.h"
	fails make -q -C "$B/src" BUILD=out OPT=-O1 CC="$(compiler)" out/libbase.a
	made_in "$B" out
	make -q -C "$A/src" BUILD=out OPT=-O1 CC="$(compiler)" out/libbase.a
}
clean() {
	rm -r "$B/src"
	[ -z "$(ls -A "$A")" ]
}

suite() {
	check "on the disk" on_disk
	sources "$A"
	check "two makes of -j4 at once" two_makes
	check "one make, compilers on both" one_make
	check "nothing left to make" nothing_left
	check "a header changed" one_changed
	check clean clean
}
run_suite
