package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/twtrace/twtrace/internal/output"
)

// goldenProgram writes the golden files anew, with the program that it names: only for a
// fixture that has none yet, or where what is printed has changed on purpose.
var goldenProgram = flag.String("golden-program", "", "write testdata/golden with this `twtrace`")

// keptFixtures are the trace files of every released format and schema, and some that
// have more in them. They stay as they are for ever.
var keptFixtures = []string{
	"../../internal/record/testdata/format-1.ndjson.zst",
	"../../internal/record/testdata/format-2.ndjson.zst",
	"../../internal/record/testdata/schema-1.ndjson.zst", // format 2; several programs, storms, failed calls, IPv6, both roles
	"testdata/linux-6.1.ndjson.zst",
	"testdata/report.ndjson.zst",
}

// comparedVerbs are those that print JSON of a trace file, and their flags.
var comparedVerbs = map[string][]string{
	"trace": nil, "top": {"-b"}, "ports": nil, "list": nil, "storms": nil, "doctor": nil, "report": nil,
}

// notComparable are members whose value belongs to the run or to the names, not to the
// trace file.
var notComparable = map[string]bool{
	"trace schema": true, "storms schema": true, "report schema": true, // the version of the names
	"top self_cpu": true, "top self_cpu_share": true, "top self_rss_bytes": true, // of twtrace itself
}

// judged are members that are concluded from a trace file, and not in it. The conclusions
// were mended since: a forecast is by what a program wants, not by what it gets; calls that
// failed long ago do not fail now; findings that are one story are one; a finding makes
// its rows as severe as itself.
var judged = regexp.MustCompile(`^(ports (severity|projected|exhausts_in_s|demand_per_s|free_in_s|outage_s|resolved)|top rows\[\]\.sev(erity)?|(doctor|top|report) (checks|findings)\[\].*)$`)

// prose are members for people, whose words may change. That they are there is compared,
// and the numbers that they rest on, in members of their own.
var prose = regexp.MustCompile(`^(doctor|top|report) remarks\[\]$`)

// newNames are the members that had another name in schema 1, by verb and path in the
// object; [] is of each element. The golden files have the old ones.
var newNames = func() map[string]string {
	names := map[string]string{
		"ports what": "resource", "ports open_rate": "taken_per_s", "ports free_rate": "freed_per_s", "ports max_rate": "max_taken_per_s",
		"list pid_start": "pid_start_ticks",
		"top tw":         "time_wait", "top est": "established", "top in_s": "time_wait_enters_per_s", "top out_s": "time_wait_exits_per_s",
		"top open_s": "opens_per_s", "top close_s": "ended_per_s", "top fail_s": "fails_per_s", "top lost": "lost_total",
		"top ports.what": "ports.resource", "top rows[].comm": "rows[].group",
		"top rows[].tw": "rows[].time_wait", "top rows[].tw_s": "rows[].time_wait_growth_per_s", "top rows[].port_pct": "rows[].used_pct",
		"top rows[].open_s": "rows[].opens_per_s", "top rows[].close_s": "rows[].ended_per_s", "top rows[].fail_s": "rows[].fails_per_s",
		"top rows[].closer": "rows[].closed_by", "top rows[].closer_pct": "rows[].closed_by_pct",
		"top rows[].in_s": "rows[].time_wait_enters_per_s", "top rows[].out_s": "rows[].time_wait_exits_per_s",
		"top rows[].est": "rows[].established", "top rows[].pids": "rows[].processes",
		"ports fails": "fails_total", "ports bound": "bound_ports", "ports pids": "processes",
	}
	for was, is := range recordNames {
		names["trace "+was] = is
	}
	for place, list := range reportNames {
		for was, is := range list {
			names["report "+place+was] = place + is
		}
	}
	for _, was := range []string{"rate", "ports_used", "ports_usable", "ports_projected", "fails", "pids", "pid_start",
		"births", "parked", "promoted", "late", "begins", "ends", "refused", "lost", "unnamed", "why"} {
		names["storms "+was] = recordNames[was]
	}
	return names
}()

