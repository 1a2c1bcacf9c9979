package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// module with one package for each way in which tests end.
var sample = map[string]string{
	"go.mod":           "module sample\n\ngo 1.24\n",
	"good/good.go":     "package good\n",
	"good/a_test.go":   "package good\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {}\n\nfunc TestB(t *testing.T) {}\n",
	"none/none.go":     "package none\n",
	"broken/a_test.go": "package broken\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { nothing() }\n",
	"panics/a_test.go": "package panics\n\nimport \"testing\"\n\nfunc TestP(t *testing.T) { panic(\"bang\") }\n",
	"exits/a_test.go":  "package exits\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestX(t *testing.T) { os.Exit(3) }\n",
	"bad/a_test.go": `package bad

import "testing"

func TestGood(t *testing.T) { t.Log("not shown") }

func TestBad(t *testing.T) {
	t.Run("one case", func(t *testing.T) { t.Error("got 1, want 2") })
	t.Run("another", func(t *testing.T) {})
}

func TestSkipped(t *testing.T) {
	t.Run("here", func(t *testing.T) { t.Skip("needs a tool (apt-get install tool)") })
}
`,
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	for name, text := range sample {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	goTest := func(packages ...string) (r *runner, out string) {
		var b bytes.Buffer
		r = &runner{out: &b, results: newResults(), start: time.Now()}
		r.goTest(arguments{[]string{"-count=1", "-exec=env A=b"}, packages})
		r.results.summarize(&b, "make test", 61*time.Second)
		return r, b.String()
	}
	for name, tt := range map[string]struct {
		packages []string
		passed   bool
		want     []string
		not      string
	}{
		"good": {[]string{"./good", "./none"}, true, []string{"\nok  \tsample/good\t", "PASS: make test: 2 tests passed, 0 failed, 0 skipped, in 1 min 1 s\n"}, "none"},
		"bad": {[]string{"./bad", "./good"}, false, []string{
			"    a_test.go:8: got 1, want 2\n", "\nFAIL\tsample/bad\t", "\n--- SKIP: TestSkipped/here (0.00s)\n    skipped: needs a tool (apt-get install tool)\n",
			"\n--- FAIL: TestBad/one_case (0.00s)\n    run it again: go test -count=1 '-exec=env A=b' '-run=^TestBad$/^one_case$' sample/bad\n",
			"\nFAIL: make test: 4 tests passed, 1 failed, 0 skipped"}, "not shown"},
		"broken":   {[]string{"./broken"}, false, []string{"undefined: nothing", "--- FAIL: package sample/broken\n    run it again: go test -count=1 '-exec=env A=b' sample/broken\n"}, ""},
		"panics":   {[]string{"./panics"}, false, []string{"panic: bang", "--- FAIL: TestP (0.00s)\n    run it again"}, ""},
		"exits":    {[]string{"./exits"}, false, []string{"--- FAIL: TestX (", "FAIL\tsample/exits"}, ""},
		"no such":  {[]string{"./nowhere"}, false, []string{"FAIL: make test: 0 tests passed"}, ""},
		"no tests": {[]string{"./none"}, true, []string{"PASS: make test: 0 tests passed"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, out := goTest(tt.packages...)
			if r.results.passed() != tt.passed {
				t.Errorf("passed: %v", r.results.passed())
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is missing", want)
				}
			}
			if tt.not != "" && strings.Contains(out[strings.IndexByte(out, '\n'):], tt.not) {
				t.Errorf("%q is there", tt.not)
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	start := time.Unix(1000, 0)
	rs := newResults()
	if got := rs.running(start, 7*time.Second); got != "compiling; 7 s so far" {
		t.Errorf("at first %q", got)
	}
	for _, e := range []goEvent{
		{Action: "start", Package: module + "/cmd/twtrace"},
		{Action: "run", Package: module + "/cmd/twtrace", Test: "TestDone"},
		{Action: "pass", Package: module + "/cmd/twtrace", Test: "TestDone"},
		{Action: "run", Package: module + "/cmd/twtrace", Test: "TestLong"},
		{Action: "run", Package: module + "/cmd/twtrace", Test: "TestLong/part"},
		{Action: "run", Package: module + "/cmd/twtrace", Test: "TestWaits"},
		{Action: "pause", Package: module + "/cmd/twtrace", Test: "TestWaits"},
	} {
		rs.take(arguments{}, e, start)
	}
	const want = "./cmd/twtrace: 1 done, running TestLong (12 s); 1 min 12 s so far"
	if got := rs.running(start.Add(12*time.Second), 72*time.Second); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParse(t *testing.T) {
	name, runs, err := parse([]string{"--name", "make x", "--", "-race", "./a", "./b", "--and--", "-run=^T$", "./c"})
	if err != nil || name != "make x" || len(runs) != 2 || !slices.Equal(runs[0].packages, []string{"./a", "./b"}) ||
		!slices.Equal(runs[0].flags, []string{"-race"}) || !slices.Equal(runs[1].flags, []string{"-run=^T$"}) {
		t.Errorf("got %q, %+v, %v", name, runs, err)
	}
	for _, bad := range [][]string{{}, {"./a"}, {"--", "-race"}, {"--name", "--", "./a"}, {"--", "./a", "--and--"}} {
		if _, _, err := parse(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
