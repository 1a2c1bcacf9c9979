package view

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/clipboard"
	"github.com/twtrace/twtrace/internal/event"
)

// board is a clipboard that takes everything.
type board struct{ words string }

func (b board) Copy(context.Context, string) clipboard.Result {
	return clipboard.Result{Words: b.words}
}

// step is a key, and what the screen shows after it.
type step struct{ press, shows string }

// Each key through the running program, on a terminal.
func TestKeys(t *testing.T) {
	t.Chdir(t.TempDir())
	p := openPTY(t)
	src := newFake()
	recorded := make(chan bool, 2)
	wait := p.start(t.Context(), src, LoopOptions{Interval: time.Second,
		Record:  func(on bool) (string, error) { recorded <- on; return "trace.twt", nil },
		Display: Display{Enter: func(uint32) string { return "ip netns exec web " }}, Clipboard: board{"copied to the board"}})
	p.Await("waiting")
	src.states <- told()
	for _, s := range []step{
		{"?", "twtrace: keys"}, {"\x1b", "[1 Flows]"}, {"h", "twtrace: keys"}, {"h", "[1 Flows]"}, {"\x1bOP", "twtrace: keys"}, {"?", "[1 Flows]"},
		{"2", "[2 Procs]"}, {"3", "[3 Peers]"}, {"4", "[4 Listen]"}, {"4", "1 listener"}, {"5", "connect: EADDRNOTAVAIL"}, {"1", "[1 Flows]"},
		{"\t", "[2 Procs]"}, {"\x1b[Z", "[1 Flows]"},
		{"s", "sort TW"}, {"<", "sort severity"}, {">", "sort TW"}, {"I", "sort TW up"}, {"I", "TWv"}, {"<", "!v"},
		{"g", "8 processes"}, {"g", "3 units"}, {"g", "[3 Peers]"}, {"g", "1 namespace"}, {"1", "8 flows"},
		{"j", "!>checkout"}, {"\x1b[B", "!>(pre-start)"}, {"k", "!>checkout"}, {"\x1b[F", " >kubelet"}, {"\x1b[H", "!>checkout"},
		{"\x1b[6~", " >kubelet"}, {"\x1b[5~", "!>checkout"},
		{"\r", "first seen"}, {"n", " (pre-start)[-]"}, {"p", " checkout[4242]"}, {"D", "doctor: 1 finding"}, {"D", "[1 Flows]"},
		{"/", "Enter apply"}, {"rport 54", "/rport 54_"}, {"32", "2 flows"}, {"\r", "filter rport 5432"}, {"\x1b", "8 flows"},
		{"/!curl\r", "7 flows"}, {"/", "/!curl_"}, {"\x15ngin", "1 flow "}, {"\x7f\x7f\x7f\x7f\r", "8 flows"},
		{"/rport\r", "! rport requires a value: the remote port"}, {"\x1b", "? help"},
		{"/\x1b[200~comm envoy\x1b[201~\r", "filter comm envoy"}, {"\x1b", "8 flows"},
		{"\x1b[H", "!>checkout"}, {"y", "ip netns exec web ss -tanH state time-wait 'dst 10.2.0.9:5432"},
		{"y", "ip netns exec web tcpdump -ni any 'host 10.2.0.9 and port 5432"}, {"Y", "no command on this screen has an undo"},
		{"w", "recording to trace.twt"}, {"j", "w stop recording"}, {"w", "recorded to trace.twt"},
		{"e", "export as"}, {"n", "/twtrace-20261122-221407.ndjson"},
		{"e", "export as"}, {"c", "/twtrace-20261122-221407.csv"},
		{"e", "export as"}, {"h", "/twtrace-20261122-221407.html"},
		{"e", "export as"}, {"\x1b", "? help"},
		{"+", "interval 2s"}, {"-", "interval 1s"},
		{" ", " 0s ago]"}, {" ", "[LIVE]"}, {"Z", " 0s ago]"}, {"Z", "[LIVE]"},
	} {
		p.Press(s.press)
		p.Await(s.shows)
	}
	if !<-recorded || <-recorded {
		t.Error("the recording was not started, then ended")
	}
	if d := [2]time.Duration{<-src.interval, <-src.interval}; d != [2]time.Duration{2 * time.Second, time.Second} {
		t.Errorf("intervals %v after + and -", d)
	}
	p.Press("r")
	p.Await("reset: lifetimes")
	if !src.reset.Load() {
		t.Error("the source was not reset")
	}
	b, err := os.ReadFile("twtrace-20261122-221407.ndjson")
	if err != nil || strings.Count(string(b), "\n") != 8 || !strings.Contains(string(b), `"group":"checkout"`) || !strings.Contains(string(b), `"pid":4242`) {
		t.Errorf("exported %v: %s", err, b)
	}
	p.Press("\x1b[21~") // F10
	if err := wait(); err != nil {
		t.Error(err)
	}
	p.Restored()
	p.Await("ip netns exec web ss -tanH") // printed at the end
}

