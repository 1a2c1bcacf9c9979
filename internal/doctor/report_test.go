package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

var update = flag.Bool("update", false, "write the golden files anew")

// reports are the golden reports.
func reports() map[string]Report {
	crit := filled(27900, there)
	crit.Enter = "nsenter --net=/proc/4242/ns/net "
	crit.Window, crit.Before.TWOverflow, crit.After.TWOverflow = 10*time.Second, 0, 120
	crit.Listeners = []advice.Listener{{Local: netip.MustParseAddrPort("0.0.0.0:8080")}}
	crit.Listeners[0].States.Full[event.TimeWait] = 1200

	ok := filled(320, there)
	traced := healthy()
	base := func(f advice.Facts) Report {
		return Report{Version: "0.1.0", Host: f.Host, Time: f.Time, Window: f.Window, Spaces: []kernel.NetNS{f.NetNS}, Findings: advice.Diagnose(f)}
	}
	all := map[string]Report{"crit": base(crit), "ok": base(ok), "unknown": base(traced), "traced": base(traced)}
	r := all["unknown"]
	r.Findings = nil
	all["unknown"] = r

	r = all["traced"]
	r.Traced, r.Lost = true, 3
	r.Findings = append([]advice.Finding{
		{ID: "TWD001", Group: "trace", Severity: event.OK, Title: "BTF at /sys/kernel/btf/vmlinux"},
		{ID: "TW301", Group: "host", Severity: event.Skip, Title: "conntrack: module not loaded"},
	}, r.Findings...)
	all["traced"] = r

	web := crit
	web.NetNS, web.Enter = kernel.NetNS{Inum: 4026532281, Name: "web"}, "ip netns exec web "
	r = base(crit)
	r.Spaces = []kernel.NetNS{web.NetNS, ok.NetNS, {Inum: 4026532999}}
	r.LeftOut, r.Closed = 7, []kernel.NetNS{{Inum: 4026533000, Name: "theirs"}}
	third := healthy()
	third.NetNS.Inum = 4026532999
	r.Findings = advice.Diagnose(web, ok, third)
	all["several"] = r

	client, server := leak()
	r = base(client)
	r.Traced, r.Spaces = true, []kernel.NetNS{client.NetNS, server.NetNS}
	r.Findings = advice.Diagnose(client, server)
	all["chain"] = r
	return all
}

// golden compares with a file, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update writes it):\n%s", file, got)
	}
}

func TestGolden(t *testing.T) {
	for name, r := range reports() {
		for kind, write := range map[string]func(*bytes.Buffer) error{
			"txt":     func(b *bytes.Buffer) error { return WriteText(b, r, Style{}) },
			"all.txt": func(b *bytes.Buffer) error { return WriteText(b, r, Style{All: true}) },
			"brief":   func(b *bytes.Buffer) error { return WriteBrief(b, r, Style{}) },
			"md":      func(b *bytes.Buffer) error { return WriteMarkdown(b, r) },
			"json":    func(b *bytes.Buffer) error { return WriteJSON(b, r) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, name+"."+kind, b.Bytes())
		}
	}
}

