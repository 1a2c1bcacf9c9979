package main

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// table is what top prints at one time.
type table struct {
	summary map[string]string // name=value behind the first #
	rows    []map[string]string
}

// readTable reads up to the empty line behind a table, or the end.
func readTable(t *testing.T, lines *bufio.Scanner) (table, bool) {
	t.Helper()
	tab := table{summary: make(map[string]string)}
	var heading []string
	for lines.Scan() && lines.Text() != "" {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#"):
			for _, f := range strings.Fields(line) {
				if name, value, ok := strings.Cut(f, "="); ok {
					tab.summary[name] = value
				}
			}
		case heading == nil:
			heading = strings.Fields(line)
		default:
			cells := strings.Fields(line)
			if len(cells) != len(heading) {
				t.Errorf("%d cells in %d columns: %s", len(cells), len(heading), line)
				continue
			}
			row := make(map[string]string)
			for i := range cells {
				row[heading[i]] = cells[i]
			}
			tab.rows = append(tab.rows, row)
		}
	}
	return tab, heading != nil
}

// sum adds up a column of numbers.
func (tab table) sum(t *testing.T, column string) int {
	t.Helper()
	n := 0
	for _, row := range tab.rows {
		v, err := strconv.Atoi(row[column])
		if err != nil {
			t.Errorf("%s of %v: %v", column, row, err)
		}
		n += v
	}
	return n
}

// TestTopTraced reads the tables until they show what the kernel shows. There is no
// terminal, so twtrace alone is the same as top -b.
func TestTopTraced(t *testing.T) {
	t.Parallel()
	for _, verb := range [][]string{{}, {"top", "-b"}} {
		t.Run(strings.Join(verb, " "), func(t *testing.T) {
			t.Parallel()
			ns := kerneltest.NetNS(t)
			ns.KeepTimeWait(t)
			cmd := command(append(verb, "-i", "100ms", "-N", ns.Path())...)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			defer expire(cmd)()
			lines := bufio.NewScanner(stdout)
			if tab, ok := readTable(t, lines); !ok || tab.sum(t, "TW") != 0 || tab.summary["time_wait"] != "0" {
				t.Errorf("before anything happened: %+v", tab)
			}
			result := connect(t, ns, connections)
			least := connections
			if kerneltest.PID1Artefact() {
				least-- // one may be hidden
			}
			var tab table
			for n := 0; n < 100 && tab.summary["time_wait"] != fmt.Sprint(connections); n++ {
				tab, _ = readTable(t, lines)
				if tab.sum(t, "TW") >= least {
					break
				}
			}
			tw := tab.sum(t, "TW")
			if alive := int(ns.Sockstat(t)["TCP tw"]); tw < least || tw > alive || tab.summary["time_wait"] != fmt.Sprint(tw) {
				t.Errorf("the rows have %d in TIME_WAIT, the kernel %d: %+v", tw, alive, tab)
			}
			checkRow(t, tab, result)
			must(t, cmd.Process.Signal(unix.SIGINT))
			for lines.Scan() {
			}
			if err := cmd.Wait(); err != nil || stderr.Len() != 0 {
				t.Errorf("%v; stderr: %s", err, stderr.String())
			}
		})
	}
}

// checkRow looks for the client, who has all the TIME_WAITs.
func checkRow(t *testing.T, tab table, result workload.Result) {
	t.Helper()
	pid := fmt.Sprint(result.Clients[0].PID)
	for _, row := range tab.rows {
		if row["PID"] == pid && row["GROUP"] == workload.ClientComm && row["ROLE"] == "client" &&
			row["RADDR"]+":"+row["RPORT"] == workload.IPv4.String() && row["TW"] != "0" {
			return
		}
	}
	t.Errorf("no row of %s[%s] to %v: %+v", workload.ClientComm, pid, workload.IPv4, tab)
}

// TestTopCount prints as many tables as asked for.
func TestTopCount(t *testing.T) {
	t.Parallel()
	o := over(t, exhausting(), "top", "-b", "-c", "2", "-i", "100ms")
	if o.code != 0 || o.stderr != "" {
		t.Errorf("exit code %d, stderr %q", o.code, o.stderr)
	}
	lines, n := bufio.NewScanner(strings.NewReader(o.stdout)), 0
	for _, ok := readTable(t, lines); ok; _, ok = readTable(t, lines) {
		n++
	}
	if n != 2 {
		t.Errorf("%d tables, want 2: %s", n, o.stdout)
	}
}
