# The simulator: the product's own objects, but for what it replaces; see README.md.
SIM_SRC := $(wildcard tests/sim/*.c)
SIM_OBJ := $(SIM_SRC:%.c=$(BUILD)/%.o)
SIM_FOLDERS := fs kv txn consensus wal net base
SIM_LIBS := $(foreach f,$(SIM_FOLDERS),$(BUILD)/lib$(f).a) $(BUILD)/libcheck.a
SIM_WRAP := pthread_create pthread_join pthread_setname_np pthread_mutex_lock pthread_cond_wait \
	pthread_cond_signal malloc_trim clock_gettime mkdir paxos_start paxos_free paxos_step tsm_end_entry \
	tsm_request_encode txn__reply txn__client_close getpid fopen
SIM_COMMIT := $(shell git rev-parse --short HEAD 2>/dev/null)

$(BUILD)/tests/sim/sim_main.o: CPPFLAGS += -DSIM_COMMIT='"$(SIM_COMMIT)"'

# What is replaced comes first: the linker takes no second definition out of an archive. The engine
# that is left out is RocksDB's.
$(BUILD)/paxfs-sim: $(SIM_OBJ) $(SIM_LIBS)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) $(foreach w,$(SIM_WRAP),-Wl,--wrap=$(w)) -o $@ $(SIM_OBJ) \
		-Wl,--start-group $(SIM_LIBS) -Wl,--end-group -lpthread $(LIBS_base) -lm

.PHONY: sim sim-long sim-test
SIM_MINUTES ?= 4
SEED ?=
SEEDS ?= 100
HOURS ?= 1
sim: $(BUILD)/paxfs-sim ## Simulate: SEED=n replays one with a trace, SEEDS=n runs so many
	@$(BUILD)/paxfs-sim $(if $(SEED),--seed $(SEED) --trace,--jobs $(JOBS) --seeds $(SEEDS))

sim-long: $(BUILD)/paxfs-sim ## Simulate fresh seeds for HOURS=h
	@$(BUILD)/paxfs-sim --quiet --jobs $(JOBS) --hours $(HOURS)

sim-test: $(BUILD)/paxfs-sim ## The simulator's part of `make test`: known seeds, fixed ones, fresh ones
	@BUILD=$(BUILD) JOBS=$(JOBS) MINUTES=$(SIM_MINUTES) tests/sim/test.sh