// TestTextFits: prose is wrapped, and only commands are longer than a terminal.
func TestTextFits(t *testing.T) {
	var b bytes.Buffer
	if err := WriteText(&b, reports()["crit"], Style{}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > textWidth+1 && !strings.Contains(line, "sysctl -w") {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
}

// TestVerdictFirstAndLast: at each width the report ends with the verdict, and starts with it
// if there is anything between the two; notes, and what is fine, are there only if asked for.
func TestVerdictFirstAndLast(t *testing.T) {
	for name, r := range reports() {
		for _, width := range []int{60, 80, 132, 200} {
			for _, all := range []bool{false, true} {
				var b, block bytes.Buffer
				if err := WriteText(&b, r, Style{Width: width, All: all}); err != nil {
					t.Fatal(err)
				}
				v := r.verdict(all)
				for _, l := range v.Lines(width) {
					block.WriteString(l.String() + "\n")
				}
				text := b.String()
				if !strings.HasSuffix(text, "\n\n"+block.String()) && !strings.Contains(text, "Not seen: ") || !strings.HasSuffix(text, block.String()) {
					t.Errorf("%s, %d columns: the verdict is not last:\n%s", name, width, text)
				}
				if between := strings.Contains(text, "\nhost\n"); strings.HasPrefix(text, block.String()+"\n") != between {
					t.Errorf("%s, %d columns: the verdict is not first:\n%s", name, width, text)
				}
				for _, x := range r.Findings {
					if shown := strings.Contains(text, x.ID+" "+x.Title[:10]); shown != (all || x.Severity >= event.Warn) && v.ID == x.ID != shown {
						t.Errorf("%s, all %v: %s %s is shown: %v", name, all, x.Severity, x.ID, shown)
					}
				}
				checkCommands(t, name, text, r.Findings)
			}
		}
		if name == "crit" || name == "chain" {
			for _, width := range []int{60, 132, 200} {
				var b bytes.Buffer
				if err := WriteText(&b, r, Style{Width: width}); err != nil {
					t.Fatal(err)
				}
				golden(t, fmt.Sprintf("%s-%d.txt", name, width), b.Bytes())
			}
		}
	}
}

// checkCommands wants each command of the findings that are shown on a line of its own.
func checkCommands(t *testing.T, name, text string, found []advice.Finding) {
	t.Helper()
	for _, x := range found {
		if x.Severity < event.Warn {
			continue
		}
		for _, m := range x.Now {
			for _, do := range []string{m.Command(), m.Undo()} {
				own := func(line string) bool {
					rest, ok := strings.CutSuffix(line, do)
					return ok && slices.Contains([]string{"", "now", "or", "undo"}, strings.TrimSpace(rest))
				}
				if do != "" && !slices.ContainsFunc(strings.Split(text, "\n"), own) {
					t.Errorf("%s: %q is not on a line of its own:\n%s", name, do, text)
				}
			}
		}
	}
}

// TestJSONFields: what a monitoring system reads.
func TestJSONFields(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, reports()["crit"]); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "\n") != 1 {
		t.Error("not one line")
	}
	var got struct {
		Schema   string
		Verdict  string
		ExitCode int `json:"exit_code"`
		Checks   []struct {
			ID       string
			Status   string
			Remedies []jsonRemedy
			Forecast *advice.Forecast
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != "twtrace.doctor/v1" || got.Verdict != "crit" || got.ExitCode != 2 {
		t.Errorf("%+v", got)
	}
	first := got.Checks[0]
	if first.Status != "crit" || first.Forecast == nil || len(first.Remedies) < 2 || first.Remedies[0].Kind != "now" {
		t.Errorf("first check: %+v", first)
	}
}

func TestTextIsHarmless(t *testing.T) {
	var b bytes.Buffer
	evil := "evil\x1b[2Jname"
	r := Report{Host: kernel.Host{Hostname: evil}, File: evil, Findings: []advice.Finding{{ID: "TW101", Severity: event.Warn, Title: evil, Who: advice.Who(evil),
		Now: []advice.Remedy{{Text: evil, Shell: advice.Shell{Run: evil, Undo: evil}, Risk: evil}}, Scope: advice.Scope{Comm: evil}}}}
	if err := WriteText(&b, r, Style{}); err != nil {
		t.Fatal(err)
	}
	if err := WriteBrief(&b, r, Style{}); err != nil {
		t.Fatal(err)
	}
	if err := WriteMarkdown(&b, r); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.ContainsRune(got, '\x1b') || !strings.Contains(got, `\x1b[2J`) {
		t.Errorf("an escape sequence came through: %q", got)
	}
}

// TestQuantity: numbers of evidence as people write them.
func TestQuantity(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		unit string
		want string
	}{
		{1660.4, "ports", "1,660 ports"}, {1661, "ports", "1,661 ports"}, {27.24, "1/s", "27.2/s"}, {465, "1/s", "465/s"}, {0.000612, "s", "612us"},
		{98.46, "%", "98.5%"}, {0.0414, "", "0.0414"}, {2, "", "2"}, {1e9 + 0.5, "bytes", "1,000,000,001 bytes"}, {999.96, "1/s", "1,000/s"}, {-1, "", "-1"},
	} {
		if got := quantity(tt.v, tt.unit); got != tt.want {
			t.Errorf("%v %q is %q, want %q", tt.v, tt.unit, got, tt.want)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("disk full")

func TestWriteErrors(t *testing.T) {
	r := reports()["ok"]
	if err := WriteText(full{}, r, Style{}); !errors.Is(err, errFull) {
		t.Errorf("text: %v", err)
	}
	if err := WriteJSON(full{}, r); !errors.Is(err, errFull) {
		t.Errorf("JSON: %v", err)
	}
}

func TestExitCode(t *testing.T) {
	for severity, want := range map[event.Severity]struct {
		code    int
		verdict string
	}{event.Skip: {3, "unknown"}, event.OK: {0, "ok"}, event.Info: {0, "ok"}, event.Warn: {1, "warn"}, event.Crit: {2, "crit"}} {
		r := Report{Findings: []advice.Finding{{Severity: event.Skip}, {Severity: severity}}}
		if r.ExitCode() != want.code || r.Verdict() != want.verdict {
			t.Errorf("%v: exit %d, %s; want %v", severity, r.ExitCode(), r.Verdict(), want)
		}
	}
	if got := (Report{}).ExitCode(); got != 3 {
		t.Errorf("an empty report exits %d", got)
	}
}
