package advice

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
)

var update = flag.Bool("update", false, "write the golden files again")

// verdictOf is the verdict of the facts of a scenario, in another namespace than the shell's.
func verdictOf(s scenario) Verdict {
	f := s.facts()
	f.NetNS.Name, f.Enter = "ux-web", "ip netns exec ux-web "
	return Judge(Diagnose(f), About{Now: f.Time, Hint: "notes: --all", Closing: []string{"0 events lost", "exit status 2"}})
}

// verdictWidths are those of a split terminal, of a small one, and of large ones.
var verdictWidths = []int{60, 80, 132, 200}

// TestVerdictGolden: the block of the first scenario in which each rule speaks.
func TestVerdictGolden(t *testing.T) {
	for _, width := range verdictWidths {
		var b strings.Builder
		for _, id := range slices.Sorted(maps.Keys(scenarios)) {
			at := slices.IndexFunc(scenarios[id], func(s scenario) bool {
				v := verdictOf(s)
				return v.ID == id || id == "TW000" && v.Severity == event.OK
			})
			if at < 0 {
				continue // it is never the worst
			}
			v := verdictOf(scenarios[id][at])
			fmt.Fprintf(&b, "# %s, %s\n", id, scenarios[id][at].name)
			for _, l := range v.Lines(width) {
				fmt.Fprintln(&b, l)
			}
		}
		file := fmt.Sprintf("testdata/verdict-%d.txt", width)
		if *update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s differs (go test -update writes it):\n%s", file, b.String())
		}
	}
}

// TestVerdictFits: at any width at most eight lines, none of them wider but for commands,
// which are whole; and from 80 columns on nothing of what is wrong, and who does it, is cut.
func TestVerdictFits(t *testing.T) {
	for id, all := range scenarios {
		for _, s := range all {
			v := verdictOf(s)
			for _, width := range append(verdictWidths, 1, 45, 110) {
				checkBlock(t, fmt.Sprintf("%s, %s, %d columns", id, s.name, width), &v, width)
			}
		}
	}
}

func checkBlock(t *testing.T, name string, v *Verdict, width int) {
	t.Helper()
	lines := v.Lines(width)
	if len(lines) == 0 || len(lines) > 8 {
		t.Errorf("%s: %d lines", name, len(lines))
	}
	var text []string
	var commands []string
	for _, l := range lines {
		text = append(text, l.String())
		if l.Command {
			commands = append(commands, l.Text)
		}
		wide := ansi.StringWidth(l.String()) > max(width, verdictMin)
		if wide && (!l.Command || l.Label != "") {
			t.Errorf("%s: too wide: %s", name, l)
		}
	}
	if want := slices.DeleteFunc([]string{v.Now, v.Undo}, func(s string) bool { return s == "" }); !slices.Equal(commands, want) {
		t.Errorf("%s: commands are %q, want %q", name, commands, want)
	}
	block := strings.Join(text, "\n")
	if !strings.HasPrefix(block, v.Word()) || v.Severity >= event.Warn && !strings.Contains(block, "\n  who    ") {
		t.Errorf("%s: it lacks what is wrong, or who does it:\n%s", name, block)
	}
	if head := strings.Join(strings.Fields(v.head()), " "); width >= 80 && v.Severity >= event.Warn && !strings.Contains(strings.Join(strings.Fields(block), " "), head) {
		t.Errorf("%s: cut is %q:\n%s", name, head, block)
	}
}

// screenRows and screenWidth are the smallest terminal that people use.
const screenRows, screenWidth = 24, 80

// TestVerdictOnAScreen: of whatever facts, a screen of 80x24 holds what is wrong, who does it
// and what to do, with the prompt behind it. A command that is wider than the screen takes
// several rows of it.
func TestVerdictOnAScreen(t *testing.T) {
	m := newMaker(15)
	var all []Verdict
	for _, id := range slices.Sorted(maps.Keys(scenarios)) {
		for _, s := range scenarios[id] {
			all = append(all, verdictOf(s))
		}
	}
	for range 500 {
		f := m.facts()
		all = append(all, Judge(Diagnose(f), About{Now: f.Time, NotSeen: "1 network namespace could not be read (theirs)", SeeMore: "sudo twtrace doctor",
			Hint: "notes: --all", Closing: []string{"0 events lost", "exit status 2"}}))
	}
	troubles := 0
	for i := range all {
		v := &all[i]
		rows := 1 // the prompt
		labels := make(map[string]bool)
		for _, l := range v.Lines(screenWidth) {
			rows += max(1, (ansi.StringWidth(l.String())+screenWidth-1)/screenWidth)
			labels[l.Label] = true
		}
		checkBlock(t, fmt.Sprint("verdict ", i), v, screenWidth)
		cured := labels["now"] || labels["fix"]
		if rows > screenRows || !labels[v.Word()] || !labels["more"] || v.Severity >= event.Warn && (!labels["who"] || !cured) {
			t.Errorf("verdict %d takes %d rows: %v", i, rows, v.Lines(screenWidth))
		}
		if v.Severity >= event.Warn {
			troubles++
		}
	}
	if troubles < 300 {
		t.Errorf("only %d of %d verdicts are about trouble", troubles, len(all))
	}
}

