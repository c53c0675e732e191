# Fuzzers: tests/fuzz/README.md. Each <name>_fuzz.c is one program, built twice: with clang and libFuzzer
# (in $(BUILD)-fuzz), and with gcc and a main() that replays files (in $(BUILD)-asan, which `make asan`
# fills too).
FUZZ_TARGETS := $(sort $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c)))
FUZZ_BIN := $(FUZZ_TARGETS:%=$(BUILD)/tests/fuzz/%_fuzz)
FUZZ_SECONDS ?= 60
FUZZ_CC ?= clang
FUZZ_WARN := -std=c11 -Wall -Wextra -Wno-unknown-warning-option -Wno-missing-field-initializers
FUZZ_SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined
# Set by the targets below when they call make for the clang build.
FUZZ_ENGINE ?=

FUZZ_COMMON := $(patsubst %.c,$(BUILD)/%.o,tests/fuzz/fuzz_input.c tests/fuzz/fuzz_txn.c)
ifeq ($(FUZZ_ENGINE),)
FUZZ_COMMON += $(BUILD)/tests/fuzz/fuzz_main.o
endif

$(FUZZ_BIN): $(BUILD)/%: $(BUILD)/%.o $(FUZZ_COMMON) $(BUILD)/libtest.a $(call libs_of,tools) \
		$(BUILD)/libtools.a
	$(call LINK,$(FUZZ_ENGINE) -lcunit)

$(BUILD)/tests/fuzz/seeds: $(BUILD)/tests/fuzz/seeds_main.o $(patsubst %.c,$(BUILD)/%.o,tests/fuzz/fuzz_input.c tests/fuzz/fuzz_txn.c) \
		$(BUILD)/libtest.a $(call libs_of,tools) $(BUILD)/libtools.a
	$(call LINK,-lcunit)

.PHONY: fuzz fuzz-smoke fuzz-regress fuzz-build fuzz-bins fuzz-replay fuzz-seeds fuzz-merge
fuzz-bins: $(FUZZ_BIN)

fuzz-replay: $(FUZZ_BIN)
	@tests/fuzz/replay.sh $(BUILD) $(FUZZ_TARGETS)

fuzz-build: ## Build the fuzzers with clang, in $(BUILD)-fuzz
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-fuzz CC=$(FUZZ_CC) OPT="-O1 -g" \
		SAN="-fsanitize=fuzzer-no-link $(FUZZ_SAN)" WARN="$(FUZZ_WARN)" CONVERSION= \
		FUZZ_ENGINE=-fsanitize=fuzzer fuzz-bins

fuzz-regress: ## Replay every committed fuzz input under ASan and UBSan (gcc)
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-asan OPT="-O1 -g" SAN="$(FUZZ_SAN)" fuzz-replay

fuzz-smoke: fuzz-build ## Run each fuzzer for FUZZ_SECONDS=60, JOBS at a time
	@FUZZ_SECONDS=$(FUZZ_SECONDS) JOBS=$(JOBS) tests/fuzz/smoke.sh $(BUILD)-fuzz $(FUZZ_TARGETS)

fuzz: fuzz-build ## Run one fuzzer until told: TARGET=name
	@tests/fuzz/one.sh $(BUILD)-fuzz "$(TARGET)" $(FUZZ_TARGETS)

fuzz-merge: fuzz-build ## Minimise what was found into the committed corpora: TARGET=name, or all
	@tests/fuzz/merge.sh $(BUILD)-fuzz $(or $(TARGET),$(FUZZ_TARGETS))

fuzz-seeds: ## Write the seeds into the corpora (tests/fuzz/seeds_main.c)
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-asan OPT="-O1 -g" SAN="$(FUZZ_SAN)" \
		$(BUILD)-asan/tests/fuzz/seeds
	@$(BUILD)-asan/tests/fuzz/seeds tests/fuzz/corpus
