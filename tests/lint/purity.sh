#!/bin/bash
# Deterministic code asks the world for nothing: no clock, randomness, file, socket, thread or
# output in consensus/, txn/, fs/ and the pure files of kv/. errno is known only where system calls
# are made.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}"
# shellcheck source=tests/lint/common.sh
. "$here/common.sh"

calls='time|clock|clock_gettime|gettimeofday|localtime|gmtime|nanosleep|sleep|usleep'
calls+='|rand|random|srand|srandom|rand_r|drand48|getrandom|getentropy|arc4random[a-z_]*'
calls+='|open|openat|creat|fopen|close|read|pread|readv|write|pwrite|writev|fsync|fdatasync'
calls+='|unlink|mkdir|mmap|ioctl|stat|fstat'
calls+='|socket|bind|listen|accept|connect|send|sendto|sendmsg|recv|recvfrom|recvmsg|poll|select'
calls+='|getaddrinfo|fork|exec(l|v|le|ve|lp|vp|vpe)|system|popen|kill|signal|sigaction|getpid|getenv'
calls+='|printf|fprintf|vfprintf|puts|fputs|putchar|perror|syslog'
calls+='|log_(debug|info|warn|error)|logger_write[a-z_]*'
calls+='|pthread_[a-z_]*|uv_[a-z_]*|exit|_exit'

is_pure() {
	case $1 in
	consensus/* | txn/* | fs/*) return 0 ;;
	kv/*) [[ ! $1 =~ $KV_DRIVERS || $1 =~ $KV_PURE_NODES ]] ;;
	*) return 1 ;;
	esac
}

# Not a member (x->read(), x.read()), and not the end of a longer name.
impure_calls() {
	code_only "$1" | awk -F: -v calls="$calls" '
	{
		text = substr($0, length($1) + length($2) + 3)
		while (match(text, "(^|[^A-Za-z0-9_.>])(" calls ")[ ]?\\(")) {
			call = substr(text, RSTART, RLENGTH)
			gsub(/[^A-Za-z0-9_]/, "", call)
			print $1 ":" $2 ": " call "() in deterministic code"
			text = substr(text, RSTART + RLENGTH)
		}
	}'
}

errno_uses() {
	code_only "$1" | sed -nE 's/^([^:]*:[0-9]+):.*(\berrno\b|<errno\.h>).*/\1: errno, where no system call is made/p'
}

while IFS= read -r file; do
	if is_pure "$file"; then
		problems_from < <(impure_calls "$file")
		problems_from < <(errno_uses "$file")
	fi
done < <(c_files "${LIBRARY_FOLDERS[@]}")

# In base/, system calls are made by the logger; err.c knows the numbers; fibers map stacks.
while IFS= read -r file; do
	case $file in
	base/err.c | base/logger.c) ;;
	*) problems_from < <(errno_uses "$file") ;;
	esac
done < <(c_files base)
finish
