# make help lists what there is to make. Root is asked for only where it is needed.

ARGS    ?=#         for twtrace: make run ARGS="trace -o json"
KERNELS ?= bullseye,bookworm,trixie,sid#  for test-vm: some of these (5.10, 6.1, 6.12, 7.x)
HOOKS   ?= fentry,timer#  for test-vm: or one of them
RACE    ?=#         for test: 1 for the race detector, which needs a C compiler
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)

MODULE  := github.com/twtrace/twtrace
BUILD   := -trimpath -buildvcs=false -ldflags '-s -w $(if $(VERSION),-X main.version=$(VERSION)) $(if $(COMMIT),-X main.commit=$(COMMIT))'
BPF     := $(wildcard bpf/*.c bpf/*.h)
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo)
AS_ROOT := $(if $(SUDO),-exec='sudo -E env PATH=$(PATH)')#  how go runs what it has built

# Debian packages. No test needs clang: what it makes is committed.
TO_GENERATE := clang-19 llvm-19
TO_LINT     := clang-format-19
TO_TEST     := curl fish iproute2 jq nftables procps screen systemd tmux util-linux zsh zstd
TO_RACE     := gcc libc6-dev
TO_INTEROP  := $(TO_TEST) chromium
TO_PLAY     := $(TO_TEST) apache2-utils mariadb-client mariadb-server-core nginx python3 redis-tools wrk $(if $(shell command -v node),,nodejs)
TO_TEST_VM  := $(TO_TEST) qemu-system-x86 xz-utils debian-archive-keyring

# Go packages: the one whose tests run twtrace at full speed, which the race detector and
# company would slow until it loses events; others whose tests need root, or may: they
# import kerneltest; the one that checks all of them, and builds twtrace again: last, when
# all is compiled; the rest. The shell lists them, once make has said what it does.
END_TO_END   := $(MODULE)/cmd/twtrace
OF_ALL       := $(MODULE)/internal
FRAMES       := $(MODULE)/internal/view#  of every width: minutes with the race detector, and no goroutine in them; needs root
LIST         := go list -f '{{.ImportPath}}{{range .TestImports}} {{.}}{{end}}{{range .XTestImports}} {{.}}{{end}}' ./... | grep -vE '^($(END_TO_END)|$(OF_ALL)) '
NEEDS_ROOT   := '^[^ ]*/internal/kernel( |$$)|/internal/(kerneltest|workload)( |$$)'
PRIVILEGED   := $$($(LIST) | grep -E $(NEEDS_ROOT) | cut -d' ' -f1$(if $(RACE), | grep -vx '$(FRAMES)'))
UNPRIVILEGED := $$($(LIST) | grep -vE $(NEEDS_ROOT) | cut -d' ' -f1)

# The name of a test says where it runs. TestSlow... takes more than a minute, or all CPUs
# for half of one; TestInterop... needs Chromium or DuckDB; TestScenario... needs servers.
# All others are what make test runs.
APART := ^Test(Slow|Interop|Scenario)

# What the kernel matrix repeats on stock kernels, and which tests of it (all, unless
# given): those that depend on what the kernel does.
IN_VM       := cmd/twtrace internal/kerneltest internal/kernel
RUN_twtrace := ^Test(OldKernel|Life|SlowMillion|Hotplug|Owners|StatesTraced|Reuse|OverflowTraced|Reason|HiddenTraced|SlowStartInChurn|EstablishedBeforeTraced|ParkedBeforeTraced|MaxConns|NamespacesComeAndGo|ExhaustTraced|ENFILE|KeepAlive)$$
GUEST_TOOLS := cat getconf nsenter readlink setpriv sleep sysctl uname unshare
GUEST_FILES := $(foreach d,$(wildcard $(IN_VM:=/testdata)),--file $(d):/test/$(notdir $(d:/testdata=))/testdata) \
               $(foreach t,$(GUEST_TOOLS),--file $$(command -v $(t)):/usr/local/bin/$(t))

# Fails early, with what to do, where sudo is needed and missing.
check_root = [ -z "$(SUDO)" ] || command -v sudo >/dev/null || \
	{ echo "make $@: needs root, and there is no sudo: run it as root" >&2; exit 1; }

install = sh internal/tools/install.sh "make $@" $(sort $(1))
testrun = go run ./internal/tools/testrun --name "make $@" --

.NOTPARALLEL:
.PHONY: help run build demo deps generate vmlinux.h test test-slow test-interop scenarios test-vm lint fmt bench bench-go clean

help: ## Print this list
	@sed -n 's/^\([a-z][a-z.-]*\):.*## /\1\t/p' Makefile | expand -t 15

run: build ## Build twtrace and open the live view, as root
	@$(check_root)
	$(SUDO) bin/twtrace $(ARGS)

build: ## Build bin/twtrace, one static file
	CGO_ENABLED=0 go build $(BUILD) -o bin/twtrace ./cmd/twtrace

demo: build ## Watch a storm of connections in a network namespace of its own
	@$(check_root)
	$(SUDO) bin/twtrace demo $(ARGS)

test: ## Install what the tests need (apt, 15 MB), and run those that every change should pass: about 15 min
	@$(check_root)
	@echo "make test: compiles, and runs the tests of each package: about 15 min on two CPUs. Where nothing"
	@echo "make test: is printed for 15 s, it prints which tests run. The results are at the end."
	@$(call install,$(TO_TEST) $(if $(RACE),$(TO_RACE)))
	@$(testrun) $(if $(RACE),-race) $(UNPRIVILEGED) \
		$(if $(RACE),--and-- -race -short -count=1 $(AS_ROOT) $(FRAMES) --and-- -run=^TestFrames -count=1 $(AS_ROOT) $(FRAMES)) \
		--and-- $(if $(RACE),-race) -count=1 -timeout=10m $(AS_ROOT) $(PRIVILEGED) \
		--and-- -count=1 -timeout=20m -parallel=4 -skip='$(APART)' $(AS_ROOT) $(END_TO_END) \
		--and-- $(OF_ALL)

test-slow: ## Run the tests that take long: a million connections, 3,000 processes, and others (7 min)
	@$(check_root)
	@$(call install,$(TO_TEST))
	@$(testrun) -count=1 -timeout=30m -parallel=4 -run=^TestSlow $(AS_ROOT) $(END_TO_END)

test-interop: ## Have Chromium and axe-core (npm) read the report, and DuckDB (npm), jq and zstd what is recorded (3 min)
	@$(check_root)
	@$(call install,$(TO_INTEROP) $(if $(shell command -v npm),,nodejs npm))
	@[ -d $(DUCKDB)/node_modules ] || { echo "make $@: installing DuckDB with npm in $(DUCKDB), 70 MB"; \
		npm ci --prefix $(DUCKDB) --cache bin/npm --ignore-scripts --no-audit --no-fund --silent; }
	@[ -d $(AXE)/node_modules ] || { echo "make $@: installing axe-core with npm in $(AXE), 4 MB"; \
		npm ci --prefix $(AXE) --cache bin/npm --ignore-scripts --no-audit --no-fund --silent; }
	@$(testrun) -count=1 -timeout=15m -run=^TestInterop $(AS_ROOT) $(END_TO_END)

# These are on npm alone; the locks have the versions.
DUCKDB := internal/record/testdata/duckdb
AXE    := cmd/twtrace/testdata/axe

scenarios: ## Run MariaDB, Redis, nginx and others, and see that storms are flagged, and nothing else (5 min)
	@$(check_root)
	@$(call install,$(TO_PLAY))
	@$(testrun) -count=1 -timeout=15m -parallel=32 -run=^TestScenario $(AS_ROOT) $(END_TO_END)

# The time in a guest is its own: its timeouts do not depend on how busy this machine is.
test-vm: ## Run the tests that depend on the kernel in a VM, on KERNELS with HOOKS (30 min); bin/matrix.md is docs/matrix.md
	@$(call install,$(TO_TEST_VM))
	@mkdir -p bin/test
	CGO_ENABLED=0 go test -c -o bin/test/ $(addprefix ./,$(IN_VM))
	go run ./internal/tools/vm matrix --kernels $(KERNELS) --hooks $(HOOKS) \
		--mem 4096 --timeout 2h --markdown bin/matrix.md \
		--env CI=true --env TWTRACE_VM=1 $(GUEST_FILES) -- $(wordlist 2,99,$(foreach p,$(notdir $(IN_VM)), \
		--and-- bin/test/$(p).test -test.v -test.timeout 20m -test.parallel 64 -test.run '$(RUN_$(p))'))

lint: ## Check formatting, go vet, staticcheck and the direction of imports
	@$(call install,$(TO_LINT))
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not formatted (make fmt):" $$files >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	clang-format-19 --dry-run -Werror $(BPF)
	go test ./internal

fmt: ## Format Go and C
	@$(call install,$(TO_LINT))
	gofmt -w .
	clang-format-19 -i $(BPF)

generate: ## Make what is generated: the BPF objects, their Go types, docs/records
	@$(call install,$(TO_GENERATE))
	go generate ./...

vmlinux.h: ## Make vmlinux.h from Debian's kernel
	@$(call install,bpftool $(TO_TEST_VM))
	go run ./internal/tools/vm vmlinux --kernel trixie -o $@

deps: ## Install all packages that any of these needs (apt)
	@$(call install,$(TO_GENERATE) $(TO_LINT) $(TO_RACE) $(TO_INTEROP) $(TO_PLAY) $(TO_TEST_VM) $(if $(shell command -v npm),,nodejs npm))

bench: ## Compare what tracers cost (ARGS=-h: how)
	@$(check_root)
	go run $(AS_ROOT) ./internal/tools/bench $(ARGS)

# Each stage by itself, and BenchmarkPipeline all of them from a ring that is always full.
STAGES := $(addprefix ./internal/,tracer process conn pressure storm output record)
bench-go: ## Run the Go benchmarks of each stage (ARGS="-count 10 >old": for benchstat)
	go test -run '^$$' -bench . -benchmem $(ARGS) $(STAGES)

# Go's own caches are not ours: go clean -cache -testcache.
KERNEL_CACHE := $(or $(TWTRACE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/twtrace)
clean: ## Remove what was built, DuckDB, and the kernels that test-vm has fetched (~/.cache/twtrace)
	rm -rf bin $(DUCKDB)/node_modules $(KERNEL_CACHE)
