# `make` lists what one can do here. CMake does the building (CMakePresets.json), scripts do the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# debug, release, asan, tsan or clang
PRESET ?= debug
VERSION ?= $(shell sed -n 's/^project.ferry VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
HOSTS ?= 2
DURATION ?= 20
# The sanitizers' memory layout does not go with every kernel's randomisation of addresses.
FIXED_ADDRESSES := $(if $(filter asan tsan,$(PRESET))$(filter fuzz,$(MAKECMDGOALS)),$(shell setarch -R true 2>/dev/null && echo setarch -R))
export REGISTRY VERSION

.PHONY: help deps build unit e2e test bench bench-live fuzz lint format plugin install push demo lab clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r name text; do printf 'make %-10s %s\n' "$$name" "$$text"; done

deps: ## install the Debian packages that everything here needs (tests/packages); needs root
	@tests/install-packages

build: deps ## compile plugin and unit tests; PRESET=debug|release|asan|tsan|clang
	@cmake --preset $(PRESET) -Wno-dev >/dev/null
	@$(FIXED_ADDRESSES) cmake --build --preset $(PRESET)

unit: build ## build, then the unit tests; PRESET as for build
	@$(FIXED_ADDRESSES) ctest --test-dir build/$(PRESET) --output-on-failure --no-tests=error -j "$$(nproc)"

e2e: deps ## end-to-end tests on the lab's real engines; LAB_SUITE=trixie|bookworm|sid, ARGS="-k name"; needs root
	@tests/e2e/run $(ARGS)

test: unit e2e ## everything: build, unit, conformance and end-to-end tests; needs root

fuzz: deps ## the decoders of what peers send, with random input; DURATION=20, seconds for each
	@cmake --preset fuzz -Wno-dev >/dev/null
	@$(FIXED_ADDRESSES) cmake --build --preset fuzz
	@$(FIXED_ADDRESSES) tests/fuzz/run $(DURATION)

bench: deps ## measure imports and updates against cp, rsync and tar over ssh, and the driver against `local`; ARGS="--work small --rounds 3"; needs root
	@cmake --preset release -Wno-dev >/dev/null
	@cmake --build --preset release
	@tests/bench/run $(ARGS)

bench-live: deps ## measure how long clients wait while their services move, against scripts and a restart; ARGS="--rounds 1 --scale 0.1"; needs root
	@tests/bench/live $(ARGS)

lint: deps ## formatting, clang-tidy, thread-safety analysis, scripts, the architecture
	@tests/lint/run

format: deps ## bring the C++ sources into the repository's format
	@git ls-files -z '*.cpp' '*.h' | xargs -0 clang-format -i

plugin: deps ## the plugin as `docker plugin create` wants it: build/plugin/{config.json,rootfs}; needs root
	@tests/lab/build-plugin build/plugin

install: plugin ## install or replace Ferry on this machine's engine, as `ferry`
	@plugin/packaging/install-plugin build/plugin

push: ## push the plugin: REGISTRY=HOST[:PORT][/PATH], VERSION=tag
	@plugin/packaging/push-plugin --check
	@$(MAKE) --no-print-directory plugin
	@plugin/packaging/push-plugin build/plugin

demo: deps ## two Docker hosts on this machine, and a volume that moves between them; KEEP=1 leaves them up; needs root
	@tests/demo

lab: deps ## bring up the lab: HOSTS=2 hosts with real engines and Ferry; `tests/lab/lab down` ends it; needs root
	@tests/lab/lab up $(HOSTS)

clean: ## remove build/ (the lab's cache stays: /var/cache/ferry-lab)
	@rm -rf build
