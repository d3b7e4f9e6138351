# SPDX-License-Identifier: Apache-2.0
# make demo   from nothing to a running server with columnar tables in it
# make test   every suite; make test SUITES="regress isolation" for a part, PG=18 for another server
# CI runs the same suites, and make deny and make package besides.
# What build and install make is for this machine's processor; TARGET_CPU=x86-64 makes it run on others, as package does.
# PG picks PostgreSQL's major version (15 default). PG_CONFIG picks the installation that install and package use.
PG ?= 15
PG_CONFIG ?= /usr/lib/postgresql/$(PG)/bin/pg_config
SUITES ?=
TARGET_CPU ?=
SECONDS_PER_TARGET ?= 60
export PG TARGET_CPU
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help deps build install package test demo bench fuzz lint fmt tidy deny clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

deps: ## install what a fresh Debian 12 with Rust lacks
	@scripts/deps.sh

build: deps ## build the extension for PG
	@scripts/server.sh prefix
	@. scripts/lib.sh && optimize_for_cpu && \
	  cargo build --release -p pg_doris --no-default-features --features pg$(PG)

install: deps ## install the extension into the PostgreSQL of PG_CONFIG
	. scripts/lib.sh && optimize_for_cpu && cd extension && cargo pgrx install --release --no-default-features --features pg$(PG) --pg-config $(PG_CONFIG) \
	  $(if $(filter 0,$(shell id -u)),,--sudo)

package: deps ## make an installable tree under target/release/
	cd extension && cargo pgrx package --no-default-features --features pg$(PG) --pg-config $(PG_CONFIG)

test: deps ## run every suite (SUITES= for some)
	@scripts/test.sh $(SUITES)

demo: deps ## build, start a private server, load TPC-H, compare with a heap
	@scripts/demo.sh

bench: deps ## measure; BENCH= for some of: tpch oltp upsert memory cdc clickbench aggregate mixed scaling orders rows spill
	@bench/run.sh $(BENCH)

fuzz: deps ## fuzz every decoder for SECONDS_PER_TARGET each, the suites' generators for SECONDS_PER_PART each
	@scripts/fuzz.sh $(SECONDS_PER_TARGET)

lint: deps ## formatting, clippy and the rules of the tree
	@scripts/test.sh fmt clippy tidy

fmt: ## format the sources
	cargo fmt --all

tidy: ## the rules of the tree that no compiler checks
	@scripts/tidy.sh

deny: ## licences, sources and advisories of dependencies (needs cargo-deny)
	cargo deny check

clean: ## stop the private servers and remove target/
	@scripts/clean.sh
