#!/bin/bash
# The lints see what they are for: each is run on a tree with one flaw, and on one without.
# shellcheck disable=SC2016 # the flaws are quoted on purpose
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failures=0

# A small tree without flaws.
fresh_tree() {
	rm -rf "${tmp:?}/tree"
	mkdir -p "$tmp/tree"/{base,consensus,fs,kv,tools}
	for folder in . base consensus fs kv tools; do
		echo "# x" >"$tmp/tree/$folder/README.md"
	done
	printf '#include "base/a.h"\nint a_f(void)\n{\n\treturn 0; /* time(NULL) */\n}\n' \
		>"$tmp/tree/base/a.c"
	printf 'int a_f(void);\n' >"$tmp/tree/base/a.h"
	printf 'int main(void)\n{\n\treturn 0;\n}\n' >"$tmp/tree/tools/x_main.c"
}

# sees LINT TEXT FILE CONTENT: the lint fails on the flaw and names it.
sees() {
	local lint=$1 text=$2 file=$3 content=$4 out

	fresh_tree
	mkdir -p "$(dirname "$tmp/tree/$file")"
	printf '%b' "$content" >"$tmp/tree/$file"
	if out=$("$here/$lint" "$tmp/tree" 2>&1); then
		echo "$lint: did not see: $text"
		failures=$((failures + 1))
	elif ! grep -qF -- "$text" <<<"$out"; then
		printf '%s: expected "%s", got: %s\n' "$lint" "$text" "$out"
		failures=$((failures + 1))
	fi
}

accepts() {
	local lint=$1 file=$2 content=$3

	fresh_tree
	printf '%b' "$content" >"$tmp/tree/$file"
	if ! "$here/$lint" "$tmp/tree"; then
		echo "$lint: refused a good tree"
		failures=$((failures + 1))
	fi
}

many_lines=$(printf '%0.s\\tx = 1;\\n' $(seq 71))

sees layering.sh 'base/ may not include "kv/k.h"' base/b.c '#include "kv/k.h"\n'
sees layering.sh 'consensus/ may not include "kv/k.h"' consensus/c.c '#include "kv/k.h"\n'
sees layering.sh 'fs/ may not include "kv/k.h"' fs/f.c '#include "kv/k.h"\n'
sees layering.sh 'is not a file of this tree' base/b.c '#include "a.h"\n'
sees layering.sh '<uv.h> does not belong here' kv/k.c '#include <uv.h>\n'
sees layering.sh '<rocksdb/c.h> does not belong here' kv/k.c '#include <rocksdb/c.h>\n'
sees layering.sh '<fuse_lowlevel.h> does not belong here' fs/f.c '#include <fuse_lowlevel.h>\n'
sees layering.sh '<pthread.h> does not belong here' consensus/c.c '#include <pthread.h>\n'
accepts layering.sh kv/engine_rocks.c '#include <rocksdb/c.h>\n#include "base/a.h"\n'
sees sizes.sh 'long_one: 71 lines, at most 70' base/b.c \
	"static int long_one(int a,\n\t\tint b)\n{\n$many_lines}\n"
accepts sizes.sh base/b.c "static int long_one(int a)\n{\n${many_lines#*n}}\n"
sees sizes.sh 'lines, at most 800' base/b.c "$(printf '%0.sx\\n' $(seq 801))"
sees sizes.sh '106 columns' base/b.c "$(printf '%0.sx' $(seq 106))\n"
sees sizes.sh '112 columns' base/b.c "$(printf '%0.s\\t' $(seq 14))\n"
sees names.sh 'basename a.c occurs more than once' kv/a.c '\n'
sees names.sh 'main() outside' tools/b.c 'int main(void)\n'
sees names.sh 'typedef of a struct' base/b.c 'typedef struct x x_t;\n'
sees names.sh 'TODO' base/b.c '/* TODO: later */\n'
sees purity.sh 'time() in deterministic code' consensus/c.c '\tx = time(NULL);\n'
sees purity.sh 'rand() in deterministic code' fs/f.c '\treturn rand();\n'
sees purity.sh 'socket() in deterministic code' kv/client.c '\tfd = socket(1, 2, 3);\n'
sees purity.sh 'socket() in deterministic code' kv/node_wire.c '\tfd = socket(1, 2, 3);\n'
sees purity.sh 'errno, where' consensus/c.c '#include <errno.h>\n'
sees purity.sh 'errno, where' base/b.c '\treturn errno;\n'
accepts purity.sh kv/node.c '\tfd = socket(1, 2, 3);\n\treturn errno;\n'
accepts purity.sh consensus/c.c '\te->time(e);\n\tmy_time(1);\n\tf("time(");\n\t/* errno */\n'
sees readmes.sh 'net/README.md is missing' net/n.c '\n'
accepts readmes.sh base/b.c '\n'
sees shell.sh 'SC2086' tools/s.sh '#!/bin/bash\necho $1\n'
accepts shell.sh tools/s.sh '#!/bin/bash\necho "$1"\n'
[ "$failures" -eq 0 ]
