# Everything here works on a fresh Debian or Ubuntu machine: what is missing is installed first.
# Python packages go to .venv, other programs come from apt.

PREFIX ?= /usr/local
DESTDIR ?=
KEEP ?=
MINUTES ?= 15
SEED ?=
OWN_RELEASE := $(shell . /etc/os-release && echo $${VERSION_CODENAME:-bookworm})
RELEASE ?= $(OWN_RELEASE)
# Where what is built of releases stays; an absolute folder can serve several clones.
BASES ?= build/systemd
ON_RELEASE = $(SUDO) env RELEASE=$(RELEASE) BASES=$(BASES)
# More than cores: tests wait for Docker and for guests half of the time.
WORKERS ?= $(shell echo $$(($$(nproc) * 2)))

VENV := .venv
PY := $(VENV)/bin/python
# Only what needs root is run as root; sudo asks users who are not root.
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo --preserve-env=DOCKER_HOST)

DEMO_NEEDS := dockerd docker qemu-system-x86_64 ip iptables nsenter umount gcc ld apparmor_parser
TEST_NEEDS := $(DEMO_NEEDS) git mmdebstrap mke2fs debugfs qemu-img curl docker-compose unshare setpriv mount ps zstd lz4 strace zsh fish mandoc go-md2man
TESTS := tests/fakes tests/guest tests/integration tests/prometheus tests/security
ALONE := tests/integration tests/security
IMAGES := container linux linux-installed linux-distribution vmlinux linux-generic ipxe prometheus
# What depends on the release of Docker, QEMU, Python, Prometheus and the C compiler, and the images of these tests.
SELECTION := tests/fakes tests/guest tests/security tests/prometheus/test_scrape.py $(addprefix tests/integration/, \
	attach/test_attach.py attach/test_cgroup_v2.py attach/test_networks.py guest/test_kinds.py guest/test_guest_network.py \
	guest/test_guest_endings.py guest/test_link_services.py guest/test_console_log.py operator/test_console.py \
	operator/test_screen.py operator/test_check.py)
SELECTION_IMAGES := container linux linux-generic ipxe prometheus
PACKAGING_NEEDS := gcc ld make dpkg-deb dpkg-shlibdeps go-md2man lintian readelf
SYSTEMD_NEEDS := qemu-system-x86_64 mmdebstrap mke2fs gcc ld dpkg-deb unshare

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

.PHONY: help
help:  ## list what can be made
	@awk -F ':|## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$3 }' Makefile

.PHONY: demo
demo: need-demo $(VENV)/.run  ## show the main job, then clean up; KEEP=1 lets it run
	@$(SUDO) $(PY) -m tests.demo $(if $(KEEP),--keep)

.PHONY: demo-stop
demo-stop:  ## end a demo that KEEP=1 left running
	@$(SUDO) $(PY) -m tests.demo --stop

.PHONY: test
test: need-test $(VENV)/.dev  ## run all tests, in Dockers of their own
	@.ci/beside "$(MAKE) test-integration" "$(MAKE) lint" "$(MAKE) test-unit"

.PHONY: test-integration
# Where this is set, each worker of pytest would compile all tests again, which takes it 4 s.
test-integration: export PYTHONDONTWRITEBYTECODE :=
test-integration: need-test test-images  ## run the tests that need root, a Docker and QEMU
	@$(PY) -m compileall -q supervisor tests  # before many processes would each do it
	# Tests may disturb each other; what failed among other tests must pass by itself.
	$(SUDO) $(PY) -m pytest -n $(WORKERS) --dist loadgroup --durations=30 $(PYTEST) -m "not alone" $(TESTS) || \
		$(SUDO) $(PY) -m pytest --last-failed --last-failed-no-failures none -m "not alone" $(TESTS)
	$(if $(ALONE),$(SUDO) $(PY) -m pytest -m alone $(ALONE))

.PHONY: test-durations
test-durations:  ## record how long tests take, for the order of make test
	@$(MAKE) test-integration PYTEST=--write-durations

.PHONY: test-images
test-images: need-test $(VENV)/.dev  # before tests that run side by side would each build them
	@cd tests && for image in $(IMAGES); do $(SUDO) $(CURDIR)/$(PY) -m images $$image >/dev/null || exit 1; done

.PHONY: test-systemd
test-systemd: test-machine test-root  ## test package and service on RELEASE=trixie

.PHONY: test-machine
test-machine: need-systemd $(VENV)/.dev  ## test the service in a booted machine of RELEASE
	@$(ON_RELEASE) $(PY) -m pytest -raP --durations=10 $(PYTEST) tests/systemd

.PHONY: test-root
test-root: need-systemd $(VENV)/.dev  ## test with the programs of RELEASE, on this kernel
	@$(ON_RELEASE) $(PY) -m tests.systemd make test-packaging
	@$(if $(filter-out $(OWN_RELEASE),$(RELEASE)),$(ON_RELEASE) $(PY) -m tests.systemd make test-selection)

