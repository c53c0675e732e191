# Programs that people use, and suites of others, on real mounts.
.PHONY: suites suites-quick
SUITES ?=
suites: all ## Run other people's programs and suites on one mount and on two (as root)
	@BUILD=$(BUILD) tests/suites/run.sh $(SUITES)

suites-quick: all ## The short ones of them
	@BUILD=$(BUILD) tests/suites/run.sh -q $(SUITES)
