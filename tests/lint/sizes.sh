#!/bin/bash
# No file over 800 lines, no function over 70, no line over 105 columns (tabs of 8; the aim is 100).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}"
# shellcheck source=tests/lint/common.sh
. "$here/common.sh"

FILE_LINES_MAX=800
FUNCTION_LINES_MAX=70
COLUMNS_MAX=105

# Kernel braces: a function's braces stand alone in column 0; its name is the word before the first
# parenthesis of the line where the declaration began.
long_functions() {
	awk -v max="$FUNCTION_LINES_MAX" '
	/^[A-Za-z_].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
	/^\{$/ { start = NR }
	/^\}/ {
		if (start > 0 && NR - start - 1 > max)
			printf "%s:%d: %s: %d lines, at most %d\n", FILENAME, start, name,
			       NR - start - 1, max
		start = 0
	}' "$1"
}

long_lines() {
	expand -t 8 "$1" | LC_ALL=C.UTF-8 awk -v file="$1" -v max="$COLUMNS_MAX" '
	length($0) > max { printf "%s:%d: %d columns, at most %d\n", file, NR, length($0), max }'
}

while IFS= read -r file; do
	lines=$(wc -l <"$file")
	if [ "$lines" -gt "$FILE_LINES_MAX" ]; then
		problem "$file:1: $lines lines, at most $FILE_LINES_MAX"
	fi
	problems_from < <(long_functions "$file")
	problems_from < <(long_lines "$file")
done < <(c_files "${CODE_FOLDERS[@]}")
finish
