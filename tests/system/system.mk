# A library to be preloaded is built as one; no sanitizer in it, for it must come before theirs.
FAULTIO := $(BUILD)/tests/system/faultio.so
$(FAULTIO): tests/system/faultio.c
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(CPPFLAGS) -O2 -g $(WARN) -fPIC -shared -o $@ $< -ldl -lpthread
helpers: $(FAULTIO)

# histload records with the code that the checkers read with.
HISTLOAD_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/system/histload_[!m]*.c) \
	$(filter-out %_main.c %_test.c,$(wildcard tests/check/history*.c)))
$(BUILD)/tests/system/histload: $(HISTLOAD_OBJ)

.PHONY: huge
huge: all helpers ## A million entries, 100,000 directories, 20 GiB (HUGE_NODES=1; ENTRIES=n ...: see huge.sh)
	@HUGE=full PAXFS=$(abspath $(BUILD))/paxfs PROG=$(abspath $(BUILD))/tests/system tests/system/huge.sh
