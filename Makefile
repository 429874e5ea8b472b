# slm.copilot: everything a contributor types. Each target installs what it lacks.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test test-full test-trixie lint unit sanity ansible-units molecule contract image bench docs docs-site build changelog clean

BIN := .venv/bin
PYTHON ?= python3
PACKAGES := podman runc aardvark-dns iptables mmdebstrap openssh-client curl
VM_PACKAGES := qemu-system-x86 e2fsprogs
IMAGE_PACKAGES := mmdebstrap qemu-utils grub-pc-bin grub-common fdisk e2fsprogs gnupg openssh-client
IMAGE ?= slm-copilot.qcow2
# How many zones the demo has: 1, or 3 behind a balancer.
ZONES ?= 1
# What `make test` does, one after the other; parts with + between them at the same time.
TEST_PARTS ?= lint+sanity unit molecule contract
# Scenarios, those that take longest first; each is a folder of molecule/. tools/scenarios.py says how they run.
export SCENARIOS ?= zones letsencrypt default models mtls clients

# The key stays in the environment, where other users cannot see it.
VALIDATE = ANSIBLE_COLLECTIONS_PATH=.collections $(BIN)/ansible-playbook playbooks/validate.yml -e 'endpoint=$(ENDPOINT)' \
	$(if $(CA),-e 'ca_file=$(CA)') -e '{"validate_key": "{{ lookup(\"ansible.builtin.env\", \"PASSWORD\") }}"}'

export PYTHONDONTWRITEBYTECODE := 1

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/ready: requirements/dev.txt
	tools/prerequisites python3-venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r $<
	touch $@

demo: .venv/ready ## Run everything for real in disposable containers on this machine (ZONES=3: with a balancer)
	tools/prerequisites $(PACKAGES)
	tools/demo up $(ZONES)

demo-down: ## Remove everything that the demo created
	tools/demo down

test: .venv/ready ## Run the whole test suite once; with ENDPOINT=https://host:8443 and PASSWORD in the environment, validate that endpoint
	$(if $(ENDPOINT),$(VALIDATE),tools/parts $(TEST_PARTS))

test-full: export PYTEST_ADDOPTS := -m ''
test-full: SCENARIOS += virtual_machine upgrade monitoring opennebula air_gap
test-full: TEST_PARTS += ansible-units
test-full: export CONTRACT_PACKAGES := npm
test-full: test ## Run the test suite with all combinations: repeated kills, full boots, long sessions

lint: .venv/ready ## Check the style of YAML, Ansible and Python, the helpers' types, the documentation and the archive
	$(BIN)/yamllint --strict .
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy plugins/module_utils plugins/plugin_utils
	$(BIN)/mypy roles/router/files/copilot_router
	$(BIN)/python tools/role_readmes.py --check
	$(BIN)/python tools/model_table.py --check
	tools/lint-package & tools/lint-collection && wait $$!

unit: .venv/ready ## Run the unit tests
	$(BIN)/pytest --numprocesses=auto --cov=plugins/module_utils --cov=plugins/plugin_utils --cov=roles/router/files/copilot_router --cov-report=term-missing:skip-covered --cov-fail-under=90

sanity: .venv/ready ## Run ansible-test's sanity tests
	tools/ansible-test sanity

ansible-units: .venv/ready ## Run the unit tests again with ansible-test
	tools/ansible-test units

molecule: .venv/ready ## Converge and verify real hosts in Molecule scenarios
	tools/prerequisites $(PACKAGES) $(if $(filter opennebula,$(SCENARIOS)),$(IMAGE_PACKAGES) $(VM_PACKAGES) pebble xorriso) $(if $(filter virtual_machine,$(SCENARIOS)),$(VM_PACKAGES))
	$(BIN)/python tools/scenarios.py $(SCENARIOS)

contract: .venv/ready ## Test gateway, router and memory plan with real HAProxy, LiteLLM and llama-server processes (the engine comes from the cache)
	tools/prerequisites haproxy keepalived curl nftables iproute2 util-linux pebble certbot $(CONTRACT_PACKAGES)
	$(BIN)/pytest --numprocesses=3 --dist=loadfile tests/contract   # they wait more than they compute

test-trixie: .venv/ready ## Compile, start and verify the engine on Debian 13 (not part of make test; ten more minutes without a cached engine)
	tools/prerequisites $(PACKAGES)
	PATH="$(CURDIR)/$(BIN):$$PATH" molecule test --scenario-name trixie

image: .venv/ready ## Build the disk image of an appliance: make image KEY=image_key IMAGE=slm-copilot.qcow2 (as root; docs/opennebula.md)
	tools/prerequisites $(IMAGE_PACKAGES)
	ANSIBLE_COLLECTIONS_PATH=.collections $(BIN)/ansible-playbook playbooks/image.yml -e appliance_path=$(IMAGE) -e appliance_key=$(KEY) $(ARGS)

bench: .venv/ready ## Benchmark the engine, an unchanged run, and requests to a server and through a balancer, as ratios (PARTS=...)
	tools/prerequisites $(PACKAGES) cmake ninja-build g++ haproxy
	PYTHONPATH=.collections $(BIN)/python tools/bench.py $(PARTS)

docs: .venv/ready ## Generate the documentation that is derived from the argument specifications and the catalogue
	$(BIN)/python tools/role_readmes.py
	$(BIN)/python tools/dashboards.py
	$(BIN)/python tools/model_table.py

docs-site: .venv/ready ## Build the documentation site in .cache/docs-site/html; warnings are errors
	$(BIN)/python tools/docs_site.py

build: .venv/ready ## Build the collection's archive, its bill of materials (CycloneDX) and checksums
	tools/build

changelog: .venv/ready ## Write CHANGELOG.rst from the fragments
	tools/changelog

clean: ## Remove the environments and caches of the checkout
	rm -rf .venv .cache .ansible .mypy_cache .ruff_cache .pytest_cache slm-copilot-*.tar.gz slm-copilot-*.sbom.json slm-copilot-*.sha256