// newMembers are those that schema 1 had not, by verb and path.
var newMembers = map[string]bool{
	"trace used_pct": true, "storms used_pct": true, "trace cause": true, "trace idle_ns": true, "trace data_lost": true,
	"trace demand_per_s": true, "storms demand_per_s": true, "trace outage_s": true, "storms outage_s": true,
	"trace resolved": true, "storms resolved": true,
	"ports owner_used": true, "ports other_owners": true, "storms owner_used": true, "storms other_owners": true,
	"trace owner_used": true, "trace other_owners": true, "report storms[].owner_used": true, "report storms[].other_owners": true,
	"report storms[].processes": true, "report destinations[].owner_used": true, "report destinations[].other_owners": true,
	"report destinations[].processes": true, "report destinations[].owner_opens_total": true, "report storms[].demand_per_s": true,
	"ports blocked": true, "report destinations[].blocked": true, "report failures[].cause": true,
	"top close_wait": true, "top rows[].close_wait": true, "top rows[].netns_name": true, "ports close_wait": true, "ports netns_name": true,
	"trace netns_name": true, "storms netns_name": true, "list netns_name": true,
}

// newObjects are those that schema 1 had not, with all that is in them.
var newObjects = regexp.MustCompile(`^report (outages|sysctl_changes|storms\[\]\.contributors|series\.owners|omitted\.(outages|sysctl_changes))\b`)

// recordNames are those of records.
var recordNames = map[string]string{
	"closer": "closed_by", "pid_start": "pid_start_ticks",
	"rate": "taken_per_s", "ports_used": "used", "ports_usable": "usable", "ports_projected": "projected", "fails": "refused_total", "pids": "processes",
	"births": "births_total", "parked": "parked_total", "promoted": "promoted_total", "late": "late_enters_total",
	"begins": "time_wait_enters_total", "ends": "time_wait_exits_by_reason", "refused": "time_wait_refused_total",
	"lost": "lost_by_stage", "unnamed": "unnamed_by_cause", "why": "stopped_by",
}

// withoutNew are lines of records without the members that schema 1 had not.
func withoutNew(lines string) string {
	for name := range newMembers {
		if name, ok := strings.CutPrefix(name, "trace "); ok {
			lines = regexp.MustCompile(`,"`+name+`":[^,}]*`).ReplaceAllString(lines, "")
		}
	}
	return lines
}

// reportNames are those of the objects of a report, which has lists of the same names
// that counts have.
var reportNames = map[string]map[string]string{
	"":       {"time_wait_begins": "time_wait_enters", "time_wait_ends": "time_wait_exits"},
	"trace.": {"begin": "start", "why": "stopped_by"},
	"totals.": {"opened": "opens_total", "ended": "ended_total", "time_wait_begins": "time_wait_enters_total",
		"time_wait_ends": "time_wait_exits_total", "closed": "closes_total", "before": "snapshots_total", "failed": "fails_total",
		"refused": "time_wait_refused_total", "lost": "lost_total"},
	"peaks.":          {"opened_per_s": "opens_per_s", "failed_per_s": "fails_per_s", "ports_share": "used_share"},
	"storms[].":       {"begin": "start", "rate": "taken_per_s", "fails": "refused_total"},
	"destinations[].": {"ports_used": "used", "ports_usable": "usable", "opened": "opens_total", "time_wait_begins": "time_wait_enters_total", "failed": "fails_total", "no_port": "no_port_total"},
	"owners[].": {"name": "group", "opened": "opens_total", "time_wait_begins": "time_wait_enters_total", "closed": "closes_total",
		"failed": "fails_total", "refused": "time_wait_refused_total", "closed_first": "closed_by_local_total", "closer_known": "closed_by_known_total"},
	"lifetimes.":    {"p50_ns": "life_p50_ns", "p90_ns": "life_p90_ns", "p99_ns": "life_p99_ns"},
	"namespaces[].": {"time_wait": "used", "limit": "usable", "refused": "time_wait_refused_total"},
	"losses.":       {"late": "late_enters_total"},
	"series.": {"opened": "opens", "time_wait_begins": "time_wait_enters", "time_wait_ends": "time_wait_exits", "failed": "fails",
		"refused": "time_wait_refused", "ports_share": "used_share"},
}

