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
