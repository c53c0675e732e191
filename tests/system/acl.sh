#!/bin/bash
# Extended attributes, access lists and file capabilities, with the tools that use them; what a tmpfs
# answers is the measure where both are asked.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
export LC_ALL=C TAR_OPTIONS=

as() { # as UID[:GID[,GROUP...]] COMMAND...
	local ids=$1
	shift
	case $ids in
	*:*) setpriv --reuid "${ids%%:*}" --regid "$(cut -d: -f2 <<<"$ids" | cut -d, -f1)" \
		--groups "$(cut -d: -f2 <<<"$ids")" "$@" ;;
	*) setpriv --reuid "$ids" --regid "$ids" --clear-groups "$@" ;;
	esac
}
refused() { ! "$@" 2>/dev/null; }
says() { # says TEXT COMMAND...: it fails, with that error
	local text=$1 out
	shift
	if out=$("$@" 2>&1); then die "no error: $*"; fi
	[[ $out == *"$text"* ]] || die "$*: $out"
}
attributes() {
	(cd "$1" && find . | sort | while read -r f; do
		echo "$f"
		getfattr -h -d -m - -e hex "$f" | grep -v '^#\|^system.posix_acl' | sort
	done)
}
lists() {
	(cd "$1" && find . | sort | while read -r f; do
		stat -c '%n %A %a %u %g' "$f"
		[ -L "$f" ] || getfacl -n -p "$f"
	done)
}
same() { # same DIR DIR
	diff <(lists "$1") <(lists "$2")
	diff <(attributes "$1") <(attributes "$2")
}

test_start() {
	store_up 3 4
	second_mount
	chmod 755 "$T"
	mkdir "$T/ref"
	mount -t tmpfs tmpfs "$T/ref"
	chmod 755 "$T/ref"
}

test_attribute_names() {
	cd "$MNT"
	touch file
	mkdir dir
	ln -s file link
	mkfifo pipe
	for name in user.a trusted.a security.a; do
		setfattr -n $name -v v file
		setfattr -n $name -v v dir
	done
	setfattr -h -n trusted.a -v v link
	says 'Operation not permitted' setfattr -h -n user.a -v v link
	says 'Operation not permitted' setfattr -n user.a -v v pipe
	for name in system.a os2.a plain; do
		says 'Operation not supported' setfattr -n $name -v v file
	done
	for name in user. trusted. security.; do
		says 'Invalid argument' setfattr -n $name -v v file
	done
	says 'No such attribute' getfattr -n user.b file
	says 'No such attribute' setfattr -x user.b file
	setfattr -x security.a file
	says 'No such attribute' getfattr -n security.a file
}

test_attribute_limits() {
	local long value
	cd "$MNT"
	long=user.$(printf '%0250d' 0)
	value=$(printf '%065536d' 0)
	setfattr -n "$long" -v x file
	[ "$(getfattr --only-values -n "$long" file)" = x ]
	says 'Numerical result out of range' setfattr -n "${long}0" -v x file
	setfattr -n user.big -v "$value" file
	[ "$(getfattr --only-values -n user.big "$MNT2/file")" = "$value" ]
	says 'Argument list too long' setfattr -n user.big -v "${value}0" file
	setfattr -x user.big file
	setfattr -x "$long" file
}

test_trusted_names_are_for_root() {
	cd "$MNT"
	getfattr -m - file | grep -q '^trusted.a$'
	refused grep trusted <(as 1234 getfattr -m - file)
	as 1234 getfattr -m - file | grep -q '^user.a$'
	says 'Operation not permitted' as 1234 setfattr -n trusted.b -v v file
}

test_a_list_is_obeyed() {
	cd "$MNT"
	echo text >acl
	chmod 600 acl
	refused as 1001 cat acl
	setfacl -m u:1001:r,g:2002:rw acl
	as 1001 cat acl
	refused as 1001 sh -c 'echo x >>acl'
	as 1002:2002 sh -c 'echo x >>acl'
	as 1002:77,2002 cat acl
	refused as 1003:77 cat acl
	setfacl -m m::r acl
	refused as 1002:2002 sh -c 'echo x >>acl'
	chmod g= acl
	refused as 1001 cat acl
	setfacl -b acl
	[ "$(stat -c %A acl)" = -rw------- ]
	refused getfattr -n system.posix_acl_access acl
}

test_the_other_mount_obeys_at_once() {
	cd "$MNT"
	for _ in $(seq 30); do
		setfacl -m u:1001:r acl
		as 1001 cat "$MNT2/acl" >/dev/null
		setfacl -m u:1001:- "$MNT2/acl"
		refused as 1001 cat "$MNT/acl"
	done
	mkdir shared
	for _ in $(seq 30); do
		setfacl -m u:1001:rwx shared
		as 1001 touch "$MNT2/shared/x"
		setfacl -x u:1001 "$MNT2/shared"
		refused as 1001 rm "$MNT/shared/x"
		rm "$MNT/shared/x"
	done
}

