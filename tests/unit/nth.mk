# Tests that make the n-th allocation or file call fail (tests/lib/fault_every.h, tests/unit/nth_files.h).

# Between the fixture and the core: each step may be made to fail on its way in.
$(BUILD)/tests/unit/consensus_nth_test: LDFLAGS += -Wl,--wrap=paxos_step
