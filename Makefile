# paxfs: one GNU Makefile for all folders. V=1 shows full commands; BUILD=dir builds elsewhere.
# `make help` lists the targets.
BUILD ?= build
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PREFIX ?= /usr/local
DESTDIR ?=
# For `up` and `down`.
DATA ?= ./run/data
MNT ?= ./run/mnt
NODES ?= 3
GROUPS ?= 4
ifeq ($(origin CC),default)
CC := gcc
endif
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
LDFLAGS += $(SAN) -Wl,--as-needed

FUSE_CFLAGS := $(shell pkg-config --cflags fuse3 2>/dev/null | sed 's/-I/-isystem /g')
LIBS_base := -lmsgpackc -lbsd
LIBS_net := -luv
LIBS_kv := -lrocksdb
LIBS_mount := $(shell pkg-config --libs fuse3 2>/dev/null)
LIBS_tools := -ljansson
LIBS := $(LIBS_tools) $(LIBS_mount) $(LIBS_kv) $(LIBS_net) -lcrypto $(LIBS_base) -lpthread -lm

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

# The command is X_main.c; the rest of tools/ is a library, so that tests can link it.
SRC_tools := $(filter-out %_main.c,$(wildcard tools/*.c))
OBJ_tools := $(SRC_tools:%.c=$(BUILD)/%.o)
$(BUILD)/libtools.a: $(OBJ_tools)
	@echo "  AR    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

.DEFAULT_GOAL := all
.PHONY: all
all: $(BUILD)/paxfs ## Build the paxfs command (the default)

libs_of = $(foreach l,$(1) $(DEPS_$(1)),$(BUILD)/lib$(l).a)

define LINK
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group $(1) $(LIBS)
endef

$(BUILD)/paxfs: $(BUILD)/tools/paxfs_main.o $(call libs_of,tools)
	$(call LINK,)

# Helpers of the system tests and benchmarks: one program per *_main.c.
HELPER_BIN := $(patsubst %_main.c,$(BUILD)/%,$(wildcard tests/system/*_main.c bench/*_main.c))
$(HELPER_BIN): $(BUILD)/%: $(BUILD)/%_main.o $(call libs_of,tools)
	$(call LINK,)

$(BUILD)/mount/%.o $(BUILD)/tests/%.o: CPPFLAGS += $(FUSE_CFLAGS)
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
	$(call LINK,-lcunit)

# What a folder of tests or docs adds: rules of its own, beside what they build.
-include $(wildcard tests/*/*.mk docs/*/*.mk)

# ---- tests ----

# Parts end with a line `N passed, N failed`; tests/run_all.sh adds them up.
.PHONY: test test-unit test-system lint tests helpers
test: ## Install what is missing, build, run every test (sudo make test)
	@BUILD=$(BUILD) JOBS=$(JOBS) MAKE="$(MAKE)" tests/run_all.sh

test-unit: $(TEST_BIN) ## Run the unit, paper and scenario tests
	@JOBS=$(JOBS) tests/run_units.sh $(BUILD) $(TEST_BIN)

test-system: all helpers ## Run the system tests: real mounts, real processes (as root)
	@BUILD=$(BUILD) tests/system/run.sh

lint: ## Check layering, sizes, names, purity, READMEs and shell scripts
	@tests/lint/run.sh

tests: $(TEST_BIN) ## Build the test binaries
helpers: $(HELPER_BIN)

# The same sources in build directories of their own.
.PHONY: asan ubsan tsan coverage
asan: ## The unit tests with AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-asan OPT="-O1 -g" \
		SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined" test-unit

ubsan: ## The unit tests with UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-ubsan OPT="-O1 -g" \
		SAN="-fsanitize=undefined -fno-sanitize-recover=undefined" test-unit

tsan: ## The unit tests with ThreadSanitizer
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-tsan OPT="-O1 -g" \
		SAN="-fsanitize=thread" test-unit

coverage: ## Line coverage of the unit tests, per folder
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-coverage OPT="-O0 -g" SAN="--coverage" test-unit
	@tests/coverage.sh $(BUILD)-coverage

.PHONY: format
FILES ?= $(shell git diff --name-only HEAD -- '*.c' '*.h')
format: ## clang-format on FILES="..." (default: the C files changed since the last commit)
	$(if $(FILES),clang-format -i $(FILES),@echo "no changed C files")

# ---- running and installing ----

# Both call make again: libraries that deps just installed are looked up when a Makefile is read.
.PHONY: deps up down bench install uninstall
deps: ## Install missing Debian packages (asks sudo when not root)
	@./deps.sh

up: deps ## Start NODES=3 nodes, GROUPS=4 groups in DATA=dir, mounted at MNT=dir (sudo make up)
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=$(BUILD) all
	@$(BUILD)/paxfs local up --data $(DATA) --mount $(MNT) --nodes $(NODES) --groups $(GROUPS)

down: ## Unmount and stop what `make up` started; the data stays
	@$(BUILD)/paxfs local down --data $(DATA)

bench: all helpers ## Run the benchmarks (see bench/README.md)
	@BUILD=$(BUILD) bench/run.sh

# mount(8) looks for helpers in /sbin only, so a mount of type paxfs needs the link there.
SBIN := $(if $(filter /usr /usr/local,$(PREFIX)),/sbin,$(PREFIX)/sbin)
BASH_COMPLETIONS := $(PREFIX)/share/bash-completion/completions
UNITS := $(PREFIX)/lib/systemd/system
MAN1 := $(wildcard man/*.1)
MAN8 := $(wildcard man/*.8)
SYSTEMD := $(wildcard init/*.service init/*.target)

install: all ## Install under PREFIX=/usr/local (DESTDIR=dir to stage)
	install -D -m 755 $(BUILD)/paxfs $(DESTDIR)$(PREFIX)/bin/paxfs
	install -d $(DESTDIR)$(SBIN)
	ln -sf $(PREFIX)/bin/paxfs $(DESTDIR)$(SBIN)/mount.paxfs
	ln -sf $(PREFIX)/bin/paxfs $(DESTDIR)$(SBIN)/mount.fuse.paxfs # mount -o remount looks for this
	$(if $(MAN1),install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 $(MAN1))
	$(if $(MAN8),install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man8 $(MAN8))
	$(if $(wildcard tools/completion.bash),install -D -m 644 tools/completion.bash \
		$(DESTDIR)$(BASH_COMPLETIONS)/paxfs)
	$(if $(SYSTEMD),install -D -m 644 -t $(DESTDIR)$(UNITS) $(SYSTEMD))

uninstall: ## Remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/paxfs $(DESTDIR)$(SBIN)/mount.paxfs \
		$(DESTDIR)$(SBIN)/mount.fuse.paxfs
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man1/,$(notdir $(MAN1)))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man8/,$(notdir $(MAN8)))
	rm -f $(DESTDIR)$(BASH_COMPLETIONS)/paxfs
	rm -f $(addprefix $(DESTDIR)$(UNITS)/,$(notdir $(SYSTEMD)))

.PHONY: clean help
clean: ## Remove the build directories
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-ubsan $(BUILD)-tsan $(BUILD)-coverage

help: ## This text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