// TestVerdictSays: what each part is, where it comes from a finding.
func TestVerdictSays(t *testing.T) {
	now := time.Date(2026, 11, 30, 18, 49, 28, 0, time.UTC)
	found := []Finding{
		{ID: "TW101", Severity: event.Crit, Short: "no port", Space: "ux-web", Who: "nginx", When: "now: 78/s fail", Since: now.Add(-130 * time.Second)},
		{ID: "TW205", Severity: event.Crit}, {ID: "TW207", Severity: event.Warn}, {ID: "TW210", Severity: event.Warn},
		{ID: "TW900", Severity: event.Info}, {ID: "TWD001", Severity: event.OK, Group: "trace"},
	}
	v := Judge(found, About{Now: now, Clock: clock.In(time.FixedZone("EST", -5*3600)), Hint: "notes: --all", Closing: []string{"0 events lost", "exit status 2"}})
	want := []string{
		"CRITICAL TW101 ux-web: no port", "  who    nginx", "  since  13:47:18 EST (2m10s): 78/s fail",
		"  more   1 critical, 2 warnings, 1 note (notes: --all). Exit status 2.",
	}
	var got []string
	for _, l := range v.Lines(80) {
		got = append(got, l.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the block is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestVerdictWithout: nothing found is OK only if everything was read.
func TestVerdictWithout(t *testing.T) {
	fine := []Finding{{ID: "TW000", Severity: event.OK, Title: "TIME_WAIT is not the problem here", What: "no socket"}}
	partly := []Finding{fine[0]}
	partly[0].Title = "TIME_WAIT is not the problem in what was read"
	for _, tt := range []struct {
		found []Finding
		about About
		want  []string
	}{
		{fine, About{}, []string{"OK       TIME_WAIT is not the problem here: no socket", "  more   No other finding."}},
		{partly, About{NotSeen: "1 namespace", SeeMore: "sudo twtrace doctor"},
			[]string{"UNKNOWN  TIME_WAIT is not the problem in what was read: no socket", "  unseen 1 namespace", "  now    sudo twtrace doctor"}},
		{nil, About{}, []string{"UNKNOWN  nothing could be checked"}},
		{[]Finding{{ID: "TWD006", Severity: event.OK}}, About{}, []string{"OK       no trouble found", "  more   No other finding."}},
		{[]Finding{{ID: "TW204", Severity: event.Info, Title: "server closes first", Who: "nginx"}}, About{FailOn: event.Info},
			[]string{"WARNING  TW204 server closes first", "  who    nginx", "  more   No other finding."}},
	} {
		v := Judge(tt.found, tt.about)
		var got []string
		for _, l := range v.Lines(80) {
			got = append(got, l.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("the block is %q, want %q", got, tt.want)
		}
	}
}

// TestVerdictIsHarmless: parts that others choose are escaped in words and in commands.
func TestVerdictIsHarmless(t *testing.T) {
	evil := "evil\x1b[2Jname"
	v := Judge([]Finding{{ID: "TW101", Severity: event.Warn, Title: evil, Short: evil, Who: Who(evil), When: evil, Space: evil,
		Now: []Remedy{{Text: evil, Shell: Shell{Run: evil, Undo: evil}}}, Fix: []Remedy{{Text: evil}}}}, About{Hint: evil, Closing: []string{evil}})
	for _, l := range v.Lines(80) {
		if strings.ContainsRune(l.String(), '\x1b') || !strings.Contains(l.String(), `\x1b[2J`) {
			t.Errorf("an escape sequence came through: %q", l)
		}
	}
}
