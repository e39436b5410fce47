# GenAI Coach. `make help` lists the verbs.
.DEFAULT_GOAL := help
