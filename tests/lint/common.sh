# Shared by the lints: sourced, after `cd` to the root of the tree to look at.
# shellcheck shell=bash disable=SC2034

# Folders of the library, lowest layer first, and of everything with C code.
LIBRARY_FOLDERS=(base net wal consensus txn kv fs mount)
CODE_FOLDERS=("${LIBRARY_FOLDERS[@]}" tools bench tests)

# Files of kv/ that drive the outside world; the rest of kv/ is deterministic (kv/README.md).
KV_DRIVERS='^kv/(engine|datadir|node|snapshot_source|snapshot_fetch)'
KV_PURE_NODES='^kv/node_wire'

problems=0

# problem FILE:LINE: TEXT...
problem() {
	printf '%s\n' "$*"
	problems=$((problems + 1))
}

# The C files below the given folders, those that exist.
c_files() {
	local folder

	for folder in "$@"; do
		[ -d "$folder" ] && find "$folder" -name '*.[ch]' -type f
	done | sort
}

# Reads lines of problems.
problems_from() {
	local line

	while IFS= read -r line; do
		problem "$line"
	done
}

# A C file with comments and string literals blanked and its lines kept, each as FILE:LINE:TEXT.
code_only() {
	awk -v file="$1" '
	{
		out = ""
		n = length($0)
		for (i = 1; i <= n; i++) {
			two = substr($0, i, 2)
			c = substr($0, i, 1)
			if (in_comment) {
				if (two == "*/") { in_comment = 0; i++ }
			} else if (two == "/*") {
				in_comment = 1; i++
			} else if (two == "//") {
				break
			} else if (in_string) {
				if (c == "\\") i++
				else if (c == quote) { in_string = 0; out = out c }
			} else if (c == "\"" || c == "\047") {
				in_string = 1; quote = c; out = out c
			} else {
				out = out c
			}
		}
		in_string = 0
		print file ":" NR ":" out
	}' "$1"
}

finish() {
	[ "$problems" -eq 0 ]
}