// inNewNames are lines of records of schema 1 with the names, and the number, of this one.
func inNewNames(lines string) string {
	for was, is := range recordNames {
		lines = strings.ReplaceAll(lines, `,"`+was+`":`, `,"`+is+`":`)
	}
	return strings.ReplaceAll(lines, `,"schema":1,`, fmt.Sprintf(`,"schema":%d,`, output.Schema))
}

// TestSameAsBefore compares all that twtrace prints of the kept fixtures in JSON with
// what it printed at schema 1 (commit 62b2535): each member, its value, their order and
// the exit code. Nothing may differ but the names in newNames.
func TestSameAsBefore(t *testing.T) {
	used := make(map[string]bool)
	for _, fixture := range keptFixtures {
		name := strings.TrimSuffix(filepath.Base(fixture), ".ndjson.zst")
		for verb, flags := range comparedVerbs {
			args := append([]string{verb, "-r", fixture, "-o", "json"}, flags...)
			golden := filepath.Join("testdata", "golden", name+"."+verb+".zst")
			if *goldenProgram != "" {
				writeGolden(t, golden, args)
			}
			t.Run(name+"/"+verb, func(t *testing.T) {
				var stdout, stderr bytes.Buffer
				code := run(append([]string{"twtrace"}, args...), &stdout, &stderr)
				want := members(t, verb, readGolden(t, golden))
				got := members(t, verb, fmt.Appendf(stdout.Bytes(), "{\"exit\":%d}\n", code))
				if verb == "top" {
					got, want = rowsAsBefore(got), slices.DeleteFunc(want, severalPeers)
				}
				for i := range want {
					path, value, _ := strings.Cut(want[i], " ")
					for at := path; at != ""; at = outer(at) { // the members of a renamed object or list too
						if to, ok := newNames[verb+" "+at]; ok {
							used[verb+" "+at] = true
							path = to + strings.TrimPrefix(path, at)
							break
						}
					}
					want[i] = path + " " + value
				}
				if verb == "top" { // it sorted by TIME_WAIT, and now by severity
					got, want = sortRows(got), sortRows(want)
				}
				for i := range min(len(got), len(want)) {
					if got[i] != want[i] {
						t.Fatalf("member %d:\n%s\nwant:\n%s\nstderr: %s", i, near(got, i), near(want, i), stderr.String())
					}
				}
				if len(got) != len(want) {
					t.Errorf("%d members, want %d; stderr: %s", len(got), len(want), stderr.String())
				}
			})
		}
	}
	for name := range newNames {
		if !used[name] && !t.Failed() {
			t.Errorf("%q is in no golden file", name)
		}
	}
}

// TestSchemasAgree: the same trace, written in schema 1 and in this one, is the same to
// every verb.
func TestSchemasAgree(t *testing.T) {
	for verb, flags := range comparedVerbs {
		var out [2][]string
		for i := range out {
			var stdout, stderr bytes.Buffer
			fixture := fmt.Sprintf("../../internal/record/testdata/schema-%d.ndjson.zst", i+1)
			run(append([]string{"twtrace", verb, "-r", fixture, "-o", "json"}, flags...), &stdout, &stderr)
			// doctor names the file that it read
			out[i] = members(t, verb, bytes.ReplaceAll(stdout.Bytes(), []byte(filepath.Base(fixture)), []byte("FILE")))
		}
		if len(out[0]) == 0 && verb != "list" || !slices.Equal(out[0], out[1]) {
			t.Errorf("%s: %d members of schema 1, %d of schema 2, or not the same ones", verb, len(out[0]), len(out[1]))
		}
	}
}

// rowsAsBefore puts the members of rows back that changed more than their name: role was
// dir, the addresses and the ports stood in one, and lifetimes in milliseconds.
func rowsAsBefore(all []string) []string {
	var out []string
	for _, m := range all {
		path, value, _ := strings.Cut(m, " ")
		name, inRow := strings.CutPrefix(path, "rows[].")
		if !inRow {
			out = append(out, m)
			continue
		}
		switch name {
		case "role":
			m = "rows[].dir " + map[string]string{`"client"`: `"out"`, `"server"`: `"in"`}[value]
		case "raddr":
			m = "rows[].peer " + value
		case "laddr":
			m = "rows[].local " + value
		case "rport", "lport": // behind its address
			end, address, _ := strings.Cut(out[len(out)-1], " ")
			plain, _ := strconv.Unquote(address)
			out, m = out[:len(out)-1], end+" "+strconv.Quote(net.JoinHostPort(plain, value))
		case "life_p50_ns", "life_p99_ns":
			m = "rows[].life" + name[len("life_p"):len("life_p")+2] + "_ms " + threeDigits(value)
		}
		out = append(out, m)
	}
	return out
}

