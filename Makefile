# `make demo` and `make test` do all of their set-up themselves. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build demo test check doc services faults judge-faults statistics full-disk peft base-models bench-train bench-growth bench-generate bench-queue bench-ingest bench-gpu signing uds3

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup:
	@scripts/setup.sh

build: setup ## build all programs into target/debug
	cargo build --workspace --bins

demo: build ## train, evaluate and judge a real adapter on examples/verwaltungsrecht
	@scripts/demo.sh

services: build ## start RabbitMQ, Redis and all daemons as processes of their own; run the main job through them
	@scripts/setup.sh services
	@scripts/cluster.sh start
	@scripts/cluster.sh demo

test: ## pass all tests (unit, contract, pipeline, faults, documentation)
	@scripts/setup.sh test
	@scripts/nvrtc.sh
# Together, so that the libraries are compiled once: the features that tests ask for hold for the programs, too.
	cargo build --workspace --bins --tests
	cargo nextest run --workspace
# setup.sh installed the server that these need.
	cargo nextest run --workspace --run-ignored only -E 'package(clara-ingest-worker) & test(/^fetch::postgres::/)'
	cargo test --doc --workspace

check: ## what must be green before a commit: format, lints, tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@$(MAKE) --no-print-directory test

faults: ## simulated faults and faults of real processes; CLARA_FAULT_SEED and CLARA_FAULT_TRIALS choose the trials
	@scripts/setup.sh test
	cargo build --workspace --bins
	cargo nextest run --workspace --run-ignored all -E 'package(clara-tests) & test(/slow_/)' --no-capture

statistics: ## measure how often the gate's bounds and the comparisons' tests are right; prints the tables of docs/gate.md
	cargo nextest run -p clara-lifecycle --run-ignored only -E 'test(/long_/)' --no-capture

judge-faults: ## 1,000 calls to a failing judge with three kills of the judge-worker
	@scripts/setup.sh test
	cargo build --workspace --bins
	cargo nextest run -p clara-tests --run-ignored all --test judge_killed --no-capture

full-disk: ## run a job and an ingest on a disk that is too small (needs root)
	@scripts/setup.sh test
	cargo build --workspace --bins
	cargo nextest run --workspace --run-ignored all -E 'package(clara-tests) & test(/full_disk/)' --no-capture

peft: build ## train an adapter and compare it and its exports with PEFT on the same base model
	@scripts/peft.sh

signing: ## let the program model_signing verify our signatures, and verify its own
	@scripts/signing.sh

uds3: ## read documents from a real PostgreSQL and a real Chroma server
	@scripts/uds3.sh

base-models: ## compare real base models with transformers: token ids and logits
	@scripts/base-models.sh

bench-train: build ## training speed beside PyTorch + PEFT, by turns
	@scripts/bench-train.sh

bench-growth: ## training speed and memory for rows of 128 to 2,048 tokens and ranks of 4 to 256
	cargo build -p clara-gpu-worker --example train_speed
	@tests/peft/growth.py

bench-ingest: ## ingest beside datatrove, and its growth to a million documents
	@scripts/setup.sh
	@scripts/bench-ingest.sh

bench-gpu: ## training on a GPU beside PyTorch + PEFT, by turns (needs a GPU, and python3 with torch, transformers and peft)
	cargo build --release -p clara-gpu-worker --example cuda_speed
	@scripts/bench-gpu.sh

bench-generate: ## generation speed beside transformers and llama.cpp, by turns
	@scripts/bench-generate.sh

bench-queue: ## stages per second and latency beside the servers' limit, Celery, Dramatiq and BullMQ, by turns
	@scripts/bench-queue.sh
