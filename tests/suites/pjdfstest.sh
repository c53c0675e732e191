#!/bin/bash
# pjdfstest, which is not part of this tree: PJDFSTEST=dir of one that is built (README.md says how). In mode two its
# calls go through one mount and the other by turns.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"

by_turns() { # a copy of the suite whose program moves to the other mount every other call
	cp -a "$PJDFSTEST" "$T/pjd"
	mv "$T/pjd/pjdfstest" "$T/pjd/pjdfstest.real"
	cat >"$T/pjd/pjdfstest" <<EOC
#!/bin/sh
n=0
read -r n <$T/turns
echo \$((n + 1)) >$T/turns
case \$PWD in
$A*) [ \$((n % 2)) = 1 ] && cd "$B\${PWD#"$A"}" ;;
esac
exec $T/pjd/pjdfstest.real "\$@"
EOC
	chmod 755 "$T/pjd/pjdfstest"
	echo 0 >"$T/turns"
}
tests_of() { (cd "$1/tests" && find . -name '*.t' | sort | sed "s|^\./||"); }

one_file() { # one_file SUITE FILE: TAP, judged: every `not ok` that is not marked as TODO fails
	local bad planned done_
	mkdir "$A/w"
	(cd "$A/w" && timeout -k 10 600 sh "$1/tests/$2") >"$T/tap" 2>"$T/tap.err" || true
	rm -rf "$A/w"
	planned=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$T/tap" | tail -1)
	done_=$(grep -cE '^(not )?ok' "$T/tap")
	bad=$(grep '^not ok' "$T/tap" | grep -vc '# TODO')
	count_done=$((count_done + done_ - bad))
	count_bad=$((count_bad + bad))
	if [ "${planned:-x}" != "$done_" ]; then
		echo "    $2: planned ${planned:-nothing}, did $done_"
		count_bad=$((count_bad + 1))
	fi
	grep '^not ok' "$T/tap" | grep -v '# TODO' | head -5 | sed "s|^|    $2: |"
}

suite() {
	local f dir=${PJDFSTEST:-} count_done=0 count_bad=0
	if [ -z "$dir" ]; then
		skip "PJDFSTEST=dir is not set"
		return
	fi
	[ -x "$dir/pjdfstest" ] || {
		check "$dir/pjdfstest is built" false
		return
	}
	if [ "$MODE" = two ]; then
		by_turns
		dir=$T/pjd
	fi
	for f in ${PJDFSTESTS:-$(tests_of "$dir")}; do
		one_file "$dir" "$f"
	done
	mode_passed=$count_done
	mode_failed=$count_bad
}
run_suite
