package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
	// lost is how many events the tool says it lost, nil if it says nothing, from
	// the last line of its output and all of its errors.
	lost func(last, stderr []byte) (*uint64, error)
}

// bpftrace prints what libbpf-tools' tcpstates does, from the same tracepoint.
const bpftraceScript = `tracepoint:sock:inet_sock_set_state /args->protocol == 6/ {
	printf("%llu %d %s %d %d %d %d\n", nsecs, pid, comm, args->sport, args->dport, args->oldstate, args->newstate);
}`

// tools returns what there is to compare, or some of it; twtrace is the path of the
// program.
func tools(twtrace, only string) ([]tool, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	all := []tool{
		{name: noTracer},
		{name: reference, command: []string{twtrace, "trace", "-o", "json"}, started: true, lost: lostInEnd},
		{name: "twtrace top", command: []string{twtrace, "top", "-b"}},
		{name: "tcplife", command: []string{"tcplife"}, aliases: []string{"bpf-tcplife"}, lost: lostInErrors},
		{name: "tcpstates", command: []string{"tcpstates"}, aliases: []string{"bpf-tcpstates"}, lost: lostInErrors},
		{name: "bpftrace", command: []string{"bpftrace", "-e", bpftraceScript}, lost: lostInErrors},
		{name: "nothing", command: []string{self, floor}, started: true},
		{name: "ss -tan", command: []string{self, poll}, started: true, within: true},
	}
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
func lostInEnd(last, _ []byte) (*uint64, error) {
	var end struct {
		Event string
		Lost  map[string]uint64
	}
	if err := json.Unmarshal(last, &end); err != nil {
		return nil, fmt.Errorf("read the end record: %w", err)
	}
	if end.Event != "end" {
		return nil, errors.New("the last record is no end record")
	}
	var sum uint64
	for _, n := range end.Lost {
		sum += n
	}
	return &sum, nil
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