.PHONY: test-packaging
test-packaging: need-packaging $(VENV)/.dev  ## test what `make install` and `make deb` install
	$(PY) -m pytest -ra --durations=5 tests/packaging

.PHONY: test-selection
test-selection:  ## run the integration tests that matter by release
	@$(MAKE) test-integration TESTS="$(SELECTION)" ALONE= IMAGES="$(SELECTION_IMAGES)"

.PHONY: test-swarm
test-swarm: need-test $(VENV)/.dev test-images  ## test guests as tasks of a Docker Swarm of three nodes
	$(SUDO) $(PY) -m pytest -rfEP tests/swarm

.PHONY: test-page
test-page: need-page $(VENV)/.dev  ## test the status page in Chromium; no root, a minute
	$(PY) -m pytest -rfEP tests/page

.PHONY: test-unit
test-unit: $(VENV)/.dev  ## test the core, with every branch; no root, seconds
	$(PY) -m coverage run -m pytest -m "not exhaustive" tests/unit
	$(PY) -m coverage report
	$(PY) -m pytest -m exhaustive tests/unit # coverage more than doubles its time

FUZZ ?= 100000
.PHONY: fuzz
fuzz: $(VENV)/.dev  ## feed FUZZ=100000 random inputs to all that reads any
	HYPOTHESIS_PROFILE=fuzz HYPOTHESIS_EXAMPLES=$(FUZZ) $(PY) -m pytest --timeout 3600 tests/unit/test_fuzz.py

.PHONY: lint
lint: $(VENV)/.dev  ## check style, types and which package imports which
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	git ls-files -z | grep -zv '^LICENSE$$' | xargs -0 $(VENV)/bin/codespell
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	@for script in $$(find .ci -type f) systemd/setup systemd/manpage systemd/pin systemd/deb/build systemd/deb/p*; do sh -n $$script || exit 1; done

.PHONY: docs
docs: $(VENV)/.dev  ## write the generated parts of the manual pages
	$(PY) -m tests.docs

.PHONY: bench
bench: need-test $(VENV)/.dev  ## measure how fast it is, for tests/bench/README.md
	$(SUDO) $(PY) -m tests.bench

.PHONY: bench-check
bench-check: need-test $(VENV)/.dev  ## measure what is cheap; fails if a third slower
	$(SUDO) $(PY) -m tests.bench --check

.PHONY: soak
soak: need-test $(VENV)/.dev  ## run random operations for MINUTES; SEED=n repeats a run
	$(SUDO) $(PY) -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

.PHONY: wheel
wheel: $(VENV)/.run  ## build dist/vtapd-*.whl
	$(PY) -m pip wheel -q --no-deps --wheel-dir dist .
	@ls dist/*.whl

.PHONY: deb
deb: need-deb  ## build dist/vtapd_*.deb, for this machine's release
	@systemd/deb/build

.PHONY: constraints
constraints: $(VENV)/.dev  ## pin the libraries of the service to those in .venv
	@$(PY) -m pip install -q --disable-pip-version-check 'pip-tools>=7.5'
	@systemd/pin

.PHONY: release
release: need-deb $(VENV)/.dev  ## build and check a release: wheel, Debian package and SHA256SUMS in dist/
	@.ci/release

.PHONY: hooks
hooks:  ## check each commit: lint, and the form of its message
	@git config core.hooksPath .ci/hooks
	@echo "git now runs .ci/hooks; to turn them off: git config --unset core.hooksPath"

.PHONY: install
install: need-install  ## install the service and start it; PREFIX, DESTDIR
	@$(if $(DESTDIR),,$(SUDO)) env PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) systemd/setup install

.PHONY: uninstall
uninstall:  ## remove it again; an edited configuration stays
	@$(if $(DESTDIR),,$(SUDO)) env PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) systemd/setup uninstall

.PHONY: clean
clean:  ## remove what was built
	rm -rf build dist $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find supervisor tests -name __pycache__ -prune -exec rm -r {} +

# The virtual environment: what the program runs with, and on top of it what its tests run with.
$(VENV)/.run: pyproject.toml
	@.ci/need python
	@echo "Making the Python environment in $(VENV)"
	@$(PY) -c 'import pip' 2>/dev/null || $$(.ci/python) -m venv --clear $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "Adding what the tests need"
	@$(PY) -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(PY) -m pip install -q --group dev
	@touch $@

.PHONY: need-demo need-test need-page need-packaging need-systemd need-deb need-install
need-demo:
	@.ci/need python $(DEMO_NEEDS)
need-test:
	@.ci/need python $(TEST_NEEDS)
need-page:
	@.ci/need python chromium bash
need-packaging:
	@.ci/need system-python $(PACKAGING_NEEDS)
need-systemd:
	@.ci/need python $(SYSTEMD_NEEDS)
need-deb:
	@.ci/need system-python gcc ld make dpkg-deb dpkg-shlibdeps go-md2man
need-install:
	@$(if $(DESTDIR),,.ci/need system-python gcc ld make qemu-system-x86_64 go-md2man)
