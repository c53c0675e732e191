#!/bin/bash
# Includes obey the layering (docs/ARCHITECTURE.md): a folder sees only what lies below it, and each
# third-party library is known to one place.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}"
# shellcheck source=tests/lint/common.sh
. "$here/common.sh"

# Which "folder/file.h" a file of the folder may include: an extended regular expression.
declare -A may=(
	[base]='^base/'
	[net]='^(base|net)/'
	[wal]='^(base|wal)/'
	[consensus]='^(base|consensus)/'
	[txn]='^(base|txn)/'
	[kv]='^(base|net|wal|consensus|txn|kv)/'
	[fs]='^(base/|fs/|kv/(kv|layout)\.h$|txn/txn\.h$)'
	[mount]='^(base/|mount/|fs/fs\.h$|net/loop\.h$|kv/kv\.h$)'
	[tools]='^(base|net|wal|consensus|txn|kv|fs|mount|tools)/'
	[bench]='^(base|net|wal|consensus|txn|kv|fs|mount|bench)/'
	[tests]='/'
)

# "header-pattern file-pattern": <header> only in files that match.
only_in=(
	'^uv(\.h|/) ^(net|tests)/'
	'^openssl/ ^(net|tests)/'
	'^rocksdb/ ^(kv/engine_rocks|tests/)'
	'^fuse ^(mount|tests)/'
	'^msgpack ^(base/codec\.c|tests/)'
	'^CUnit/ ^tests/'
	'^jansson\.h ^(tools|tests|bench)/'
	'^(pthread|threads|stdatomic|poll|signal|sys/(socket|epoll|mman|file|uio))\.?h? ^(base|net|wal|kv|mount|tools|bench|tests)/'
)

# FILE:LINE:<header> or FILE:LINE:"header"
includes_of() {
	grep -HnE '^[[:space:]]*#[[:space:]]*include' "$1" |
		sed -E 's/^([^:]*:[0-9]*):[^<"]*([<"][^>"]*[>"]).*/\1:\2/' || true
}

check_own() {
	local where=$1 file=$2 header=$3 folder=${2%%/*}

	[ -f "$header" ] || problem "$where: \"$header\" is not a file of this tree (folder/file.h)"
	[[ $header =~ ${may[$folder]} ]] || problem "$where: $folder/ may not include \"$header\""
}

check_system() {
	local where=$1 file=$2 header=$3 rule

	for rule in "${only_in[@]}"; do
		if [[ $header =~ ${rule% *} && ! $file =~ ${rule#* } ]]; then
			problem "$where: <$header> does not belong here"
		fi
	done
}

while IFS= read -r file; do
	while IFS= read -r line; do
		where=${line%:*}
		header=${line##*:}
		case $header in
		\"*) check_own "$where" "$file" "${header//\"/}" ;;
		\<*) check_system "$where" "$file" "${header//[<>]/}" ;;
		esac
	done < <(includes_of "$file")
done < <(c_files "${CODE_FOLDERS[@]}")
finish
