// Package internal has only tests: that imports point one way, and what ships.
package internal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/twtrace/twtrace/"

// pkg is what `go list -json` says of a package; the names are go list's. The
// rules hold for tests as well.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// rule says which packages may, or may not, import some others. Packages are
// named by their path in this module; a name ending in /... stands for all
// below it, too.
type rule struct {
	why    string
	target func(path string) bool // imports that the rule is about
	only   []string               // that may have them; if nil, all may
	never  []string               // that may not
}

var rules = []rule{{
	why:    "the vocabulary is for every program: standard library only",
	target: func(path string) bool { return !standard(path) },
	never:  []string{"internal/event"},
}, {
	why:    "few packages use the kernel's BPF",
	target: below("github.com/cilium/ebpf"),
	only:   []string{"internal/kernel", "internal/tools/bench", "internal/tracer"},
}, {
	why:    "what is right of the events has to work on a trace file, with no root and no BPF",
	target: below(module + "internal/tracer"),
	only:   []string{"cmd/...", "internal/doctor", "internal/live"},
}, {
	why:    "the engine reads any source: a kernel, files, a test",
	target: anyOf("internal/tracer", "internal/record", "internal/live", "internal/replay"),
	never:  []string{"internal/diagnose", "internal/monitor", "internal/session/..."},
}, {
	why:    "trace files are read by replay, and written by recorder",
	target: below(module + "internal/record"),
	only:   []string{"cmd/...", "internal/agent", "internal/recorder", "internal/replay", "internal/tools/...", "internal/tracer"}, // tracer: its benchmark of the pipeline
}, {
	why:    "only the commands choose the source",
	target: below(module + "internal/live"),
	only:   []string{"cmd/..."},
}, {
	why:    "only the commands, the doctor, the agent and the metrics sample a session; facts are made of tables, not of samples",
	target: below(module + "internal/monitor"),
	only:   []string{"cmd/...", "internal/agent", "internal/doctor", "internal/metrics"},
}, {
	why:    "one package knows Prometheus, and the one that answers for it how exporters are configured",
	target: below("github.com/prometheus"),
	only:   []string{"internal/agent", "internal/metrics"},
}, {
	why:    "metrics are for the commands that serve them",
	target: below(module + "internal/metrics"),
	only:   []string{"cmd/..."},
}, {
	why:    "only the commands choose the source; an agent has one, the stream of its tracer",
	target: below(module + "internal/replay"),
	only:   []string{"cmd/...", "internal/agent"},
}, {
	why:    "only the commands run an agent, or ask one",
	target: below(module + "internal/agent"),
	only:   []string{"cmd/..."},
}, {
	why:    "what speaks to strangers asks the kernel nothing",
	target: anyOf("internal/kernel", "internal/tracer", "internal/live", "internal/process"),
	never:  []string{"internal/agent"},
}, {
	why:    "one package speaks HTTP",
	target: below("net/http"),
	only:   []string{"cmd/...", "internal/agent", "internal/metrics", "internal/report", "internal/sandbox", "internal/tools/..."},
}, {
	why:    "only the commands make a diagnosis or a recording",
	target: anyOf("internal/doctor", "internal/recorder", "internal/plan"),
	only:   []string{"cmd/...", "internal/advice/e2e", "internal/doctor"},
}, {
	why: "rules find what is wrong; how a report looks, and what a setup bears, is not theirs",
	target: func(path string) bool {
		return below(module+"internal/doctor")(path) || below(module+"internal/plan")(path)
	},
	never: []string{"internal/advice"},
}, {
	why:    "the command line ends where the commands begin",
	target: below("github.com/urfave/cli"),
	only:   []string{"cmd/..."},
}, {
	why:    "a trace file may come from another host than this one",
	target: below(module + "internal/kernel"),
	never:  []string{"internal/conn", "internal/filter", "internal/output", "internal/pressure", "internal/record", "internal/report", "internal/rows", "internal/view"},
}, {
	why: "the screen and the page are for the commands: others read rows",
	target: func(path string) bool {
		return below(module+"internal/view")(path) || below(module+"internal/report")(path)
	},
	only: []string{"cmd/..."},
}, {
	why:    "only the commands start a process that is confined, and drop capabilities",
	target: below(module + "internal/sandbox"),
	only:   []string{"cmd/..."},
}, {
	why:    "one package confines processes",
	target: below("github.com/landlock-lsm"),
	only:   []string{"internal/sandbox"},
}, {
	why:    "one package draws on a terminal",
	target: below("charm.land/bubbletea"),
	only:   []string{"internal/view"},
}, {
	why:    "rows are numbers and a report is a page: neither knows of terminals",
	target: below("github.com/charmbracelet"),
	never:  []string{"internal/report", "internal/rows"},
}}

func TestImports(t *testing.T) {
	pkgs, err := list()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range violations(pkgs) {
		t.Error(v)
	}
}

// notShipped are the packages that no program which ships has in it.
var notShipped = []string{"internal/kerneltest/...", "internal/tools/...", "internal/workload/..."}

