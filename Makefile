# make help tells what there is to make. Root is asked for only where it is needed.

ARGS    ?=#         for twtrace: make run ARGS="trace -o json"
KERNELS ?= bullseye,bookworm,trixie,sid#  for test-vm: some of these (5.10, 6.1, 6.12, 7.x)
HOOKS   ?= fentry,timer#  for test-vm: or one of them
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)

MODULE  := github.com/twtrace/twtrace
BUILD   := -trimpath -buildvcs=false -ldflags '-s -w $(if $(VERSION),-X main.version=$(VERSION))'
BPF     := $(wildcard bpf/*.c bpf/*.h)
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo)
AS_ROOT := $(if $(SUDO),-exec 'sudo -E env PATH=$(PATH)')#  how go runs what it has built
RACE     = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)#  needs a C compiler
APT     := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends

# Debian packages.
TO_GENERATE := clang-19 llvm-19
TO_LINT     := clang-format-19
TO_TEST     := chromium gcc libc6-dev curl iproute2 jq nftables perl-base procps util-linux libc-bin tmux zstd
TO_PLAY     := $(TO_TEST) apache2-utils mariadb-server nginx-light perl redis-server wrk
TO_TEST_VM  := $(TO_TEST) qemu-system-x86 xz-utils debian-archive-keyring

# Go packages: those whose tests run twtrace at full speed, which the race detector and
# company would slow until it loses events; others whose tests need root; the rest.
END_TO_END   := $(MODULE)/cmd/twtrace
PRIVILEGED   := $(addprefix $(MODULE)/internal/,advice kernel kerneltest process workload workload/bench)
FRAMES       := $(MODULE)/internal/view#  of every width: minutes with the race detector, and no goroutine in them
UNPRIVILEGED  = $(filter-out $(END_TO_END) $(PRIVILEGED),$(shell go list ./...))

# What the kernel matrix repeats on stock kernels, and which tests of it (all, unless
# said): those that depend on what the kernel does.
IN_VM       := cmd/twtrace internal/kerneltest internal/kernel
RUN_twtrace := ^Test(OldKernel|Life|Million|Hotplug|Owners|States|Reuse|Overflow|Reason|Hidden|StartInChurn|EstablishedBefore|ParkedBefore|MaxConns|NamespacesComeAndGo|Exhaust|ENFILE|KeepAlive)$$
GUEST_TOOLS := cat getconf nsenter readlink setpriv sleep sysctl uname unshare
GUEST_FILES := $(foreach d,$(wildcard $(IN_VM:=/testdata)),--file $(d):/test/$(notdir $(d:/testdata=))/testdata) \
               $(foreach t,$(GUEST_TOOLS),--file $$(command -v $(t)):/usr/local/bin/$(t))

# Fails early, with what to do, where sudo is needed and missing.
check_root = [ -z "$(SUDO)" ] || command -v sudo >/dev/null || \
	{ echo "make $@: needs root, and there is no sudo: run it again as root" >&2; exit 1; }

# Installs those of the packages that are missing. The package lists are fetched only if
# it does not work without.
install = missing=$$(for p in $(sort $(1)); do \
	dpkg-query -W -f '$${db:Status-Status}\n' $$p 2>/dev/null | grep -qx installed || echo $$p; done); \
	[ -z "$$missing" ] || { $(check_root); echo "installing" $$missing; \
	$(APT) install $$missing 2>/dev/null || { $(APT) update && $(APT) install $$missing; }; }

# The same for packages that bring servers: a policy keeps these from being started, as
# long as it lasts. The tests start their own.
POLICY := /usr/sbin/policy-rc.d
install_stopped = $(check_root); made=; \
	[ -e $(POLICY) ] || { made=$(POLICY); printf '\043!/bin/sh\nexit 101\n' | $(SUDO) tee $$made >/dev/null; $(SUDO) chmod +x $$made; }; \
	trap '[ -z "$$made" ] || $(SUDO) rm -f $$made' EXIT; $(call install,$(1))

.NOTPARALLEL:
.PHONY: duckdb help run build demo deps generate vmlinux.h test test-unit test-root scenarios test-vm lint fmt bench bench-go clean

help: ## Print this list
	@sed -n 's/^\([a-z][a-z.-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: build ## Build twtrace and open the live view, as root
	@$(check_root)
	$(SUDO) bin/twtrace $(ARGS)

build: ## Build bin/twtrace, one static file
	CGO_ENABLED=0 go build $(BUILD) -o bin/twtrace ./cmd/twtrace

demo: build ## Watch a storm of connections in a network namespace of its own
	@$(check_root)
	$(SUDO) bin/twtrace demo $(ARGS)

deps: ## Install what generate, lint and test need and this machine lacks (apt)
	@$(call install_stopped,$(TO_GENERATE) $(TO_LINT) $(TO_PLAY) $(TO_TEST_VM))

generate: ## Make what is generated: the BPF objects, their Go types, docs/records
	@$(call install,$(TO_GENERATE))
	go generate ./...

vmlinux.h: ## Make vmlinux.h from Debian's kernel
	@$(call install,bpftool $(TO_TEST_VM))
	go run ./internal/kerneltest/vm vmlinux --kernel trixie -o $@

# The VM gets what the other tests leave of the CPUs: most of these wait most of the time,
# and a guest does not notice that it has to.
test: ## Install what tests need, and run all of them
	@$(call install_stopped,$(TO_PLAY) $(TO_TEST_VM))
	@mkdir -p bin; nice -n 19 $(MAKE) test-vm >bin/test-vm.log 2>&1 & vm=$$!; \
	$(MAKE) test-unit test-root scenarios; host=$$?; \
	echo "test-vm, meanwhile:"; wait $$vm; vm=$$?; cat bin/test-vm.log; \
	exit $$((host ? host : vm))

test-unit: ## Run the tests that need no privilege
	@$(call install,$(TO_TEST))
	CI=true go test $(RACE) $(filter-out $(FRAMES),$(UNPRIVILEGED))
	CI=true go test $(RACE) -short $(FRAMES)
	CI=true go test -run '^TestFrames' $(FRAMES)

# DuckDB is on npm alone; the lock says what exactly.
DUCKDB := internal/record/testdata/duckdb
duckdb:
	@command -v npm >/dev/null || { $(call install,nodejs npm); }
	@[ -d $(DUCKDB)/node_modules ] || npm ci --prefix $(DUCKDB) --ignore-scripts --no-audit --no-fund --silent

test-root: duckdb ## Run the tests that need root, on this kernel
	@$(check_root)
	@$(call install_stopped,$(TO_PLAY))
	CI=true go test $(RACE) -count=1 -timeout 15m $(AS_ROOT) $(PRIVILEGED)
	CI=true go test -count=1 -timeout 50m -skip '^TestScenarios$$' $(AS_ROOT) $(END_TO_END)

scenarios: ## Run MariaDB, Redis, nginx and others, and see that storms are flagged, and nothing else
	@$(check_root)
	@$(call install_stopped,$(TO_PLAY))
	CI=true go test -count=1 -timeout 15m -parallel 32 -run '^TestScenarios$$' $(AS_ROOT) $(END_TO_END)

# The time in a guest is its own: its timeouts do not depend on how busy this machine is.
test-vm: ## Run the tests that depend on the kernel in a VM, on KERNELS with HOOKS; bin/matrix.md is docs/matrix.md
	@$(call install,$(TO_TEST_VM))
	@mkdir -p bin/test
	CGO_ENABLED=0 go test -c -o bin/test/ $(addprefix ./,$(IN_VM))
	go run ./internal/kerneltest/vm matrix --kernels $(KERNELS) --hooks $(HOOKS) \
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

bench: ## Compare what tracers cost (ARGS=-h: how)
	@$(check_root)
	go run $(AS_ROOT) ./internal/workload/bench $(ARGS)

# Each stage by itself, and BenchmarkPipeline all of them from a ring that is always full.
STAGES := $(addprefix ./internal/,tracer process conn pressure storm output record)
bench-go: ## Run the Go benchmarks of each stage (ARGS="-count 10 >old": for benchstat)
	go test -run '^$$' -bench . -benchmem $(ARGS) $(STAGES)

clean: ## Remove what was built
	rm -rf bin
