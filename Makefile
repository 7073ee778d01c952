# Everything sets itself up in .venv and .nnlite of this checkout; nothing else is touched, but for the key that
# signs the Android app, which is made in the user's configuration folder.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# For root the system's own, if it will do: model code runs as an account that may not read /root.
PYTHON ?= $(shell [ "$$(id -u)" = 0 ] && /usr/bin/python3 -c 'import ensurepip, sys, venv; \
  sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
# PyTorch's own index has a build without CUDA: make demo TORCH_INDEX_URL=.../whl/cpu
TORCH_INDEX_URL ?=
# Set-up compiles all Python files to bytecode, whatever the environment says: a worker then starts with 2 s of
# processor time instead of 5. BYTECODE=no does without any.
BYTECODE ?= yes
ifeq ($(BYTECODE),no)
export PYTHONDONTWRITEBYTECODE := 1
else
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1
endif
EXTRAS := convert,host,onnx,executorch,benchmark,local,dev
INSTALLED := $(VENV)/.installed
# Data of tests and benchmarks; the demo uses the user's own home, as `nnlite run` does.
TEST_HOME := $(CURDIR)/.nnlite
LEMUR := $(TEST_HOME)/sources/nn_dataset-2.1.2-py3-none-any.whl
WITH_LEMUR := NNLITE_LEMUR=$(LEMUR)
# A newer release, which has LEMUR's importer and transforms, but no models.
UPSTREAM := $(TEST_HOME)/upstream/nn_dataset-2.2.11-py3-none-any.whl

# Classifiers by people, one of grey images, a segmentation net, two vision transformers, generated ones,
# and one that draws random numbers, which cannot be converted.
DEMO_MODELS := \
  MobileNetV3 DarkNet BagNet UNet2D LRASPP VisionTransformer SwinTransformer \
  ga-mut-113 rl-init-2a44b82bd55bc4bb9787225ac8875838 \
  alt-138c6fd98788be69bfa0c94e9bf7b316 alt-nn2-41b196db87d01a684f07cfc141dc70ee BayesianNet-3

.PHONY: help setup rig host-app rig-campaign compose-test monitoring wheel docs apk runtime-check runtime-check-arm64 runtime-check-tensorflow runtime-match demo test test-fast test-unit coverage lint \
  format bench kubernetes-check constraints shapes atlas architectures lemur-coverage schema clean

help: ## List the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 32

setup: $(INSTALLED) ## Make the virtual environment with everything in it

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(INSTALLED): $(UV) pyproject.toml constraints.txt
	$(UV) pip install --quiet --python $(BIN)/python --constraint constraints.txt \
	  $(if $(TORCH_INDEX_URL),--index $(TORCH_INDEX_URL) --index-strategy unsafe-best-match) --editable '.[$(EXTRAS)]'
	$(if $(filter no,$(BYTECODE)),,$(BIN)/python -m compileall -q services workers migrations tests tools)
	@touch $@

RIG := $(TEST_HOME)/rig/packages.lock

rig: $(RIG) ## Fetch adbd for the virtual devices of the tests; nothing is installed

$(RIG): tests/device/rig/packages.lock | $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python -m device.rig.fetch
	@touch $@

rig-campaign: $(INSTALLED) $(LEMUR) $(RIG) host-app ## Measure 20 models of LEMUR on three virtual devices with injected faults
	$(WITH_LEMUR) PYTHONPATH=tests:tools $(BIN)/python -m device.rig.isolation $(BIN)/python -m device.campaign $(CAMPAIGN)

PROMETHEUS := $(TEST_HOME)/prometheus/packages.lock

$(PROMETHEUS): tests/monitoring/packages.lock | $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python -m device.rig.fetch $< $(@D)
	@touch $@

monitoring: $(PROMETHEUS) ## Check Prometheus's and Alertmanager's configuration, try the alerts and send some
	$(<D)/usr/bin/promtool check config deploy/monitoring/prometheus.yml
	$(<D)/usr/bin/promtool test rules tests/monitoring/alerts_test.yml
	$(<D)/usr/bin/amtool check-config deploy/monitoring/alertmanager.example.yml
	PYTHONPATH=tests $(BIN)/python -m monitoring.delivery $(<D)

APK := build/nnlite-benchmark.apk
ANDROID := $(TEST_HOME)/android
ANDROID_TESTS := $(ANDROID)/.fetched
# The app's own TensorFlow Lite library, for the host.
APP_RUNTIME_FOLDER := build/app-runtime
APP_RUNTIME := $(APP_RUNTIME_FOLDER)/.built
# TensorFlow of the same version, to compare with: its old numpy and protobuf need an environment of their own.
TFLITE_CONSTRAINTS := workers/nnlite_benchmark/runtime_check/constraints.txt
TFLITE_ENV := $(TEST_HOME)/tflite-2.16
TFLITE := $(TFLITE_ENV)/.installed

apk: $(APK) $(APP_RUNTIME) ## Build the Android benchmark app (a JDK, gcc, Maven, Node and Debian's apt)
	@echo "Workers take $(CURDIR)/$(APK) with NNLITE_ANDROID__APK, or as nnlite-benchmark.apk in NNLITE_HOME."

$(APK): android_app/dependencies.toml android_app/gradle.properties \
  $(wildcard tools/apk/*.py) $(shell find android_app/src/main -type f)
	PYTHONPATH=tools $(PYTHON) -m apk --cache $(ANDROID) --output $@

$(APP_RUNTIME): android_app/dependencies.toml android_app/gradle.properties \
  $(wildcard tools/apk/*.py) $(wildcard android_app/src/host/shim/*)
	PYTHONPATH=tools $(PYTHON) -m apk --cache $(ANDROID) --runtime $(@D)
	@touch $@

APP_RUNTIME_ARM64 := $(APP_RUNTIME_FOLDER)-arm64/.built

# Its tests run where Debian's cross compiler and emulator are, and are skipped elsewhere.
APP_RUNTIME_ARM64_IF_BUILT := $(if $(shell command -v aarch64-linux-gnu-gcc && command -v qemu-aarch64),$(APP_RUNTIME_ARM64))

$(APP_RUNTIME_ARM64): android_app/dependencies.toml android_app/gradle.properties \
  $(wildcard tools/apk/*.py) $(wildcard android_app/src/host/shim/* android_app/src/host/arm64/*)
	PYTHONPATH=tools $(PYTHON) -m apk --cache $(ANDROID) --runtime $(@D) --abi arm64-v8a
	@touch $@

$(ANDROID_TESTS): android_app/dependencies.toml android_app/gradle.properties
	PYTHONPATH=tools $(PYTHON) -m apk --cache $(ANDROID) --fetch
	@touch $@

# The app for this host, with the framework of one version of Android: its tests and the virtual devices run it.
HOST_APP := build/host-app/class_path

host-app: $(HOST_APP) ## Build the Android app for this Linux host, as tests run it (gcc besides)

$(HOST_APP): $(ANDROID_TESTS) $(wildcard tools/apk/*.py) $(shell find android_app/src/main android_app/src/host -type f)
	PYTHONPATH=tools $(PYTHON) -m apk --cache $(ANDROID) --host-app $(@D)

$(TFLITE): $(TFLITE_CONSTRAINTS) | $(INSTALLED)
	$(UV) venv --quiet --clear --python $(BIN)/python $(TFLITE_ENV)
	$(UV) pip install --quiet --python $(TFLITE_ENV)/bin/python --constraint $< tensorflow-cpu
	@touch $@

wheel: $(UV) ## Build the wheel: dist/nnlite-VERSION-py3-none-any.whl
	$(UV) build --quiet --wheel --out-dir dist
	@ls dist/*.whl

# The script that draws the site's diagrams, so that a reader's browser needs no other host.
MERMAID := $(TEST_HOME)/docs/mermaid.min.js
MERMAID_VERSION := 11.6.0
MERMAID_SHA256 := 3a93016a73dc82ba890d919f9bbb176f3da9d98341650c0b517f2595cc68fef8

docs: $(INSTALLED) $(MERMAID) ## Build the documentation site: build/site/index.html
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=tools $(BIN)/mkdocs build --strict --quiet
	@echo "built $(CURDIR)/build/site/index.html"

$(MERMAID):
	@mkdir -p $(@D)
	cd $(@D) && npm pack --silent --ignore-scripts mermaid@$(MERMAID_VERSION) >/dev/null
	tar -xzOf $(@D)/mermaid-$(MERMAID_VERSION).tgz package/dist/mermaid.min.js > $@.part
	echo "$(MERMAID_SHA256)  $@.part" | sha256sum --check --quiet && mv $@.part $@
	@rm $(@D)/mermaid-$(MERMAID_VERSION).tgz

compose-test: $(INSTALLED) $(LEMUR) host-app ## Build the lab server's images and try it whole; root where no Docker engine runs
	@mkdir -p build
	PYTHONPATH=tests $(BIN)/python -m compose.campaign $(COMPOSE) 2>&1 | tee build/compose-test.log; \
	  exit $${PIPESTATUS[0]}

runtime-check: $(APP_RUNTIME) ## Build the app's TensorFlow Lite for this host, which artifacts are checked with
	@echo "To use it: export NNLITE_RUNTIME_CHECK__LIBRARY=$(CURDIR)/$(APP_RUNTIME_FOLDER)"

runtime-check-arm64: $(APP_RUNTIME_ARM64) ## The same with the library of phones, under qemu-user (Debian's gcc-aarch64-linux-gnu)
	@echo "To use it: export NNLITE_RUNTIME_CHECK__LIBRARY=$(CURDIR)/$(dir $(APP_RUNTIME_ARM64))"

runtime-check-tensorflow: $(TFLITE) ## Make an environment with TensorFlow of the app's version, to compare
	@echo "To use it: export NNLITE_RUNTIME_CHECK__RUNTIME=tensorflow NNLITE_RUNTIME_CHECK__ENVIRONMENT=$(TFLITE_ENV)"

runtime-match: $(INSTALLED) $(LEMUR) $(APP_RUNTIME) ## Run artifacts of 20 LEMUR models with the app's runtime, on the host
	$(WITH_LEMUR) PYTHONPATH=tests $(BIN)/python -m android_app.runtime_match $(MATCH)

$(LEMUR): | $(INSTALLED)
	NNLITE_HOME=$(TEST_HOME) NNLITE_LEMUR= $(BIN)/nnlite fetch

$(UPSTREAM): tests/upstream/requirements.txt | $(INSTALLED)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
	  --require-hashes --requirement $< --dest $(@D)
	@touch $@

demo: $(INSTALLED) ## Convert and measure 12 models of LEMUR on this machine
	@$(BIN)/nnlite fetch
	@$(BIN)/nnlite run --name demo $(DEMO_MODELS)

# The groups of tests that run at once: most tests wait more than they compute. Each group has servers of its own.
JOBS ?= $(shell echo $$(($$(nproc) * 4)))
PYTEST := $(BIN)/pytest
# A test run on several cores: each process of pytest-xdist has servers of its own.
ON_CORES := --numprocesses logical --maxprocesses 4 --dist worksteal

# Their temporary files are in memory where there is such a folder: on a busy disk these took half of the time.
test-fast: $(INSTALLED) ## Run the tests that need no server, no process and no download: seconds
	PYTEST_DEBUG_TEMPROOT=$(wildcard /dev/shm) $(PYTEST) -m fast $(ON_CORES) tests/unit

# These begin, so that none is left alone at the end; those of devices mostly wait.
LONGEST_GROUPS := device-starts device-faults device-phones device-others \
  integration-conversions integration-formats integration-commands

test: $(INSTALLED) $(LEMUR) $(UPSTREAM) $(RIG) $(APK) $(APP_RUNTIME) $(APP_RUNTIME_ARM64_IF_BUILT) $(HOST_APP) $(TFLITE) ## Run all tests
	@echo "$(JOBS) groups at a time; the output of each comes when it is done."
	@$(MAKE) --no-print-directory --jobs $(JOBS) --keep-going --output-sync=target \
	  $(LONGEST_GROUPS) test-integration test-unit test-devices test-end-to-end test-app

test-app: $(INSTALLED) $(LEMUR) $(APK) $(APP_RUNTIME) $(APP_RUNTIME_ARM64_IF_BUILT) $(HOST_APP) $(TFLITE) ## Run the tests of the Android app only
	$(WITH_LEMUR) $(PYTEST) tests/android_app

first-phone: $(APK) $(INSTALLED) ## Try the phone on USB, or PHONE=tcp:HOST:PORT, and write what works on it
	$(BIN)/python tools/first_phone.py $(PHONE) --apk $(APK)

ANDROID_LEVELS := 26 30 34 35

test-android-all: $(INSTALLED) $(ANDROID_TESTS) ## Run the app on the frameworks of Android 8, 11, 14 and 15
	PYTHONPATH=tools $(PYTHON) -m apk --cache $(ANDROID) --host-app $(dir $(HOST_APP)) --levels $(ANDROID_LEVELS)
	NNLITE_ANDROID_LEVELS="$(ANDROID_LEVELS)" $(PYTEST) tests/android_app/test_on_android.py

# In groups that take about the same time; those that convert have PyTorch loaded, which takes 8 s of processor time.
FORMAT_TESTS := $(addprefix tests/integration/conversion/test_,architectures.py formats.py lemur_coverage.py model_files.py preflight.py)
# The files of other runtimes are made by PyTorch, too.
RUNTIME_TESTS := tests/integration/benchmark/test_host_runtimes.py
CONVERSION_TESTS := tests/integration/conversion
COMMAND_TESTS := $(addprefix tests/integration/,benchmark cli local)
INTEGRATION_GROUPS := integration-conversions integration-formats integration-commands integration-others
.PHONY: $(INTEGRATION_GROUPS)
test-integration: $(INTEGRATION_GROUPS) ## Run the tests with real servers and processes, and of benchmarks, only
integration-conversions: tests := $(CONVERSION_TESTS) $(addprefix --ignore=,$(FORMAT_TESTS))
# Benchmarks first: they fork this process, which has PyTorch loaded, until formats' libraries start threads.
integration-formats: tests := tests/benchmarks $(FORMAT_TESTS) $(RUNTIME_TESTS)
integration-commands: tests := $(COMMAND_TESTS) --ignore=$(RUNTIME_TESTS)
integration-others: tests := tests/integration $(addprefix --ignore=,$(CONVERSION_TESTS) $(COMMAND_TESTS))
$(INTEGRATION_GROUPS): $(INSTALLED) $(LEMUR) $(APP_RUNTIME)
	$(WITH_LEMUR) $(PYTEST) $(tests)

END_TO_END_TESTS := $(wildcard tests/end_to_end/test_*.py)

# Each group in a network of its own, with a JVM of its own.
RIG_TESTS := tests/device/test_rig.py
FAULT_TESTS := tests/device/test_faults.py
START_TESTS := $(addprefix tests/device/test_,boot.py ends.py snapshots.py stops.py)
PHONE_TESTS := tests/device/test_phone.py tests/device/test_first_phone.py
OTHER_DEVICE_TESTS := $(filter-out $(RIG_TESTS) $(FAULT_TESTS) $(START_TESTS) $(PHONE_TESTS),$(wildcard tests/device/test_*.py))
DEVICE_GROUPS := device-faults device-others device-starts device-phones
.PHONY: test-app test-android-all first-phone test-integration test-devices test-end-to-end $(DEVICE_GROUPS) $(RIG_TESTS) $(END_TO_END_TESTS)
test-devices: $(DEVICE_GROUPS) $(RIG_TESTS) ## Run the tests on virtual devices only
device-faults: tests := $(FAULT_TESTS)
device-starts: tests := $(START_TESTS)
device-phones: tests := $(PHONE_TESTS)
device-others: tests := $(OTHER_DEVICE_TESTS)
$(DEVICE_GROUPS): $(INSTALLED) $(LEMUR) $(RIG) $(HOST_APP)
	$(WITH_LEMUR) PYTHONPATH=tests $(BIN)/python -m device.rig.isolation $(PYTEST) $(tests)

# The rig's own tests run only when the rig, or they, differ from what passed last here. RIG_PASSED= runs them always.
RIG_PASSED ?= $(TEST_HOME)/rig/passed.sha256
$(RIG_TESTS): $(INSTALLED) $(RIG) $(HOST_APP)
	@hash=$$(find $@ tests/device/rig tests/app_host.py android_app/src -type f ! -name '*.pyc' | sort | xargs sha256sum | sha256sum); \
	if [ -f "$(RIG_PASSED)" ] && [ "$$(cat "$(RIG_PASSED)")" = "$$hash" ]; then \
	  echo "$@: the rig is as it was when these passed"; exit; fi; \
	PYTHONPATH=tests $(BIN)/python -m device.rig.isolation $(PYTEST) $@ || exit; \
	[ -z "$(RIG_PASSED)" ] || echo "$$hash" > "$(RIG_PASSED)"

test-end-to-end: $(END_TO_END_TESTS) ## Run the tests of the whole chain on this machine only
$(END_TO_END_TESTS): $(INSTALLED) $(LEMUR)
	$(WITH_LEMUR) $(PYTEST) $@

test-unit: $(INSTALLED) $(LEMUR) $(APP_RUNTIME) ## Run the tests of single parts only
	$(WITH_LEMUR) $(PYTEST) tests/unit

# Of all processes that the tests start, forks included; COVERAGE names some tests, such as COVERAGE='-m fast tests/unit'.
COVERED := $(BIN)/coverage run $(BIN)/pytest
coverage: $(INSTALLED) $(LEMUR) $(APP_RUNTIME) $(HOST_APP) ## Measure which lines the tests run, in every process; prints the total
	rm -rf build/coverage && mkdir -p --mode=1777 build/coverage  # model code runs as an account of its own
ifdef COVERAGE
	$(WITH_LEMUR) $(COVERED) $(COVERAGE)
else
	$(MAKE) --no-print-directory test PYTEST='$(COVERED)' RIG_PASSED=
endif
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --sort=cover

lint: $(INSTALLED) ## Check style, import rules and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(INSTALLED) $(LEMUR) $(APP_RUNTIME) ## Run every benchmark (more than half an hour); prints a table, writes build/benchmarks.json
	$(WITH_LEMUR) PYTHONPATH=tests:tools $(BIN)/python -m benchmarks $(BENCH)

KUBERNETES := 1.33

kubernetes-check: $(UV) ## Check deploy/kubernetes against the schema of Kubernetes
	@$(UV) tool run --from kubernetes-validate==1.37.0 kubernetes-validate --strict --quiet \
	  --kubernetes-version $(KUBERNETES) $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*.yaml))

constraints: $(UV) ## Choose exact dependency versions (constraints.txt)
	$(UV) pip compile pyproject.toml --all-extras --python-version 3.11 --upgrade --no-header \
	  --no-emit-index-url --no-annotate --output-file constraints.txt

shapes: $(INSTALLED) $(LEMUR) $(UPSTREAM) ## Rebuild the tables of input shapes and of known code
	$(WITH_LEMUR) $(BIN)/python tools/make_shapes.py --also 2.2.11=$(UPSTREAM)
	$(WITH_LEMUR) $(BIN)/python tools/make_known_code.py

atlas: $(INSTALLED) ## Convert 1,136 networks of one operator each (about 10 minutes); writes docs/operators.md
	NNLITE_HOME=$(TEST_HOME) PYTHONPATH=tools $(BIN)/python -W ignore -m atlas $(ATLAS)

architectures: $(INSTALLED) ## Convert 86 public architectures (about 20 minutes); writes docs/architectures.md
	NNLITE_HOME=$(TEST_HOME) PYTHONPATH=tools $(BIN)/python -W ignore -m architectures

lemur-coverage: $(INSTALLED) $(LEMUR) ## Convert 430 models of LEMUR (about 90 minutes); writes docs/lemur-coverage.md
	$(WITH_LEMUR) NNLITE_HOME=$(TEST_HOME) PYTHONPATH=tools $(BIN)/python -W ignore -m lemur_coverage

schema: $(INSTALLED) ## Write the JSON Schema of reports
	$(BIN)/python tools/make_schema.py

clean: ## Remove the virtual environment, test data and caches of this checkout
	rm -rf $(VENV) $(TEST_HOME) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
