package kerneltest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Nstat returns the counters of the namespace under the names that nstat prints:
// TcpExtTW, TcpActiveOpens, ... Gauges are in Sockstat.
func (n *NS) Nstat(t testing.TB) map[string]uint64 {
	t.Helper()
	all := make(map[string]uint64)
	for _, file := range []string{"netstat", "snmp"} {
		if err := n.read(file, func(r io.Reader) error { return parseNstat(r, all) }); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Sockstat returns the gauges of the namespace: "TCP tw" is the number of
// mini-sockets, in TIME_WAIT or parked in FIN_WAIT2. TCP's orphan, alloc and
// mem are those of the whole host.
func (n *NS) Sockstat(t testing.TB) map[string]uint64 {
	t.Helper()
	var all map[string]uint64
	err := n.read("sockstat", func(r io.Reader) (err error) {
		all, err = parseSockstat(r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// read parses a file of /proc/net of the namespace.
func (n *NS) read(name string, parse func(io.Reader) error) error {
	return n.ns.Do(func() error {
		path := "/proc/thread-self/net/" + name
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("read counters: %w", err)
		}
		defer f.Close()
		if err := parse(f); err != nil {
			return fmt.Errorf("parse %s: %w", path, err)
		}
		return nil
	})
}

// parseNstat adds the counters of a file with pairs of lines, the first with
// names and the second with values, to all. Values below 0, which only limits
// have, are left out.
func parseNstat(r io.Reader, all map[string]uint64) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		names := strings.Fields(lines.Text())
		if !lines.Scan() {
			return io.ErrUnexpectedEOF
		}
		values := strings.Fields(lines.Text())
		if len(names) == 0 || len(names) != len(values) || names[0] != values[0] {
			return fmt.Errorf("the values %.20q do not match their names", lines.Text())
		}
		group := strings.TrimSuffix(names[0], ":")
		for i := 1; i < len(names); i++ {
			if strings.HasPrefix(values[i], "-") {
				continue
			}
			v, err := strconv.ParseUint(values[i], 10, 64)
			if err != nil {
				return err
			}
			all[group+names[i]] = v
		}
	}
	return lines.Err()
}

// parseSockstat returns the values of lines like "TCP: inuse 5 orphan 0".
func parseSockstat(r io.Reader) (map[string]uint64, error) {
	all := make(map[string]uint64)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		group, rest, ok := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		if !ok || len(fields)%2 != 0 {
			return nil, fmt.Errorf("unexpected line %q", lines.Text())
		}
		for i := 0; i < len(fields); i += 2 {
			v, err := strconv.ParseUint(fields[i+1], 10, 64)
			if err != nil {
				return nil, err
			}
			all[group+" "+fields[i]] = v
		}
	}
	return all, lines.Err()
}
