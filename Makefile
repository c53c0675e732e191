# paxfs: one GNU Makefile, no recursion. V=1 shows full commands; BUILD=dir builds elsewhere.
BUILD ?= build
CC ?= gcc
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
OPT ?= -O2 -g
SAN ?=

WARN := -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wformat=2 -Wundef -Wcast-align -Wlogical-op -Wduplicated-cond -Wnull-dereference \
	-Wimplicit-fallthrough=5 -Werror
CPPFLAGS += -I. -D_GNU_SOURCE -MMD -MP -DFUSE_USE_VERSION=314
CFLAGS += $(OPT) $(WARN) -fno-omit-frame-pointer $(SAN)
CONVERSION := -Wconversion
LDFLAGS += $(SAN)

FUSE_CFLAGS := $(shell pkg-config --cflags fuse3 2>/dev/null | sed 's/-I/-isystem /g')
LIBS_base := -lmsgpackc -lbsd
LIBS_net := -luv
LIBS_kv := -lrocksdb
LIBS_mount := $(shell pkg-config --libs fuse3 2>/dev/null)
LIBS := $(LIBS_mount) $(LIBS_kv) $(LIBS_net) -lcrypto $(LIBS_base) -lpthread -lm

# In dependency order, lowest first.
FOLDERS := base net wal consensus txn kv fs mount
DEPS_base :=
DEPS_net := base
DEPS_wal := base
DEPS_consensus := base
DEPS_txn := base
DEPS_kv := txn consensus wal net base
DEPS_fs := kv txn consensus wal net base
DEPS_mount := fs kv txn consensus wal net base
DEPS_tools := mount fs kv txn consensus wal net base

define FOLDER_rules
SRC_$(1) := $$(wildcard $(1)/*.c)
OBJ_$(1) := $$(SRC_$(1):%.c=$$(BUILD)/%.o)
$$(BUILD)/lib$(1).a: $$(OBJ_$(1))
	@echo "  AR    $$@"
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call FOLDER_rules,$(f))))

SRC_tools := $(wildcard tools/*.c)
OBJ_tools := $(SRC_tools:%.c=$(BUILD)/%.o)

.DEFAULT_GOAL := all
.PHONY: all
all: $(BUILD)/paxfs

libs_of = $(foreach l,$(1) $(DEPS_$(1)),$(BUILD)/lib$(l).a)

$(BUILD)/paxfs: $(OBJ_tools) $(foreach f,$(DEPS_tools),$(BUILD)/lib$(f).a)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(OBJ_tools) -Wl,--start-group \
		$(foreach f,$(DEPS_tools),$(BUILD)/lib$(f).a) -Wl,--end-group $(LIBS)

$(BUILD)/mount/%.o: CPPFLAGS += $(FUSE_CFLAGS)
$(BUILD)/tests/%.o: CONVERSION :=

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(CONVERSION) -c -o $@ $<

# A test file is tests/<kind>/<folder>_<what>_test.c: one CUnit binary, linked with its folder, what
# the folder may use, and tests/lib.
SRC_testlib := $(wildcard tests/lib/*.c)
OBJ_testlib := $(SRC_testlib:%.c=$(BUILD)/%.o)
$(BUILD)/libtest.a: $(OBJ_testlib)
	@echo "  AR    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

TEST_SRC := $(wildcard tests/unit/*_test.c tests/paper/*_test.c tests/scenario/*_test.c)
TEST_BIN := $(TEST_SRC:%.c=$(BUILD)/%)
test_folder = $(firstword $(subst _, ,$(notdir $(1))))

.SECONDEXPANSION:
$(TEST_BIN): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/libtest.a $$(call libs_of,$$(call test_folder,$$*))
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lcunit $(LIBS)

.PHONY: tests clean
tests: $(TEST_BIN)
clean:
	rm -rf $(BUILD)

.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
