# Tests that make the n-th allocation or file call fail (tests/lib/fault_every.h, tests/unit/nth_files.h).
comma := ,

# Between the fixture and the core: each step may be made to fail on its way in.
$(BUILD)/tests/unit/consensus_nth_test: LDFLAGS += -Wl,--wrap=paxos_step

$(BUILD)/tests/scenario/txn_story_nth_test: LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=tsm_%,open apply end_entry \
	message tick set_leading request_proposed read)

$(BUILD)/tests/unit/kv_replica_nth_test: LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=kv_%,apply_open apply_run \
	$(addprefix replica_,message tick peer done turn installed durable exec read watch admin synced restore start))

# These define the file calls themselves.
NTH_FILE_TESTS := tests/unit/kv_datadir_nth_test tests/unit/kv_engine_nth_test tests/unit/wal_nth_test \
	tests/scenario/kv_start_nth_test
$(NTH_FILE_TESTS:%=$(BUILD)/%): $(BUILD)/tests/unit/nth_files.o

$(BUILD)/tests/unit/wal_nth_test: LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=wal_%,open append submit truncate read)
