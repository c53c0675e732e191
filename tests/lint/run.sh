#!/bin/bash
# Runs every lint of this folder; the last line is `N passed, N failed`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
passed=0
failed=0

for lint in "$here"/*.sh; do
	name=$(basename "$lint" .sh)
	case $name in run | common) continue ;; esac
	if out=$("$lint" 2>&1); then
		echo "ok   lint $name"
		passed=$((passed + 1))
	else
		echo "FAIL lint $name"
		printf '%s\n' "$out" | sed 's/^/     /'
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
