#!/bin/bash
# rsync with everything it can keep, there, again, and back.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"

make_source() { # what attributes, links and holes there can be, beside a tree of real files
	local s=$DISK/source
	mkdir "$s"
	cp -a "${1:-/usr/include/linux}" "$s/real"
	mkdir -p "$s/odd/a/b/c/d/e" "$s/odd/empty"
	echo one >"$s/odd/name with  spaces"
	echo two >"$s/odd/"$'line\nbreak'
	ln "$s/odd/name with  spaces" "$s/odd/a/hard"
	ln -s /nowhere "$s/odd/dangling"
	ln -s ../odd "$s/odd/link"
	mkfifo "$s/odd/fifo"
	mknod "$s/odd/null" c 1 3
	truncate -s 50M "$s/odd/sparse"
	printf x | dd of="$s/odd/sparse" bs=1 seek=30000000 conv=notrunc 2>/dev/null
	head -c 5000000 /dev/urandom >"$s/odd/random"
	setfattr -n user.color -v blue "$s/odd/random"
	setfattr -n trusted.kind -v 0x00ff00 "$s/odd/a"
	setfacl -m u:1234:rw,g:77:r "$s/odd/random"
	setfacl -d -m u:1234:rwx "$s/odd/a/b"
	cp /bin/true "$s/odd/capable"
	setcap cap_net_raw=ep "$s/odd/capable"
	chown 1234:77 "$s/odd/a/b"
	chmod 2750 "$s/odd/a/b"
	touch -d '1999-12-31 23:59:59.123456789' "$s/odd/random" "$s/odd/a/b"
}

nothing_to_do() { # nothing_to_do FROM TO: rsync sees no difference
	local out
	out=$(rsync -aHAXS --numeric-ids --delete --checksum --dry-run --itemize-changes "$1/" "$2/")
	echo "$out"
	[ -z "$out" ]
}

there() {
	rsync -aHAXS --numeric-ids "$DISK/source/" "$A/copy/"
	nothing_to_do "$DISK/source" "$B/copy"
	same_trees "$DISK/source" "$B/copy"
}
holes_stay() { [ "$(stat -c %b "$B/copy/odd/sparse")" -lt 1000 ]; }
links_stay() { [ "$B/copy/odd/a/hard" -ef "$B/copy/odd/name with  spaces" ]; }
again() { # changes, through the other mount, in several ways of writing
	local s=$DISK/source
	echo three >>"$s/odd/name with  spaces"
	printf changed | dd of="$s/odd/random" bs=1 seek=2500000 conv=notrunc 2>/dev/null
	rm -r "$s/odd/a/b/c"
	rm "$s/odd/link" && mkdir "$s/odd/link"
	mv "$s/real" "$s/moved"
	chmod 600 "$s/odd/capable"
	rsync -aHAXS --numeric-ids --delete "$s/" "$B/copy/"
	nothing_to_do "$s" "$A/copy"
	printf again | dd of="$s/odd/random" bs=1 seek=1000000 conv=notrunc 2>/dev/null
	rsync -aHAX --numeric-ids --inplace --no-whole-file "$s/" "$A/copy/"
	nothing_to_do "$s" "$B/copy"
}
back() {
	rsync -aHAXS --numeric-ids "$B/copy/" "$DISK/back/"
	nothing_to_do "$DISK/source" "$DISK/back"
	same_trees "$DISK/source" "$DISK/back"
}

suite() {
	local tree=$REAL_TREE
	[ "$QUICK" ] && tree=/usr/include/linux/netfilter
	make_source "$tree"
	check there there
	check "holes stay holes" holes_stay
	check "links stay links" links_stay
	check again again
	check back back
}
run_suite
