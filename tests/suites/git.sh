#!/bin/bash
# One bare repository, two who push to it, each from a clone on a mount of its own, and collect garbage meanwhile.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git() { command git -c init.defaultBranch=main -c safe.directory='*' -c gc.auto=0 "$@"; }

begin() {
	git init -q --bare "$A/repo.git"
	git clone -q "$A/repo.git" "$A/ann" 2>&1
	cp -r "$1" "$A/ann/src"
	git -C "$A/ann" add .
	git -C "$A/ann" commit -qm first
	git -C "$A/ann" push -q origin main
	git clone -q "$B/repo.git" "$B/bob"
	diff -r --exclude=.git "$A/ann" "$B/bob"
}
pusher() { # pusher CLONE NAME ROUNDS
	local i tries
	for i in $(seq "$3"); do
		echo "$i" >"$1/$2.$i"
		git -C "$1" add "$2.$i"
		git -C "$1" commit -qm "$2 $i"
		tries=0
		until git -C "$1" push -q origin main; do
			tries=$((tries + 1))
			[ $tries -lt 50 ]
			git -C "$1" pull -q --rebase origin main
		done
	done
}
push_both() {
	in_background pusher "$A/ann" ann "$1"
	in_background pusher "$B/bob" bob "$1"
	wait_all
}
all_there() { # all_there ROUNDS
	git -C "$A/ann" pull -q --rebase origin main
	git -C "$B/bob" pull -q --rebase origin main
	[ "$(git -C "$A/repo.git" rev-list --count main)" = $((2 * $1 + 1)) ]
	[ "$(git -C "$B/repo.git" rev-parse main)" = "$(git -C "$A/ann" rev-parse HEAD)" ]
	diff -r --exclude=.git "$A/ann" "$B/bob"
	[ "$(find "$B/ann" -maxdepth 1 -name '*.[0-9]*' | wc -l)" = $((2 * $1)) ]
}
clean_status() { # through the mount that did not write it
	[ -z "$(git -C "$B/ann" status --porcelain)" ]
	[ -z "$(git -C "$A/bob" status --porcelain)" ]
}
sound() {
	local d
	for d in "$A/repo.git" "$B/repo.git" "$B/ann" "$A/bob"; do
		git -C "$d" fsck --full --strict --no-dangling
	done
}
collect() { # the other pushes meanwhile; --prune=now would take what is being pushed, as git-gc(1) says
	in_background git -C "$B/repo.git" gc -q
	in_background pusher "$A/ann" late 3
	wait_all
	git -C "$B/repo.git" repack -qad
	git clone -q "$A/repo.git" "$A/fresh"
	git -C "$B/ann" fsck --full
	diff -r --exclude=.git "$B/ann" "$A/fresh"
	git clone -q "$B/repo.git" "$DISK/fresh"
	diff -r --exclude=.git "$A/fresh" "$DISK/fresh"
}
worktree() { # one clone, work trees on both mounts at the same time
	git -C "$A/ann" worktree add -q "$A/w1" -b w1
	git -C "$B/ann" worktree add -q "$B/w2" -b w2
	in_background git -C "$A/w1" commit -q --allow-empty -m w1
	in_background git -C "$B/w2" commit -q --allow-empty -m w2
	wait_all
	[ "$(git -C "$A/ann" for-each-ref --format='%(refname:short)' refs/heads | tr '\n' ' ')" = "main w1 w2 " ]
	git -C "$B/w1" log -1 --format=%s | grep -qx w1
	git -C "$A/w2" log -1 --format=%s | grep -qx w2
}

suite() {
	local n=25 tree=/usr/include/linux
	[ "$QUICK" ] && n=3 && tree=/usr/include/linux/netfilter
	check "init, clone, commit, push" begin "$tree"
	check "both push $n times" push_both $n
	check "all commits are there" all_there $n
	check "clean work trees" clean_status
	check "fsck" sound
	check "gc during a push" collect
	check "work trees on both" worktree
}
run_suite
