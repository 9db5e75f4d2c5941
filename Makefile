# Holdfast.  `make demo` and `make test` do all their own set-up.
.PHONY: demo test lint bench setup lock help
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python

help:  ## what there is
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## Debian packages, .venv, locked dependencies (the other targets call it)
	@scripts/setup

demo: setup  ## lose a host for real and get its VMs back; options: make demo ARGS="--keep"
	@$(PYTHON) -m holdfast demo $(ARGS)

lint: setup  ## ruff, mypy --strict, import-linter
	@scripts/lint

test: setup  ## all tests, the slow ones last; options: make test ARGS="-k hook"
	@scripts/test $(ARGS)

bench: setup  ## the figures, also written to build/bench.json
	@$(PYTHON) -m benchmarks $(ARGS)

lock:  ## renew the lock files from pyproject.toml
	@.venv/bin/uv -q pip compile --universal --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --extra libvirt --extra dev pyproject.toml -o requirements.lock
	@echo 'uv==$(shell .venv/bin/uv --version | cut -d" " -f2)' | .venv/bin/uv -q pip compile --universal --generate-hashes --no-annotate \
	  --no-header --no-emit-index-url --no-emit-find-links - -o requirements-uv.lock
