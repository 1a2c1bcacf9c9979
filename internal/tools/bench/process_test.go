package main

import (
	"context"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// shell is a tool that says it has started and, when interrupted, that it has ended.
func shell(script string) tool {
	return tool{name: "shell", command: []string{"sh", "-c", script}, started: true, lost: lostInEnd}
}

const lossy = `trap 'kill $!; echo "{\"event\":\"end\",\"lost\":{\"ring\":7}}"; exit 0' INT
echo start
sleep 1000 >/dev/null 2>&1 &
wait`

func TestMeasure(t *testing.T) {
	kerneltest.RequireRoot(t)
	b := bench{load: loadChurn, connections: 300, workers: 2}
	for _, statistics := range []bool{false, true} {
		s, err := b.measure(t.Context(), shell(lossy), statistics)
		if err != nil {
			t.Fatal(err)
		}
		if s.Connections != 300 || s.PerSecond <= 0 || s.Statistics != statistics {
			t.Errorf("%d connections, %v a second, statistics %t", s.Connections, s.PerSecond, s.Statistics)
		}
		if s.StartNS <= 0 || s.StartCPUNS <= 0 || s.PeakRSS == 0 {
			t.Errorf("started in %v using %v, %d bytes", s.StartNS, s.StartCPUNS, s.PeakRSS)
		}
		if s.Lines != 2 || s.Lost == nil || *s.Lost != 7 || !strings.Contains(string(s.End), `"end"`) {
			t.Errorf("%d lines, lost %v, end %s", s.Lines, s.Lost, s.End)
		}
		if len(s.Programs) != 0 {
			t.Errorf("a shell has BPF programs: %+v", s.Programs)
		}
	}
}

// A tool that does not run here is left out, with its last words as the reason.
func TestChooseAbsent(t *testing.T) {
	kerneltest.RequireRoot(t)
	b := bench{load: loadChurn, connections: 100, workers: 2}
	all := []tool{
		{name: noTracer},
		shell(lossy),
		{name: "none", command: []string{"twtrace-bench-none"}},
		{name: "mute", command: []string{"sh", "-c", "echo libbpf: warning >&2; echo no tracepoints >&2; exit 3"}},
	}
	present, absent, err := b.choose(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	if len(present) != 2 || present[0].name != noTracer || present[1].name != "shell" {
		t.Errorf("present: %v", present)
	}
	if got := absent["none"]; got != "twtrace-bench-none is not installed" {
		t.Errorf("none: %q", got)
	}
	if got := absent["mute"]; !strings.HasSuffix(got, "exit status 3: no tracepoints") || strings.Contains(got, "\n") {
		t.Errorf("mute: %q", got)
	}
}

func TestStartEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := start(ctx, shell(lossy), nil)
	if err != nil {
		t.Fatal(err)
	}
	<-p.output.first
	if cpu, err := p.cpu(); err != nil || cpu <= 0 {
		t.Errorf("used %v, %v", cpu, err)
	}
	cancel()
	<-p.done
	if got := string(p.output.last()); !strings.Contains(got, `"end"`) {
		t.Errorf("interrupted, it ended with %q", got)
	}
}
