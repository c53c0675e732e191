# The failpoint build: the same sources with -DPAXFS_FAILPOINTS (base/failpoint.h), in a directory of its own.
FP_LOAD_OBJ := $(BUILD)/tests/system/fp_load_work.o $(BUILD)/tests/system/fp_load_checks.o
$(BUILD)/tests/system/fp_load: $(FP_LOAD_OBJ)

BUILD_FP ?= $(BUILD)-fp

.PHONY: failpoints-build failpoints failover kill-rounds
failpoints-build:
	@$(MAKE) --no-print-directory BUILD=$(BUILD_FP) OPT="$(OPT) -DPAXFS_FAILPOINTS" \
		$(BUILD_FP)/paxfs $(BUILD_FP)/tests/system/fp_load $(BUILD_FP)/tests/system/fp_list

failpoints: all helpers failpoints-build ## Hit every failpoint (a fresh few; ALL=1 all; POINTS="..." these)
	@BUILD=$(BUILD) BUILD_FP=$(BUILD_FP) tests/system/run.sh failpoints

failover: all helpers failpoints-build ## Measure the stall that a lost leader causes (FAILOVER_KILLS=100)
	@BUILD=$(BUILD) BUILD_FP=$(BUILD_FP) tests/system/run.sh failover

kill-rounds: all helpers ## kill -9 of all nodes at once, again and again (KILL_ROUNDS=200)
	@BUILD=$(BUILD) tests/system/run.sh kill_rounds fp_signals