// Paused, t and T go through the past, and what is traced meanwhile is there after.
func TestHistory(t *testing.T) {
	p := openPTY(t)
	src := newFake()
	wait := p.run(t.Context(), src)
	for i, host := range []string{"host-a", "host-b", "host-c"} {
		src.states <- named(host, int64(100+i))
		p.Await(host)
	}
	p.Press(" ")
	p.Await("host-c  up 3m12s   every 1s  [PAUSED 00:01:42 UTC 0s ago]")
	for _, s := range []step{
		{"T", "host-b  up 3m12s   every 1s  [PAUSED 00:01:41 UTC 1s ago 2/3]"}, {"\x1b[D", "host-a  up 3m12s   every 1s  [PAUSED 00:01:40 UTC 2s ago 1/3]"}, {"T", "host-a"},
		{"t", "host-b"}, {"\x1b[C", "host-c  up 3m12s   every 1s  [PAUSED 00:01:42 UTC 0s ago]"},
	} {
		p.Press(s.press)
		p.Await(s.shows)
	}
	src.states <- named("host-d", 110)
	p.Await("host-c  up 3m12s   every 1s  [PAUSED 00:01:42 UTC 8s ago 3/4]")
	p.Press("t")
	p.Await("host-d")
	p.Press(" ")
	p.Await("[LIVE]")
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// player is a recording that gives one state for each step.
type player struct {
	*fake
	paused chan bool
	steps  chan struct{}
}

func (p *player) Pause(paused bool) { p.paused <- paused }

func (p *player) Step() { p.steps <- struct{}{} }

// A replay is stopped and stepped through by its source, and stays at its end.
func TestPlayer(t *testing.T) {
	p := openPTY(t)
	p.Resize(132, 43)
	src := &player{newFake(), make(chan bool, 1), make(chan struct{}, 1)}
	wait := p.run(t.Context(), src)
	at := func(host string, sec int64) *State {
		s := named(host, sec)
		s.Mode = "REPLAY 00:01:40 x4"
		return s
	}
	src.states <- at("host-a", 100)
	p.Await("host-a  up 3m12s   every 1s  [REPLAY 00:01:40 x4]")
	p.Press(" ")
	p.Await("x4 PAUSED]")
	if !<-src.paused {
		t.Error("the source was not stopped")
	}
	p.Press("t")
	<-src.steps
	src.states <- at("host-b", 101)
	p.Await("host-b  up 3m12s   every 1s  [REPLAY 00:01:40 x4 PAUSED]")
	p.Press("T")
	p.Await("host-a  up 3m12s   every 1s  [REPLAY 00:01:40 x4 PAUSED 1/2]")
	p.Press("t") // not asked of the source
	p.Await("host-b")
	p.Press(" ")
	p.Await("x4]")
	if <-src.paused {
		t.Error("the source does not go on")
	}
	close(src.states)
	p.Await("x4 END]")
	p.Press("T")
	p.Await("x4 END 1/2]")
	p.Press(" tt")
	p.Await("x4 END]")
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
	p.Await("twtrace host-b, ")
	if len(src.steps)+len(src.paused) > 0 {
		t.Error("the source was asked after its end")
	}
}

// A recording that fails is told of, and is over.
func TestRecordingFails(t *testing.T) {
	p := openPTY(t)
	src := newFake()
	wait := p.start(t.Context(), src, LoopOptions{Record: func(bool) (string, error) { return "a.zst", nil }})
	src.states <- named("host-a", 100)
	p.Await("host-a")
	p.Press("w")
	p.Await("recording to a.zst")
	s := named("host-b", 101)
	s.Recording = Recording{Path: "a.zst", Records: 5, Bytes: 4096}
	src.states <- s
	p.Await("[LIVE] [REC 4.0K]")
	s = named("host-c", 102)
	s.Recording = Recording{Path: "a.zst", Failed: "no space left"}
	src.states <- s
	p.Await("recording: no space left")
	p.Until("it is over", func() bool { return !strings.Contains(p.Text(), "[REC") })
	p.Press("j")
	p.Await("w record")
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// After a move the rows stay where they are, whatever their numbers become, until the
// hold ends; the cursor stays on its row.
func TestHold(t *testing.T) {
	m := newModel(newFake(), LoopOptions{})
	m.width, m.height = 80, 24
	m.take(fed{state: storm()})
	m.move("j")
	m.move("j")
	names := func() (out []string) {
		for _, r := range m.rows() {
			out = append(out, r.Name())
		}
		return out
	}
	before := names()
	s := storm()
	for i := range s.Rows {
		s.Rows[i].TimeWait = 30000 - s.Rows[i].TimeWait // the other way round
		s.Rows[i].Severity = event.SeverityNone
	}
	m.take(fed{state: s})
	if got := names(); strings.Join(got, " ") != strings.Join(before, " ") {
		t.Errorf("rows %v, were %v", got, before)
	}
	m.answer(thawMsg(m.moves - 1))
	if names()[0] != before[0] {
		t.Error("an older move ended the hold")
	}
	m.answer(thawMsg(m.moves))
	got := names()
	if got[0] == before[0] || got[m.display.index(m.rows())] != before[1] {
		t.Errorf("rows %v, cursor on %d", got, m.display.index(m.rows()))
	}
}

// What the emulator shows is what the frame says: nothing in it moves the cursor or
// paints.
func TestHostileOnTerminal(t *testing.T) {
	p := openPTY(t)
	p.Resize(132, 43)
	src := newFake()
	caps := Caps{Unicode: true, Style: true, Color: true}
	wait := p.start(t.Context(), src, LoopOptions{Caps: caps})
	src.states <- hostile()
	p.Await("11 flows")
	var want []string
	for _, l := range Frame(hostile(), firstDisplay(src), 132, 43, caps) {
		want = append(want, strings.TrimRight(sgr.ReplaceAllString(l, ""), " "))
	}
	text := strings.TrimRight(strings.Join(want, "\n"), "\n")
	p.Until("the frame is on the screen", func() bool {
		var got []string
		for l := range strings.Lines(p.Text()) {
			got = append(got, strings.TrimRight(l, " \r\n"))
		}
		return strings.Join(got, "\n") == text
	})
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// firstDisplay is what a program with src starts with.
func firstDisplay(src Source) Display { return newModel(src, LoopOptions{}).display }
