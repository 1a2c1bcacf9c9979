package advice

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

var update = flag.Bool("update", false, "write the golden files anew")

// reports are the golden reports.
func reports() map[string]Report {
	crit := healthy().with(destination("10.0.0.7", "10.2.0.9:5432", 27900))
	crit.Enter = "nsenter --net=/proc/4242/ns/net "
	crit.Window, crit.Before.TWOverflow, crit.After.TWOverflow = 10*time.Second, 0, 120
	crit.Listeners = []Listener{{Local: netip.MustParseAddrPort("0.0.0.0:8080")}}
	crit.Listeners[0].States.Full[event.TimeWait] = 1200

	ok := healthy().with(destination("10.0.0.7", "10.2.0.9:5432", 320))
	traced := healthy()
	base := func(f Facts) Report {
		return Report{Version: "0.1.0", Host: f.Host, Time: f.Time, Window: f.Window, Spaces: []kernel.NetNS{f.NetNS}, Findings: Diagnose(f)}
	}
	all := map[string]Report{"crit": base(crit), "ok": base(ok), "unknown": base(traced), "traced": base(traced)}
	r := all["unknown"]
	r.Findings = nil
	all["unknown"] = r

	r = all["traced"]
	r.Traced, r.Lost = true, 3
	r.Findings = append([]Finding{
		{ID: "TWD001", Group: "trace", Severity: OK, Title: "BTF at /sys/kernel/btf/vmlinux"},
		{ID: "TW301", Group: "host", Severity: Skip, Title: "conntrack: module not loaded"},
	}, r.Findings...)
	all["traced"] = r

	web := crit
	web.NetNS, web.Enter = kernel.NetNS{Inum: 4026532281, Name: "web"}, "ip netns exec web "
	r = base(crit)
	r.Spaces = []kernel.NetNS{web.NetNS, ok.NetNS, {Inum: 4026532999}}
	r.LeftOut, r.Closed = 7, []kernel.NetNS{{Inum: 4026533000, Name: "theirs"}}
	third := healthy()
	third.NetNS.Inum = 4026532999
	r.Findings = DiagnoseAll([]Facts{web, ok, third})
	all["several"] = r
	return all
}

func TestGolden(t *testing.T) {
	for name, r := range reports() {
		for kind, write := range map[string]func(*bytes.Buffer) error{
			"txt":   func(b *bytes.Buffer) error { return WriteText(b, r, Style{}) },
			"brief": func(b *bytes.Buffer) error { return WriteBrief(b, r, Style{}) },
			"md":    func(b *bytes.Buffer) error { return WriteMarkdown(b, r) },
			"json":  func(b *bytes.Buffer) error { return WriteJSON(b, r) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			file := "testdata/" + name + "." + kind
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("%s differs (go test -update writes it):\n%s", file, b.Bytes())
			}
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
		if len(line) > textWidth+1 && !strings.Contains(line, "sysctl") && !strings.HasPrefix(line, "twtrace ") {
			t.Errorf("%d columns: %s", len(line)-1, line)
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
			Remedies []Remedy
			Forecast *Forecast
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
	r := Report{Host: kernel.Host{Hostname: evil}, File: evil, Findings: []Finding{{ID: "TW101", Severity: Warn, Title: evil, Who: evil,
		Now: []Remedy{{Text: evil, Command: evil, Undo: evil, Risk: evil}}, Scope: Scope{Comm: evil}}}}
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
