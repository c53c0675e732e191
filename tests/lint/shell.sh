#!/bin/bash
# Every shell script passes shellcheck: *.sh, *.bash, and files that begin with a shell's #! line.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}"

scripts=()
while IFS= read -r file; do
	case $file in
	*.sh | *.bash) scripts+=("$file") ;;
	*) if head -c 64 "$file" | grep -qaE '^#!.*\b(ba|da)?sh\b'; then scripts+=("$file"); fi ;;
	esac
done < <(find . \( -path ./.git -o -path './build*' -o -path ./run -o -name '*.[chod]' \) -prune \
	-o -type f -size -200k -print | sort)

[ ${#scripts[@]} -gt 0 ] || exit 0
exec shellcheck -x "${scripts[@]}"
