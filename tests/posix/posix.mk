# The POSIX suite: one program, run on one mount and on two.
POSIX_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/posix/*.c))
POSIX_PROBE := $(BUILD)/tests/posix/posix_probe
$(POSIX_PROBE): $(POSIX_OBJ)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^
helpers: $(POSIX_PROBE)

.PHONY: test-posix
test-posix: all $(POSIX_PROBE) ## Run the POSIX suite on one mount and on two (as root)
	@BUILD=$(BUILD) tests/posix/run.sh
