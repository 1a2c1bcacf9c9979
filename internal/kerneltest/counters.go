package kerneltest

import (
	"bufio"
	"bytes"
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
	return n.read(t, parseNstat, "netstat", "snmp")
}

// Sockstat returns the gauges of the namespace: "TCP tw" is the number of
// mini-sockets, in TIME_WAIT or parked in FIN_WAIT2, "TCP inuse" and "TCP6 inuse"
// that of full sockets. TCP's orphan, alloc and mem are those of the whole host.
func (n *NS) Sockstat(t testing.TB) map[string]uint64 {
	t.Helper()
	return n.read(t, parseSockstat, "sockstat", "sockstat6")
}

// read parses files of /proc/net of the namespace.
func (n *NS) read(t testing.TB, parse func(io.Reader, map[string]uint64) error, names ...string) map[string]uint64 {
	t.Helper()
	all := make(map[string]uint64)
	err := n.ns.Do(func() error {
		for _, name := range names {
			path := "/proc/thread-self/net/" + name
			data, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("read counters: %w", err)
			}
			if err := parse(bytes.NewReader(data), all); err != nil {
				return fmt.Errorf("parse %s: %w", path, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
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

// parseSockstat adds the values of lines like "TCP: inuse 5 orphan 0" to all.
func parseSockstat(r io.Reader, all map[string]uint64) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		group, rest, ok := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		if !ok || len(fields)%2 != 0 {
			return fmt.Errorf("unexpected line %q", lines.Text())
		}
		for i := 0; i < len(fields); i += 2 {
			v, err := strconv.ParseUint(fields[i+1], 10, 64)
			if err != nil {
				return err
			}
			all[group+" "+fields[i]] = v
		}
	}
	return lines.Err()
}
