package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The tool all are compared with, and the one whose BPF time is the yardstick.
const (
	noTracer  = "no tracer"
	reference = "twtrace trace"
)

// tool is one way to trace, or none.
type tool struct {
	name    string
	command []string // program and arguments; nil for no tracer
	// aliases are other names of the program: distributions differ.
	aliases []string
	within  bool // it looks only at the network namespace that it runs in
	// started reports that the first line of output comes once everything is
	// attached. Other tools keep their first lines in a buffer.
	started bool
	settles time.Duration // what it goes on to do when its programs run, before it is ready
	// lost is how many events the tool says it lost, nil if it says nothing, from
	// the end of its output and all of its errors.
	lost func(tail, stderr []byte) (*uint64, error)
}

// bpftrace prints what libbpf-tools' tcpstates does, from the same tracepoint.
const bpftraceScript = `tracepoint:sock:inet_sock_set_state /args->protocol == 6/ {
	printf("%llu %d %s %d %d %d %d\n", nsecs, pid, comm, args->sport, args->dport, args->oldstate, args->newstate);
}`

// ofTwtrace are the verbs of a twtrace program that are measured; dir is where it may
// record, and suffix tells the rows of two programs apart.
func ofTwtrace(program, dir, suffix string) []tool {
	file := filepath.Join(dir, "trace"+suffix+".ndjson.zst")
	return []tool{
		{name: reference + suffix, command: []string{program, "trace", "-o", "json"}, started: true, lost: lostInEnd},
		{name: "twtrace top" + suffix, command: []string{program, "top", "-b"}, lost: lostInTable},
		{name: "twtrace serve" + suffix, command: []string{program, "serve", "--socket", filepath.Join(dir, "agent"+suffix+".sock")}, settles: 3 * time.Second},
		{name: "twtrace record" + suffix, command: []string{program, "record", "--force", "-w", file}, lost: lostInSummary},
	}
}

// tools returns what there is to compare, or some of it; twtrace is the path of the
// program, before that of another twtrace to compare with ("" if there is none), and dir
// where they may record.
func tools(twtrace, before, dir, only string) ([]tool, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	all := append([]tool{{name: noTracer}}, ofTwtrace(twtrace, dir, "")...)
	if before != "" {
		all = append(all, ofTwtrace(before, dir, " before")...)
	}
	all = append(all, []tool{
		{name: "tcplife", command: []string{"tcplife"}, aliases: []string{"bpf-tcplife"}, lost: lostInErrors},
		{name: "tcpstates", command: []string{"tcpstates"}, aliases: []string{"bpf-tcpstates"}, lost: lostInErrors},
		{name: "bpftrace", command: []string{"bpftrace", "-e", bpftraceScript}, lost: lostInErrors},
		{name: "nothing", command: []string{self, floor}, started: true},
		{name: "ss -tan", command: []string{self, poll}, started: true, within: true},
	}...)
	if only == "" {
		return all, nil
	}
	wanted := append(strings.Split(only, ","), noTracer, reference)
	return slices.DeleteFunc(all, func(t tool) bool { return !slices.Contains(wanted, t.name) }), nil
}

// find returns the path of the program. Debian keeps the libbpf-tools in
// /usr/sbin, which is not in everybody's PATH.
func (t tool) find() (string, error) {
	for _, name := range append([]string{t.command[0]}, t.aliases...) {
		for _, dir := range []string{"", "/usr/sbin/"} {
			if path, err := exec.LookPath(dir + name); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not installed", t.command[0])
}

// lostInEnd adds up the losses in twtrace's end record.
func lostInEnd(tail, _ []byte) (*uint64, error) {
	var end struct {
		Event string
		Lost  map[string]uint64 `json:"lost_by_stage"`
		Was   map[string]uint64 `json:"lost"` // of a twtrace before schema 2, to compare with
	}
	if err := json.Unmarshal(lastLine(tail), &end); err != nil {
		return nil, fmt.Errorf("read the end record: %w", err)
	}
	if end.Event != "end" {
		return nil, errors.New("the last record is no end record")
	}
	var sum uint64
	for _, n := range end.Lost {
		sum += n
	}
	for _, n := range end.Was {
		sum += n
	}
	return &sum, nil
}

// lostInTable takes the losses from the head of the last table of top, if there was time
// for one.
func lostInTable(tail, _ []byte) (*uint64, error) {
	if !lostSoFar.Match(tail) {
		return nil, nil
	}
	return lastNumber(lostSoFar, tail)
}

var lostSoFar = regexp.MustCompile(`\blost(?:_total)?=(\d+)`)

// lostInSummary takes the losses from what record says at its end.
func lostInSummary(_, stderr []byte) (*uint64, error) { return lastNumber(lostInAll, stderr) }

var lostInAll = regexp.MustCompile(`\b([\d,]+) lost`)

// lastNumber is what re has caught last.
func lastNumber(re *regexp.Regexp, text []byte) (*uint64, error) {
	all := re.FindAllSubmatch(text, -1)
	if len(all) == 0 {
		return nil, errors.New("it does not say how many events it lost")
	}
	n, err := strconv.ParseUint(strings.ReplaceAll(string(all[len(all)-1][1]), ",", ""), 10, 64)
	return &n, err
}

// lostEvents is what libbpf-tools print when the perf buffer was full.
var lostEvents = regexp.MustCompile(`(?i)lost (\d+) events`)

func lostInErrors(_, stderr []byte) (*uint64, error) {
	var sum uint64
	for _, m := range lostEvents.FindAllSubmatch(stderr, -1) {
		n, err := strconv.ParseUint(string(m[1]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the losses: %w", err)
		}
		sum += n
	}
	return &sum, nil
}
