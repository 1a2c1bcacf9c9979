package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// duckdb is where `make test-interop` installs DuckDB.
const duckdb = "../../internal/record/testdata/duckdb"

// tally is what a group of records amounts to.
type tally struct{ N, Life uint64 }

// counts are the tallies of groups, by their names.
type counts map[string]tally

// decodeCounts reads rows as the queries below make them.
func decodeCounts(t *testing.T, rows []byte) counts {
	t.Helper()
	all := make(counts)
	for line := range strings.Lines(string(rows)) {
		var row struct {
			Name    string
			N, Life json.Number
		}
		must(t, json.Unmarshal([]byte(line), &row))
		var c tally
		_, err := fmt.Sscan(row.N.String()+" "+row.Life.String(), &c.N, &c.Life)
		must(t, err)
		all[row.Name] = c
	}
	return all
}

// ask has DuckDB answer a query about a table.
func ask(t *testing.T, from, name, where string) counts {
	t.Helper()
	query := fmt.Sprintf(`select %s as name, count(*)::varchar as n, coalesce(sum(life_ns), 0)::varchar as life from %s where %s group by 1`, name, from, where)
	out, err := exec.Command("node", filepath.Join(duckdb, "query.mjs"), query).Output()
	if err != nil {
		t.Fatalf("DuckDB: %v: %s", err, stderrOf(err))
	}
	return decodeCounts(t, out)
}

func stderrOf(err error) string {
	if exit, ok := err.(*exec.ExitError); ok {
		return string(exit.Stderr)
	}
	return ""
}

// requireDuckDB skips the test without DuckDB, and fails it if CI is set.
func requireDuckDB(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(duckdb, "node_modules")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("needs DuckDB (make test-interop installs it), and CI has to run it")
		}
		t.Skip("needs DuckDB (make test-interop installs it)")
	}
}

// jqEvents has jq count the records of a trace file by event.
func jqEvents(t *testing.T, file string) counts {
	t.Helper()
	const program = `reduce inputs as $r ({}; .[$r.event].n += 1 | .[$r.event].life += ($r.life_ns // 0)) | to_entries[]
		| {name: .key, n: (.value.n | tostring), life: (.value.life | tostring)}`
	cmd := exec.Command("sh", "-c", `zstd -dcq "$1" | jq -nc "$2"`, "sh", file, program)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("jq: %v: %s", err, stderrOf(err))
	}
	return decodeCounts(t, out)
}

// readerEvents is the same as this program's reader has it.
func readerEvents(t *testing.T, file string) counts {
	t.Helper()
	all := make(counts)
	for _, e := range readAll(t, file) {
		c := all[e.Kind.String()]
		c.N, c.Life = c.N+1, c.Life+uint64(e.Life)
		all[e.Kind.String()] = c
	}
	return all
}

// summaryRow is a row of `trace --summary`.
type summaryRow struct {
	Role, Raddr string
	Rport       uint16
	Opened      uint64 `json:"opens_total"`
	Begins      uint64 `json:"time_wait_enters_total"`
	Closed      uint64 `json:"closes_total"`
}

// TestInteropMillionRecords: a file of a million records is one to zstd, jq and DuckDB, who
// count and add up the same as this program, and so is the Parquet made of it.
func TestInteropMillionRecords(t *testing.T) {
	kerneltest.RequireTool(t, "jq", "jq")
	kerneltest.RequireTool(t, "zstd", "zstd")
	kerneltest.RequireTool(t, "node", "nodejs")
	requireDuckDB(t)
	const connections = 260000 // of two records an end
	ns := churnNS(t)
	ns.KeepTimeWait(t)
	r := startRecording(t, t.TempDir(), "-N", ns.Path(), "--buffer", "64M", "--max-conns", "1000000")
	c := churn
	c.Connections, c.To = connections, workload.Destinations(20, 4)
	_, err := c.Scenario().Run(t.Context(), ns.Path())
	must(t, err)
	allBegun(t, ns, births(t, ns))
	r.stop()
	if r.told() < 1000000 {
		t.Fatalf("%d records: %s", r.told(), r.stderr.String())
	}
	file := r.files()[0]
	st, err := os.Stat(file)
	must(t, err)
	t.Logf("%d records in %d bytes: %.1f each", r.told(), st.Size(), float64(st.Size())/float64(r.told()))
	if out, err := exec.Command("zstd", "-tq", file).CombinedOutput(); err != nil {
		t.Errorf("zstd -t: %v: %s", err, out)
	}
	table := filepath.Join(t.TempDir(), "t.parquet")
	if _, stderr, code := twtrace(t, "convert", "-r", file, "-w", table); code != 0 {
		t.Fatalf("convert: exit code %d: %s", code, stderr)
	}
	lines := fmt.Sprintf(`read_json('%s', format='newline_delimited', compression='zstd', columns={event: 'VARCHAR', life_ns: 'BIGINT',
		role: 'VARCHAR', raddr: 'VARCHAR', rport: 'USMALLINT'})`, file)
	parquet := "'" + table + "'"

	want := readerEvents(t, file)
	sum := uint64(0)
	for _, c := range want {
		sum += c.N
	}
	if sum != uint64(r.told()) {
		t.Errorf("the reader has %d records, want the %d of the recorder", sum, r.told())
	}
	same(t, "jq", jqEvents(t, file), want)
	same(t, "DuckDB", ask(t, lines, "event", "true"), want)
	delete(want, "parked") // no records, and so not in a table
	delete(want, "held")
	same(t, "DuckDB of Parquet", ask(t, parquet, "event", "true"), want)

	begins := make(counts)
	var opened, begun, closed uint64
	for _, row := range summaryOf(t, file) {
		opened, begun, closed = opened+row.Opened, begun+row.Begins, closed+row.Closed
		if row.Role == "client" && row.Begins > 0 {
			begins[fmt.Sprint(row.Raddr, " ", row.Rport)] = tally{N: row.Begins}
		}
	}
	if opened != want["open"].N || begun != want["time_wait_enter"].N || closed != want["close"].N {
		t.Errorf("trace -r --summary has %d opened, %d begins, %d closed; the file %+v", opened, begun, closed, want)
	}
	for what, from := range map[string]string{"DuckDB": lines, "DuckDB of Parquet": parquet} {
		got := ask(t, from, "concat(raddr, ' ', rport)", "event = 'time_wait_enter' and role = 'client'")
		for name, c := range got {
			got[name] = tally{N: c.N}
		}
		same(t, what+", by destination", got, begins)
	}
}

// summaryOf are the rows of `trace -r --summary` by flow.
func summaryOf(t *testing.T, file string) (rows []summaryRow) {
	t.Helper()
	stdout, stderr, code := twtrace(t, "trace", "-r", file, "--summary", "-o", "json")
	if code != 0 {
		t.Fatalf("trace -r --summary: exit code %d: %s", code, stderr)
	}
	for line := range strings.Lines(stdout) {
		var row summaryRow
		must(t, json.Unmarshal([]byte(line), &row))
		rows = append(rows, row)
	}
	return rows
}

func same(t *testing.T, what string, got, want counts) {
	t.Helper()
	if len(want) == 0 {
		t.Fatalf("%s: nothing to compare with", what)
	}
	for name, c := range want {
		if got[name] != c {
			t.Errorf("%s has %+v of %s, want %+v", what, got[name], name, c)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s has %s", what, name)
		}
	}
}