// TestNotShipped wants nothing in twtrace that is there for tests and developers.
func TestNotShipped(t *testing.T) {
	pkgs, err := list()
	if err != nil {
		t.Fatal(err)
	}
	imports := make(map[string][]string)
	for _, p := range pkgs {
		imports[p.ImportPath] = p.Imports
	}
	seen := make(map[string]bool)
	var visit func(path string)
	visit = func(path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		for _, next := range imports[path] {
			if matches(notShipped, next) {
				t.Errorf("twtrace has %s in it, which %s imports", next, path)
			}
			visit(next)
		}
	}
	visit(module + "cmd/twtrace")
	if !seen[module+"internal/event"] {
		t.Error("twtrace has no internal/event in it: this test looks at nothing")
	}
}

// TestRulesNameRealPackages: a rule about a package that was renamed guards nothing.
func TestRulesNameRealPackages(t *testing.T) {
	pkgs, err := list()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range append([]rule{{why: "not shipped", never: notShipped}}, rules...) {
		for _, name := range slices.Concat(r.only, r.never) {
			if !slices.ContainsFunc(pkgs, func(p pkg) bool { return matches([]string{name}, p.ImportPath) }) {
				t.Errorf("%s: there is no package %s", r.why, name)
			}
		}
	}
}

func TestViolations(t *testing.T) {
	tests := []struct {
		from, imports string
		bad           bool
	}{
		{"internal/event", "net/netip", false},
		{"internal/event", "golang.org/x/sys/unix", true},
		{"internal/event", module + "internal/filter", true},
		{"internal/tracer", "github.com/cilium/ebpf/link", false},
		{"internal/conn", "github.com/cilium/ebpf/link", true},
		{"cmd/twtrace", "github.com/cilium/ebpf", true},
		{"cmd/twtrace", module + "internal/tracer", false},
		{"internal/advice", module + "internal/tracer", true},
		{"internal/advice", module + "internal/doctor", true},
		{"internal/doctor", module + "internal/advice", false},
		{"internal/view", "github.com/urfave/cli/v2", true},
		{"internal/view", module + "internal/kernel", true},
		{"internal/view", module + "internal/kerneltest", false},
		{"internal/advice", module + "internal/kernel", false},
		{"cmd/twtrace", module + "internal/view", false},
		{"internal/report", module + "internal/view", true},
		{"internal/report", module + "internal/rows", false},
		{"internal/view", module + "internal/rows", false},
		{"internal/view", "charm.land/bubbletea/v2", false},
		{"internal/report", "charm.land/bubbletea/v2", true},
		{"internal/rows", "github.com/charmbracelet/x/ansi", true},
		{"internal/rows", module + "internal/report", true},
		{"internal/rows", module + "internal/kernel", true},
		{"cmd/twtrace", module + "internal/sandbox", false},
		{"internal/live", module + "internal/sandbox", true},
		{"cmd/twtrace", "github.com/landlock-lsm/go-landlock/landlock", true},
		{"internal/agent", module + "internal/kernel", true},
		{"internal/agent", module + "internal/replay", false},
		{"internal/agent", module + "internal/live", true},
		{"internal/view", module + "internal/agent", true},
		{"internal/view", "net/http", true},
		{"internal/agent", "net/http", false},
	}
	for _, tt := range tests {
		imports := []string{tt.imports}
		for what, p := range map[string]pkg{
			"code":           {Imports: imports},
			"tests":          {TestImports: imports},
			"external tests": {XTestImports: imports},
		} {
			p.ImportPath = module + tt.from
			if got := violations([]pkg{p}); len(got) > 0 != tt.bad {
				t.Errorf("%s of %s imports %s: got %q", what, tt.from, tt.imports, got)
			}
		}
	}
}

// list returns all packages of the module.
func list() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(out); ; {
		var p pkg
		if err = d.Decode(&p); err != nil {
			break
		}
		pkgs = append(pkgs, p)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	return pkgs, nil
}

// violations describes the imports that break a rule, each once.
func violations(pkgs []pkg) []string {
	found := make(map[string]bool)
	for _, p := range pkgs {
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for _, r := range rules {
				// An external test imports the package it tests.
				if path == p.ImportPath || !r.target(path) {
					continue
				}
				allowed := r.only == nil || matches(r.only, p.ImportPath)
				if !allowed || matches(r.never, p.ImportPath) {
					found[fmt.Sprintf("%s imports %s: %s", p.ImportPath, path, r.why)] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// below returns a test for the package root and those in its directories.
func below(root string) func(string) bool {
	return func(path string) bool { return path == root || strings.HasPrefix(path, root+"/") }
}

// anyOf returns a test for some packages of this module and those in their directories.
func anyOf(names ...string) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return below(module + name)(path) })
	}
}

func matches(names []string, path string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		if tree, ok := strings.CutSuffix(name, "/..."); ok {
			return below(module + tree)(path)
		}
		return path == module+name
	})
}
