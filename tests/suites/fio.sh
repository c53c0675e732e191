#!/bin/bash
# fio writes patterns with checksums through one mount; the other mount verifies them.
# shellcheck source=tests/suites/suite_lib.sh
. "$(dirname "$0")/suite_lib.sh"

run_fio() { # from a directory of its own: it leaves state files
	(cd "$DISK" && fio --output-format=terse --minimal --fallocate=none --verify=crc32c --verify_fatal=1 \
		--verify_dump=0 --randrepeat=1 --allow_file_create=1 --name=job "$@") >"$DISK/fio.out" 2>&1 || {
		tail -n 20 "$DISK/fio.out"
		return 1
	}
}
cross() { # cross FILE ARGUMENTS...: written here, verified there, and here
	local f=$1
	shift
	run_fio --filename="$A/$f" --do_verify=0 "$@"
	run_fio --filename="$B/$f" --verify_only "$@"
	run_fio --filename="$A/$f" --verify_only "$@"
	rm "$B/$f"
}
mixed() { # mixed FILE ARGUMENTS...: reads between writes, verified as it goes and at the end
	local f=$1
	shift
	run_fio --filename="$A/$f" --verify_backlog=64 "$@"
	rm "$B/$f"
}
both() { # halves of one file, written by both at the same time, verified crosswise
	local half=$(($1 / 2))
	truncate -s "$1M" "$A/shared"
	in_background run_half "$A" 0 $half --do_verify=0
	in_background run_half "$B" $half $half --do_verify=0
	wait_all
	run_half "$B" 0 $half --verify_only
	run_half "$A" $half $half --verify_only
	rm "$A/shared"
}
run_half() { # run_half DIR OFFSET SIZE ARGUMENT
	mkdir -p "$DISK/half.$2"
	(DISK=$DISK/half.$2 && run_fio --filename="$1/shared" --offset="$2M" --size="$3M" --rw=randwrite --bs=16k \
		--ioengine=psync "$4")
}

suite() {
	local odd=20000000 big=256M mid=64M small=32M
	[ "$QUICK" ] && odd=2000000 big=16M mid=4M small=2M
	check "sequential, $big, 1 MiB" cross seq --rw=write --bs=1M --size=$big --ioengine=psync
	check "random, $mid, 4 KiB, fsync each 64" cross rnd4 --rw=randwrite --bs=4k --size=$mid \
		--ioengine=psync --fsync=64
	check "random, $big, 64 KiB" cross rnd64 --rw=randwrite --bs=64k --size=$big --ioengine=psync
	check "random, $mid, 32 KiB, direct, asynchronous" cross direct --rw=randwrite --bs=32k --size=$mid \
		--ioengine=libaio --iodepth=8 --direct=1
	check "random, $small, 4 KiB, direct" cross direct4 --rw=randwrite --bs=4k --size=$small \
		--ioengine=psync --direct=1
	check "random, $mid, 4 KiB, shared mapping" cross map --rw=randwrite --bs=4k --size=$mid \
		--ioengine=mmap --end_fsync=1
	check "blocks of 10,000 bytes" cross odd --rw=randwrite --bs=10000 --size=$odd \
		--ioengine=psync
	check "vectors, 6 MiB" cross vec --rw=write --bs=48k --size=6M --ioengine=pvsync
	check "reads and writes, $mid, buffered" mixed mixed --rw=randrw --bs=8k --size=$mid --ioengine=psync
	check "reads and writes, $small, direct" mixed mixedd --rw=randrw --bs=16k --size=$small \
		--ioengine=libaio --iodepth=4 --direct=1
	check "halves of one file, ${mid}" both "${mid%M}"
}
run_suite
