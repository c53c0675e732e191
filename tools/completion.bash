# shellcheck shell=bash
# Bash completion for paxfs. Commands and options are read from its own --help, so they are those of
# the binary on the command line.

_paxfs_run() { # _paxfs_run WORD ARGUMENT...: the program typed as WORD, quietly
	local program=$1

	shift
	case $program in
	\~/*) program=$HOME/${program#\~/} ;;
	esac
	"$program" "$@" </dev/null 2>/dev/null
}

_paxfs_commands() { # from "  name     what it does"
	_paxfs_run "$1" --help | sed -nE 's/^  ([a-z]+) +[^ ].*/\1/p'
}

_paxfs_options() { # from "  -x, --option VALUE  what it does"
	_paxfs_run "$1" "$2" --help |
		sed -nE 's/^ +((-[A-Za-z])(, (--[a-z-]+))?|(--[a-z-]+)) .*/\2 \4 \5/p'
}

_paxfs_words() { # _paxfs_words "WORDS": those that begin with $cur
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_paxfs_files() { # files or, with -d, directories
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen "${1:--f}" -- "$cur")
}

# The last one of a comma-separated list of mount options.
_paxfs_mount_options() {
	local before=

	[[ $cur == *,* ]] && before=${cur%,*},
	compopt -o nospace 2>/dev/null
	mapfile -t COMPREPLY < <(compgen -P "$before" -W "ro rw noatime relatime timeout= allow_other
		default_permissions suid nosuid dev nodev exec noexec fsname= max_background= locallocks
		session_timeout= debug" \
		-- "${cur##*,}")
}

# The value of option $prev: false if $prev takes none.
_paxfs_value() {
	case $command:$prev in
	mount:-o | mount:--options | node:--mount-options) _paxfs_mount_options ;;
	*:-o | *:--output) _paxfs_words 'text json' ;;
	*:--data | *:--mount | local:-d | local:-m | node:-d) _paxfs_files -d ;;
	*:--file | *:--log | get:-f | put:-f | node:-L | mount:-L) _paxfs_files ;;
	init:-r | init:--replicas) _paxfs_words '1 3 5' ;;
	clients:-E | clients:--evict | *:-e | *:--endpoints | mount:-t | \
		*:--timeout | *:--join | *:--listen | *:--advertise | \
		*:--expect | cas:-x | *:--id | *:--nodes | *:--groups | *:--memory | *:--bootstrap | \
		*:--ready-fd | *:--clients | *:--size | *:--reads | *:--duration | *:--keys | \
		*:--transaction | init:-g | local:-[ng] | node:-[iljam] | bench:-[csrdkT] | \
		init:-t | status:-t | get:-t | put:-t | del:-t | ls:-t | mget:-t | mput:-t | cas:-t | \
		swap:-t | where:-t | watch:-[tnk] | *:--count | *:--stored-key | locks:-t | clients:-t | fsck:-t | \
		bench:-t) COMPREPLY=() ;;
	*) return 1 ;;
	esac
}

_paxfs() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]:-}

	COMPREPLY=()
	case $prev:$cur in # --option=VALUE is three words to readline
	--*:=) cur= ;;
	=:*) prev=${COMP_WORDS[COMP_CWORD - 2]} ;;
	esac
	if [ "$COMP_CWORD" -eq 1 ]; then
		case $cur in
		-*) _paxfs_words '--help --version' ;;
		*) _paxfs_words "$(_paxfs_commands "$program")" ;;
		esac
		return
	fi
	_paxfs_value && return
	case $command:$cur in
	*:-*) _paxfs_words "$(_paxfs_options "$program" "$command")" ;;
	local:*) _paxfs_words 'up down status' ;;
	mount:*) _paxfs_files -d ;;
	where:* | watch:*) _paxfs_files ;;
	mput:*) # KEY=@FILE is several words to readline, but @ stays with the last one
		[[ $prev == *@ ]] && mapfile -t COMPREPLY < <(compgen -P @ -f -- "$cur")
		;;
	esac
}

complete -F _paxfs paxfs
