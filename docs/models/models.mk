# The checked models of the protocols (docs/models/README.md).
.PHONY: models models-long
models: ## Check the models of the protocols with spin (about a minute)
	@BUILD=$(BUILD) docs/models/run.sh short

models-long: ## The same with larger bounds (many minutes, 8 GB)
	@BUILD=$(BUILD) MODELS_MEM_MB=8000 docs/models/run.sh long
