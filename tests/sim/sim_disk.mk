# The simulated disk by itself, for its unit test: the simulator links all objects of the folder.
DEPS_sim := kv txn consensus wal net base
SIM_DISK_SRC := $(wildcard tests/sim/sim_disk*.c tests/sim/sim_engine*.c tests/sim/sim_datadir.c)
$(BUILD)/libsim.a: $(SIM_DISK_SRC:%.c=$(BUILD)/%.o)
	@echo "  AR    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/tests/unit/sim_disk_test $(BUILD)/tests/unit/sim_engine_test: LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=%,mkdir fopen getpid)
