#!/bin/bash
# tar with attributes and access lists, zip and unzip.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"
ALL_OF_IT=(--xattrs '--xattrs-include=*' --acls --numeric-owner --sparse)

make_source() {
	local s=$DISK/source
	mkdir -p "$s/dir/deep"
	cp -a "$1" "$s/real"
	echo text >"$s/dir/file"
	ln "$s/dir/file" "$s/dir/deep/hard"
	ln -s ../file "$s/dir/deep/soft"
	mkfifo "$s/dir/fifo"
	truncate -s 20M "$s/dir/sparse"
	printf x | dd of="$s/dir/sparse" bs=1 seek=10000000 conv=notrunc 2>/dev/null
	setfattr -n user.color -v blue "$s/dir/file"
	setfattr -n trusted.kind -v 0x00ff00 "$s/dir"
	setfacl -m u:1234:rw,m:rwx "$s/dir/file"
	setfacl -d -m g:77:rwx "$s/dir/deep"
	cp /bin/true "$s/dir/capable"
	chown 1234:77 "$s/dir/capable"
	setcap cap_net_raw=ep "$s/dir/capable"
	chmod 1777 "$s/dir"
}
attributes() { # of everything, in order of names
	cd "$1" || exit
	find . -print0 | sort -z >"$DISK/names"
	xargs -0 getfattr -d -h -m - -e hex <"$DISK/names"
	find . ! -type l -print0 | sort -z | xargs -0 getfacl -n -p
}
same_attributes() {
	(attributes "$1") >"$DISK/attr.1"
	(attributes "$2") >"$DISK/attr.2"
	diff "$DISK/attr.1" "$DISK/attr.2"
}

extract() {
	tar -C "$DISK" "${ALL_OF_IT[@]}" -cf "$DISK/s.tar" source
	tar -C "$A" "${ALL_OF_IT[@]}" -xpf "$DISK/s.tar"
	same_trees "$DISK/source" "$B/source"
	same_attributes "$DISK/source" "$B/source"
	[ "$(stat -c %b "$B/source/dir/sparse")" -lt 1000 ]
}
compare() { tar -C "$B" "${ALL_OF_IT[@]}" -df "$DISK/s.tar"; }
create() { # from one mount, on it; read by the other
	tar -C "$A" "${ALL_OF_IT[@]}" -czf "$A/s.tgz" source
	mkdir "$DISK/back"
	tar -C "$DISK/back" "${ALL_OF_IT[@]}" -xpzf "$B/s.tgz"
	same_trees "$DISK/source" "$DISK/back/source"
	same_attributes "$DISK/source" "$DISK/back/source"
}
update() { # tar -r and -u, of an archive on the mount
	tar -C "$A" -cf "$A/u.tar" source/dir/file
	echo more >>"$B/source/dir/deep/hard"
	tar -C "$B" -rf "$B/u.tar" source/dir/deep/hard
	tar -xOf "$A/u.tar" source/dir/deep/hard | diff - "$A/source/dir/file"
}
zip_there() {
	(cd "$A/source" && zip -qry "$A/s.zip" real)
	unzip -tqq "$B/s.zip"
}
unzip_here() {
	mkdir "$B/unzipped"
	unzip -q "$A/s.zip" -d "$B/unzipped"
	diff -r --no-dereference "$DISK/source/real" "$A/unzipped/real"
}
remove() { # by one mount, while the other still knows it all
	rm -r "$B/source" "$A/unzipped"
	[ "$(find "$A" -mindepth 1 | sed 's|.*/||' | sort | tr '\n' ' ')" = "s.tgz s.zip u.tar " ]
}

suite() {
	local tree=$REAL_TREE
	[ "$QUICK" ] && tree=/usr/include/linux/netfilter
	make_source "$tree"
	check "tar: extract" extract
	check "tar: compare" compare
	check "tar: create" create
	check "tar: append" update
	check zip zip_there
	check unzip unzip_here
	check remove remove
}
run_suite