// sortRows puts the rows of each interval in an order that does not depend on their rank.
func sortRows(all []string) (out []string) {
	var row []string
	var list [][]string
	for _, m := range all {
		switch {
		case m == "rows ]":
			slices.SortFunc(list, slices.Compare)
			out, list = append(append(out, slices.Concat(list...)...), m), nil
		case m == "rows[] }":
			list, row = append(list, append(row, m)), nil
		case strings.HasPrefix(m, "rows[]"):
			row = append(row, m)
		default:
			out = append(out, m)
		}
	}
	return out
}

// threeDigits is a number of nanoseconds in milliseconds.
func threeDigits(nanos string) string {
	ns, _ := strconv.ParseFloat(nanos, 64)
	ms := ns / 1e6
	if ms <= 0 {
		return "0"
	}
	log := int(math.Floor(math.Log10(ms)))
	unit := math.Pow10(log - 2)
	return strconv.FormatFloat(math.Round(ms/unit)*unit, 'f', max(0, 2-log), 64)
}

// severalPeers were told by a star, and now by the number in peers alone.
func severalPeers(member string) bool { return member == `rows[].peer "*"` }

// outer is the path without its last name, or the brackets behind it.
func outer(path string) string {
	if list, ok := strings.CutSuffix(path, "[]"); ok {
		return list
	}
	return path[:max(strings.LastIndexByte(path, '.'), 0)]
}

// members are those of all objects, in order: "rows[].comm \"curl\"" of
// {"rows":[{"comm":"curl"}]}.
func members(t *testing.T, verb string, objects []byte) []string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(objects))
	dec.UseNumber()
	var out []string
	for {
		err := addMembers(dec, verb, "", &out)
		if errors.Is(err, io.EOF) {
			return out
		}
		must(t, err)
	}
}

// addMembers reads one value, and adds what is in it.
func addMembers(dec *json.Decoder, verb, path string, out *[]string) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	add := func(value any) {
		switch s, ok := value.(string); {
		case ok && prose.MatchString(verb+" "+path):
			value = "(words)"
		case ok:
			value = strconv.Quote(s)
		}
		if name := verb + " " + path; !notComparable[name] && !newMembers[name] && !newObjects.MatchString(name) && !judged.MatchString(name) {
			*out = append(*out, fmt.Sprint(path, " ", value))
		}
	}
	switch token {
	case json.Delim('{'):
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			if err := addMembers(dec, verb, strings.TrimPrefix(path+"."+key.(string), "."), out); err != nil {
				return err
			}
		}
		add(json.Delim('}'))
	case json.Delim('['):
		for dec.More() {
			if err := addMembers(dec, verb, path+"[]", out); err != nil {
				return err
			}
		}
		add(json.Delim(']'))
	default:
		add(token)
		return nil
	}
	_, err = dec.Token()
	return err
}

// near are the members around one.
func near(all []string, i int) string {
	return strings.Join(all[max(i-3, 0):min(i+4, len(all))], "\n")
}

func readGolden(t *testing.T, path string) []byte {
	t.Helper()
	packed, err := os.ReadFile(path)
	must(t, err)
	dec, err := zstd.NewReader(nil)
	must(t, err)
	defer dec.Close()
	plain, err := dec.DecodeAll(packed, nil)
	must(t, err)
	return plain
}

func writeGolden(t *testing.T, path string, args []string) {
	t.Helper()
	cmd := exec.Command(*goldenProgram, args...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	out = fmt.Appendf(out, "{\"exit\":%d}\n", cmd.ProcessState.ExitCode())
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	must(t, err)
	defer enc.Close()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, enc.EncodeAll(out, nil), 0o644))
}
