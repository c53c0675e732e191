#!/bin/bash
# Links that fail: each direction by itself, bridges, delays, slow and cut connections, under a load whose
# history is judged. As long as a majority can talk in both directions and to clients, it serves.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/system/fault_lib.sh
. "$(dirname "$0")/fault_lib.sh"

test_start() {
	faulty_store 1 3
	load_start 1 1
	load_start 2 2
	until_true 20 load_reached 1 200
}
# served_during WHAT COMMAND...: the load goes on while it lasts; says its longest call. Then all heals.
# shellcheck disable=SC2317 # called by longest_during
serve() {
	links "$@"
	load_goes_on 1 500 60
}
served_during() {
	local what=$1
	shift
	longest_during 1 serve "$@"
	note "$what: longest call $LONGEST ms"
	links "heal * *"
	until_true 30 all_serving
	load_goes_on 2 100 60
	[ "$LONGEST" -lt 5000 ] || die "a call took $LONGEST ms"
}
test_an_isolated_leader() {
	endpoints
	n=$(leader_of 1)
	served_during "node $n isolated from nodes and clients" "drop * $n" "drop $n *"
}
test_a_leader_that_clients_reach_alone() { # it must not answer from its own memory for long
	endpoints
	n=$(leader_of 1)
	links_of=()
	for i in $(seq "$NODES"); do [ "$i" = "$n" ] || links_of+=("drop $n $i" "drop $i $n"); done
	served_during "leader $n cut off from nodes, not from clients" "${links_of[@]}"
}
test_a_leader_that_hears_nothing() {
	endpoints
	n=$(leader_of 1)
	links_of=()
	for i in $(seq "$NODES"); do [ "$i" = "$n" ] || links_of+=("drop $i $n"); done
	served_during "nothing reaches leader $n from nodes" "${links_of[@]}"
}
test_a_leader_that_is_not_heard() {
	endpoints
	n=$(leader_of 1)
	links_of=()
	for i in $(seq "$NODES"); do [ "$i" = "$n" ] || links_of+=("drop $n $i"); done
	served_during "nothing from leader $n reaches nodes" "${links_of[@]}"
}
test_one_dead_direction() {
	endpoints
	n=$(leader_of 1)
	m=$((n % NODES + 1))
	served_during "leader $n is not heard by node $m" "drop $n $m"
	n=$(leader_of 1)
	served_during "node $m is not heard by leader $n" "drop $m $n"
}
test_a_bridge() { # two nodes do not reach each other; one reaches both
	endpoints
	n=$(leader_of 1)
	m=$((n % NODES + 1))
	served_during "leader $n and node $m do not reach each other" "drop $n $m" "drop $m $n"
}
test_a_client_that_does_not_reach_the_leader() {
	endpoints
	n=$(leader_of 1)
	load_goes_on 2 200
	links "drop 21 $n"
	load_goes_on 2 500 60
	links "heal * *"
	load_goes_on 1 200 60
}
test_delays_and_cuts() {
	endpoints
	served_during "each piece held for 10 to 30 ms" "delay * * 10 20"
	served_during "all connections reset" "cut * *"
	n=$(leader_of 1)
	served_during "100 kB/s to leader $n" "slow * $n 100000"
}
test_histories() {
	endpoints
	load_stop 1
	load_stop 2
	judge "partitions:"
	same_and_clean
}
run_tests
