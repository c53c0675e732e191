#!/bin/bash
# Line coverage per folder, from the .gcda files of a build directory made with --coverage.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
root=$PWD

find "$build" -name '*.gcda' -not -path '*/tests/*' -exec gcov -n -r -s "$root" {} \; 2>/dev/null |
	awk '
	/^File / { file = $0; gsub(/^File .|.$/, "", file) }
	/^Lines executed:/ && file ~ /\.c$/ {
		split($0, part, /[:% ]+/)
		folder = file
		sub(/\/.*/, "", folder)
		total[folder] += part[5]
		hit[folder] += part[3] * part[5] / 100
		file = ""
	}
	END {
		for (f in total) {
			printf "%-12s %6d lines  %5.1f %%\n", f, total[f], 100 * hit[f] / total[f]
			all += total[f]
			all_hit += hit[f]
		}
		if (all > 0)
			printf "%-12s %6d lines  %5.1f %%\n", "~ all", all, 100 * all_hit / all
	}' | sort
