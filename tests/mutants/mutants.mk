.PHONY: mutants
MUTANTS ?=
mutants: ## Seeded bugs: each must be caught by the simulator (MUTANTS="name..." for some)
	@BUILD=$(BUILD) tests/mutants/run.sh $(MUTANTS)
