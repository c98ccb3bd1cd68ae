# What to type: `make help`. The work is in scripts/; each target installs the packages it needs and
# this machine lacks (scripts/deps.sh).
.DEFAULT_GOAL := build
.PHONY: help build demo test test-valgrind check bench soak install uninstall print-module print-nginx clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

build: ## the module, for the nginx on PATH or else for the vendored one
	@scripts/deps.sh build
	@scripts/print.sh module

demo: ## a real nginx in front of back ends that fail in every way
	@scripts/deps.sh build stock test
	@scripts/demo.sh

test: ## all tests, on every nginx; one of them: make test T=name
	@scripts/deps.sh build stock test
	@scripts/test.sh $(T)

test-valgrind: ## the tests of t/ with nginx under memcheck
	@scripts/deps.sh build stock test valgrind
	@UPSTREAM_DIAGNOSIS_VALGRIND=1 scripts/test.sh $(T)

check: ## rustfmt, clippy, cargo-deny
	@scripts/deps.sh build stock
	@scripts/check.sh

bench: ## instructions per request, and a host name that moves under load
	@scripts/deps.sh build stock valgrind
	@scripts/bench.sh

soak: ## host names that move 100,000 times, and memory; other number: make soak N=1000
	@scripts/deps.sh build stock
	@scripts/soak.sh $(N)

install: ## module and example configuration into the nginx on PATH
	@scripts/install.sh

uninstall: ## takes out what install put in
	@scripts/install.sh uninstall

print-module: ## absolute path of the built library
	@scripts/deps.sh build
	@CARGO_TERM_QUIET=true scripts/print.sh module

print-nginx: ## absolute path of the nginx it is for
	@scripts/deps.sh build
	@CARGO_TERM_QUIET=true scripts/print.sh nginx

clean: ## everything that was built
	cargo clean
