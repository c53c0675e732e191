#!/bin/bash
# Basenames are unique over the tree, main() stands in X_main.c (or comes from CHECK_MAIN), structs
# are not hidden behind typedefs, and nothing is left to be done.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}"
# shellcheck source=tests/lint/common.sh
. "$here/common.sh"

# The test layer is called like the checks that it resembles.
MAY_REPEAT='^check\.[ch]$'

while IFS= read -r name; do
	[[ $name =~ $MAY_REPEAT ]] ||
		problem "basename $name occurs more than once:" \
			"$(c_files "${CODE_FOLDERS[@]}" | grep "/$name\$" | tr '\n' ' ')"
done < <(c_files "${CODE_FOLDERS[@]}" | sed 's|.*/||' | sort | uniq -d)

while IFS= read -r file; do
	case $file in
	*_main.c | *_test.c | tests/lib/*) ;;
	*)
		problems_from < <(code_only "$file" |
			sed -nE 's/^([^:]*:[0-9]+):int main\(.*/\1: main() outside of X_main.c/p')
		;;
	esac
	problems_from < <(code_only "$file" |
		sed -nE 's/^([^:]*:[0-9]+):.*\btypedef (struct|union|enum)\b.*/\1: typedef of a \2/p')
	problems_from < <(grep -HnE '\b(TODO|FIXME)\b' "$file" || true)
done < <(c_files "${CODE_FOLDERS[@]}")
finish
