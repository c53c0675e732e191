#!/bin/bash
# Everything that may happen to processes, links and disks, at once and at random, under a load whose
# history is judged: rounds of faults, then all is healed, all must be served, replicas be the same, fsck
# be clean.
#
# NEMESIS_ROUNDS=n (default 3) rounds of NEMESIS_SECONDS (default 3); NEMESIS_SEED=n repeats the choices.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/system/fault_lib.sh
. "$(dirname "$0")/fault_lib.sh"

ROUNDS=${NEMESIS_ROUNDS:-3}
ROUND_SECONDS=${NEMESIS_SECONDS:-3}
SEED=${NEMESIS_SEED:-$((SRANDOM % 1000000))}

# The choices come from a sequence of their own, which the subshells of tests go on with.
dice() { # dice N: 0 .. N-1, in DICE
	local s
	s=$(cat "$T/dice")
	s=$(((s * 1103515245 + 12345) % 2147483648))
	echo $s >"$T/dice"
	DICE=$(((s >> 8) % $1))
}
any_node() {
	dice "$NODES"
	NODE=$((DICE + 1))
}
others() { for i in $(seq "$NODES"); do [ "$i" = "$1" ] || echo "$i"; done; }

fault_stop() {
	any_node
	kill -STOP "$(pid_of "n$NODE")"
	echo "stop $NODE"
}
fault_kill() {
	any_node
	node_kill "$NODE"
	echo "kill $NODE"
	dice 2
	[ "$DICE" = 0 ] || { node_start "$NODE"; echo "and start $NODE"; }
}
fault_kill_all() {
	for i in $(seq "$NODES"); do node_kill "$i"; done
	for i in $(seq "$NODES"); do node_start "$i"; done
	echo "kill all, start all"
}
fault_isolate() {
	any_node
	links "drop * $NODE" "drop $NODE *"
	echo "isolate $NODE"
}
fault_one_way() {
	any_node
	dice 2
	if [ "$DICE" = 0 ]; then links "drop * $NODE"; else links "drop $NODE *"; fi
	echo "one way $NODE $DICE"
}
fault_bridge() { # one node reaches both others, which do not reach each other
	local pair
	any_node
	mapfile -t pair < <(others "$NODE")
	links "drop ${pair[0]} ${pair[1]}" "drop ${pair[1]} ${pair[0]}"
	echo "bridge over $NODE"
}
fault_client() { # a load does not reach one node, or does not hear it
	any_node
	dice 2
	if [ "$DICE" = 0 ]; then links "drop 21 $NODE"; else links "drop $NODE 21"; fi
	echo "client and $NODE, $DICE"
}
fault_delay() {
	dice 40
	links "delay * * $DICE $((DICE / 2 + 1))"
	echo "delay $DICE"
}
fault_slow_link() {
	any_node
	links "slow * $NODE 200000"
	echo "slow link to $NODE"
}
fault_cut() {
	links "cut * *"
	echo "cut all"
}
fault_slow_disk() {
	any_node
	dice 300
	bad_disk "$NODE" "delay=$DICE sync */n$NODE/log/* p=30,$DICE"
	echo "slow disk of $NODE: $DICE ms"
}
fault_failing_disk() {
	any_node
	dice 50
	bad_disk "$NODE" "fail=EIO write,sync */n$NODE/* k=$((DICE + 1))"
	echo "disk of $NODE fails once, at $((DICE + 1))"
}
FAULTS=(stop kill kill_all isolate one_way bridge client delay slow_link cut slow_disk failing_disk)

one_round() {
	local n
	dice 3
	for n in $(seq $((DICE + 1))); do
		dice ${#FAULTS[@]}
		"fault_${FAULTS[$DICE]}"
	done
}
loads_at_least() {
	local n
	for n in 1 2; do [ "$(load_count $n)" -ge "$1" ] || return 1; done
}

test_start() {
	echo "$SEED" >"$T/dice"
	note "NEMESIS_SEED=$SEED"
	faulty_store "$SEED" 3
	faulty_mount
}
test_rounds() {
	local i n what
	endpoints
	mkdir "$MNT/w"
	mkfifo "$T/hold"
	"$PROG/ackwriter" write "$MNT/w" "$T/acks" 100000 <"$T/hold" >"$T/w.out" 2>&1 &
	remember writer $!
	exec 6>"$T/hold"
	load_start 1 "$SEED"
	load_start 2 $((SEED + 1))
	until_true 20 loads_at_least 200
	for i in $(seq "$ROUNDS"); do
		what=$(one_round | tr '\n' ';')
		pass_seconds "$ROUND_SECONDS"
		heal_all
		n=$(($(load_count 1) > $(load_count 2) ? $(load_count 1) : $(load_count 2)))
		until_true 30 loads_at_least $((n + 200))
		note "round $i: $what"
	done
	exec 6>&-
	until_true 60 gone "$(pid_of writer)"
	load_stop 1
	load_stop 2
	note "$(cat "$T/w.out")"
	"$PROG/ackwriter" check "$MNT/w" "$T/acks"
	judge "$ROUNDS rounds:"
}
test_replicas_are_the_same_and_fsck_is_clean() {
	endpoints
	heal_all
	same_and_clean
}
run_tests