# the same steps there and on a tmpfs; then all lists and modes are alike
steps() {
	cd "$1"
	mkdir d
	setfacl -d -m u:1001:rwx,g:2002:r-x,o::--- d
	(umask 077 && touch d/file && mkdir d/sub && touch d/sub/file && mkfifo d/sub/pipe &&
		ln -s x d/link)
	(umask 0 && touch d/open && mkdir d/sub/open)
	chmod 750 d/sub/open
	chmod 4711 d/open
	chmod u=rw,g=,o=x d/file
	mkdir short
	setfacl -d -m u::rw,g::r,o::- short
	(umask 0 && touch short/file && mkdir short/sub)
	chmod 2775 short
	chgrp 2002 short
	mkdir short/setgid
	setfacl -k d/sub
	(umask 027 && touch d/sub/late)
	setfacl -m u::rw,g::r,o::r d/sub/file
	setfacl -m u:5:rwx d/sub/file
	setfacl -b d/sub/late
	setfacl -x u:5 d/sub/file
	setfacl -m m::rwx short/file
	setfacl -R -m u:1007:rX d short
	chown 1001:2002 d/file
	touch owned
	chown 1001:2002 owned
	chmod 2775 owned
	as 1001:9 setfacl -m u:7:r owned
	touch kept
	chown 1001:2002 kept
	chmod 2775 kept
	as 1001:9,2002 setfacl -m u:7:r kept
	mv d/open d/sub/moved
	ln d/sub/moved d/again
	chmod 600 d/again
}
test_as_on_a_tmpfs() {
	mkdir "$MNT/steps" "$T/ref/steps"
	(steps "$MNT/steps")
	(steps "$T/ref/steps")
	diff <(lists "$T/ref/steps") <(lists "$MNT/steps")
	diff <(lists "$T/ref/steps") <(lists "$MNT2/steps")
}

test_wrong_lists() {
	cd "$MNT"
	says 'Invalid argument' setfattr -n system.posix_acl_access -v 0x0200000001000700ffffffff file
	says 'Operation not supported' setfattr -n system.posix_acl_access -v 0x01000000 file
	says 'Operation not permitted' as 1234 setfacl -m u:1:r file
	says 'Permission denied' setfattr -n system.posix_acl_default \
		-v 0x0200000001000700ffffffff04000500ffffffff20000000ffffffff file
}

test_capabilities() {
	cd "$MNT"
	cp "$(command -v cat)" tool
	refused grep -q 1000 <(as 1001 ./tool /proc/self/status | grep CapEff)
	for change in 'echo >>tool' "echo >>$MNT2/tool" 'truncate -s -1 tool' 'chown 5 tool' \
		"chgrp 6 $MNT2/tool"; do
		setcap cap_net_admin+ep tool
		getcap "$MNT2/tool" | grep -q cap_net_admin
		as 1001 ./tool /proc/self/status | grep -q '^CapEff:.*0001000$'
		eval "$change"
		[ -z "$(getcap tool)" ]
		[ -z "$(getcap "$MNT2/tool")" ]
	done
	setcap cap_net_admin+ep tool
	chmod 700 tool
	mv tool moved
	getcap moved | grep -q cap_net_admin
	setcap -r moved
	refused setcap -r moved
}

# through one descriptor, and against one that the other mount holds
test_capabilities_of_open_files() {
	cd "$MNT"
	exec 5>>moved 6>>"$MNT2/moved"
	for _ in $(seq 20); do
		setcap cap_net_admin+ep moved
		echo x >&5
		[ -z "$(getcap "$MNT2/moved")" ]
		setcap cap_net_admin+ep moved
		echo x >&6
		[ -z "$(getcap moved)" ]
	done
	exec 5>&- 6>&-
}

tree() {
	mkdir -p "$1/a/b"
	echo one >"$1/a/one"
	echo two >"$1/a/b/two"
	ln "$1/a/one" "$1/a/hard"
	ln -s one "$1/a/soft"
	cp "$(command -v cat)" "$1/a/tool"
	setfacl -m u:1001:rw,g:2002:r "$1/a/one"
	setfacl -d -m u:1001:rwx "$1/a/b"
	setfacl -m u:1003:x "$1/a/b"
	setfattr -n user.note -v hello "$1/a/one"
	setfattr -n user.note -v dir "$1/a/b"
	setfattr -n trusted.note -v secret "$1/a/b/two"
	setcap cap_net_raw+ep "$1/a/tool"
	chmod 2775 "$1/a/b"
	chown 1001:2002 "$1/a/b/two"
}
test_copies_are_the_same() {
	tree "$T/ref/tree"
	tree "$MNT/tree"
	same "$T/ref/tree" "$MNT/tree"
	cp -a "$T/ref/tree" "$MNT/cp"
	same "$T/ref/tree" "$MNT/cp"
	rsync -aHAX "$T/ref/tree/" "$MNT/rsync/"
	same "$T/ref/tree" "$MNT2/rsync"
	[ -z "$(rsync -aHAXin "$T/ref/tree/" "$MNT/rsync/")" ]
	tar --acls --xattrs --xattrs-include='*' -C "$MNT" -cf "$T/tree.tar" tree
	mkdir "$MNT/tar" "$T/ref/tar"
	tar --acls --xattrs --xattrs-include='*' -C "$MNT/tar" -xf "$T/tree.tar"
	tar --acls --xattrs --xattrs-include='*' -C "$T/ref/tar" -xf "$T/tree.tar"
	same "$T/ref/tree" "$MNT/tar/tree"
	same "$T/ref/tree" "$T/ref/tar/tree"
	cp -a "$MNT/tree" "$T/ref/back"
	same "$T/ref/tree" "$T/ref/back"
}

test_the_check_finds_nothing() {
	"$PAXFS" fsck --endpoints "$(store_endpoints)" | tee /dev/stderr | grep ': 0 problems'
}
clean_up() {
	grep -q " $T/ref tmpfs" /proc/mounts && umount "$T/ref"
	cleanup
}
CLEANUP=clean_up
run_tests
