#!/bin/bash
# Every folder with files in it has a README.md; so has the tree.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}"
# shellcheck source=tests/lint/common.sh
. "$here/common.sh"

for folder in . "${CODE_FOLDERS[@]}"; do
	[ -n "$(find "$folder" -maxdepth 2 -type f 2>/dev/null | head -1)" ] || continue
	[ -s "$folder/README.md" ] || problem "$folder/README.md is missing"
done
finish
