# libcheck.a: the judges of histories (README.md), linked by tests/unit/check_*_test.c; and histcheck.
DEPS_check := base
SRC_check := $(filter-out %_main.c,$(wildcard tests/check/*.c))
OBJ_check := $(SRC_check:%.c=$(BUILD)/%.o)
$(BUILD)/libcheck.a: $(OBJ_check)
	@echo "  AR    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/tests/check/histcheck: $(BUILD)/tests/check/histcheck_main.o $(call libs_of,check)
	$(call LINK,)

helpers: $(BUILD)/tests/check/histcheck

# It runs the program.
$(BUILD)/tests/unit/check_history_test: | $(BUILD)/tests/check/histcheck
