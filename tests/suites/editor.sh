#!/bin/bash
# Saving as editors do: vim with each of its ways, sed -i, and a loop of writes to a new name and renames under
# the eyes of a reader.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"

vim_saves() { # vim_saves DIR/FILE OPTIONS: appends a line and saves
	vim -Nu NONE -es -c "set backupskip= $2" -c 'normal! Gosaved' -c wq "$1"
}
with_backupcopy() { # with_backupcopy WAY: what others see, who has the inode, what backups are left
	local f=f.$1 ino
	echo first >"$A/$f"
	chmod 640 "$A/$f"
	chown 1234:77 "$A/$f"
	ino=$(stat -c %i "$A/$f")
	cat "$B/$f" >/dev/null
	vim_saves "$A/$f" "backup backupcopy=$1 fsync"
	printf 'first\nsaved\n' | diff - "$B/$f"
	echo first | diff - "$B/$f~"
	[ "$(stat -c '%a %u %g' "$B/$f")" = "640 1234 77" ]
	if [ "$1" = no ]; then
		[ "$(stat -c %i "$B/$f")" != "$ino" ]
	else
		[ "$(stat -c %i "$B/$f")" = "$ino" ]
	fi
	vim_saves "$B/$f" "nobackup writebackup backupcopy=$1"
	printf 'first\nsaved\nsaved\n' | diff - "$A/$f"
	rm "$A/$f~"
	[ "$(ls -A "$B")" = "$f" ] || { ls -A "$B" && false; } # neither swap files nor 4913 stay
	rm "$B/$f"
}
through_a_link() {
	echo first >"$A/target"
	ln -s target "$A/link"
	vim_saves "$A/link" backupcopy=auto
	[ -L "$B/link" ]
	printf 'first\nsaved\n' | diff - "$B/target"
	rm "$A/link" "$A/target"
}
swap_file_is_seen() { # whoever opens the file on the other mount is told that it is being edited
	echo first >"$A/f"
	coproc vim -Nu NONE -n -es "$A/f"
	echo 'set swapfile directory=. updatecount=1' >&"${COPROC[1]}"
	# shellcheck disable=SC2016 # vim's
	echo "preserve" >&"${COPROC[1]}"
	until_true 20 compgen -G "$B/.f.sw?"
	# ex mode cannot ask: it says so and ends without having changed anything
	fails vim -Nu NONE -es -c 'set directory=.' -c "edit $B/f" -c 'normal! Goother' -c wq </dev/null
	echo 'quit!' >&"${COPROC[1]}"
	wait "$COPROC_PID" || true
	echo first | diff - "$B/f"
	rm "$A/f"
}
sed_in_place() {
	echo 0 >"$A/count"
	for i in $(seq 1 "$1"); do
		sed -i "s/.*/$i/" "$A/count"
		[ "$(cat "$B/count")" = "$i" ]
	done
	rm "$B/count"
}
reader() { # until stop: the file is there, and whole, and never an older one
	local last=0 n text seen=0
	while [ ! -e "$T/stop" ]; do
		read -r n text <"$B/doc" || return 1
		[ "$text" = "$(printf '%02000d' "$n")" ] || { echo "torn: $n $text"; return 1; }
		[ "$n" -ge "$last" ] || { echo "went back: $last $n"; return 1; }
		last=$n
		seen=$((seen + 1))
	done
	echo "read $seen times, up to $last"
	[ $seen -gt 0 ]
}
save_by_rename() {
	rm -f "$T/stop"
	printf '0 %02000d\n' 0 >"$A/doc"
	in_background reader
	for i in $(seq "$1"); do
		printf '%d %02000d\n' "$i" "$i" >"$A/doc.new"
		sync "$A/doc.new"
		mv "$A/doc.new" "$A/doc"
	done
	touch "$T/stop"
	wait_all
	rm "$T/stop" "$B/doc"
}

suite() {
	local n=300
	[ "$QUICK" ] && n=60
	check "vim, backupcopy=yes" with_backupcopy yes
	check "vim, backupcopy=no" with_backupcopy no
	check "vim, through a symbolic link" through_a_link
	check "vim, swap file" swap_file_is_seen
	check "sed -i" sed_in_place $((n / 5))
	check "rename under a reader" save_by_rename $n
}
run_suite
