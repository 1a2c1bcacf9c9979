package view

import (
	"os"
	"strings"
	"testing"
	"time"
)

// step is a key, and what the screen shows after it.
type step struct{ press, shows string }

// Each key through the running program, on a terminal.
func TestKeys(t *testing.T) {
	t.Chdir(t.TempDir())
	p := openPTY(t)
	src := newFake()
	recorded := make(chan bool, 2)
	wait := p.start(t.Context(), src, LoopOptions{Interval: time.Second,
		Record: func(on bool) (string, error) { recorded <- on; return "trace.twt", nil },
		Enter:  func(uint32) string { return "ip netns exec web " }})
	p.Await("waiting")
	src.states <- told()
	for _, s := range []step{
		{"?", "twtrace: keys"}, {"\x1b", "[1 Flows]"}, {"h", "twtrace: keys"}, {"h", "[1 Flows]"}, {"\x1bOP", "twtrace: keys"}, {"?", "[1 Flows]"},
		{"2", "[2 Procs]"}, {"3", "[3 Peers]"}, {"4", "[4 Listen]"}, {"4", "1 listener"}, {"5", "connect to 10.2.0.9:5432 failed"}, {"1", "[1 Flows]"},
		{"\t", "[2 Procs]"}, {"\x1b[Z", "[1 Flows]"},
		{"s", "sort OPEN/s"}, {"<", "sort TW"}, {">", "sort OPEN/s"}, {"<", "sort TW"}, {"I", "sort TW up"}, {"I", "TWv"},
		{"g", "8 processes"}, {"g", "3 units"}, {"g", "[3 Peers]"}, {"g", "1 namespace"}, {"1", "8 flows"},
		{"j", "!>checkout"}, {"\x1b[B", " >curl"}, {"k", "!>checkout"}, {"\x1b[F", " >(pre-start)"}, {"\x1b[H", "!>checkout"},
		{"\x1b[6~", " >(pre-start)"}, {"\x1b[5~", "!>checkout"},
		{"\r", "first seen"}, {"n", " curl[x1,204]"}, {"p", " checkout[4242]"}, {"D", "doctor: 1 finding"}, {"D", "[1 Flows]"},
		{"/", "Enter apply"}, {"rport 54", "/rport 54_"}, {"32", "2 flows"}, {"\r", "filter rport 5432"}, {"\x1b", "filter none"},
		{"/!curl\r", "7 flows"}, {"/", "/!curl_"}, {"\x15ngin", "1 flow "}, {"\x7f\x7f\x7f\x7f\r", "8 flows"},
		{"/rport\r", "filter: rport needs a value"}, {"j", "? help"},
		{"/\x1b[200~comm envoy\x1b[201~\r", "filter comm envoy"}, {"\x1b", "filter none"},
		{"\x1b[H", "!>checkout"}, {"y", "copied: ip netns exec web ss -tanH state time-wait 'dst 10.2.0.9:5432"},
		{"y", "copied: ip netns exec web tcpdump -ni any 'host 10.2.0.9 and port 5432"},
		{"p", "PEER" + strings.Repeat(" ", 40)}, {"p", "LIFE50"},
		{"w", "recording to trace.twt"}, {"j", "w stop recording"}, {"w", "recorded to trace.twt"},
		{"e", "export as"}, {"n", "/twtrace-20261122-221407.ndjson"},
		{"e", "export as"}, {"c", "/twtrace-20261122-221407.csv"},
		{"e", "export as"}, {"h", "/twtrace-20261122-221407.html"},
		{"e", "export as"}, {"\x1b", "? help"},
		{"+", "interval 2s"}, {"-", "interval 1s"},
		{" ", "[PAUSED 0s]"}, {" ", "[LIVE]"}, {"Z", "[PAUSED 0s]"}, {"Z", "[LIVE]"},
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
	p.Await("forgotten")
	if !src.reset.Load() {
		t.Error("the source was not reset")
	}
	b, err := os.ReadFile("twtrace-20261122-221407.ndjson")
	if err != nil || strings.Count(string(b), "\n") != 8 || !strings.Contains(string(b), `"comm":"checkout"`) || !strings.Contains(string(b), `"pid":4242`) {
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
	p.Await("host-c  up 3m12s  1s [PAUSED 0s]")
	for _, s := range []step{
		{"T", "host-b  up 3m12s  1s [PAUSED 1s 2/3]"}, {"\x1b[D", "host-a  up 3m12s  1s [PAUSED 2s 1/3]"}, {"T", "host-a"},
		{"t", "host-b"}, {"\x1b[C", "host-c  up 3m12s  1s [PAUSED 0s]"},
	} {
		p.Press(s.press)
		p.Await(s.shows)
	}
	src.states <- named("host-d", 110)
	p.Await("host-c  up 3m12s  1s [PAUSED 8s 3/4]")
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
	p.Await("host-a  up 3m12s  1s [REPLAY 00:01:40 x4]")
	p.Press(" ")
	p.Await("x4 PAUSED]")
	if !<-src.paused {
		t.Error("the source was not stopped")
	}
	p.Press("t")
	<-src.steps
	src.states <- at("host-b", 101)
	p.Await("host-b  up 3m12s  1s [REPLAY 00:01:40 x4 PAUSED]")
	p.Press("T")
	p.Await("host-a  up 3m12s  1s [REPLAY 00:01:40 x4 PAUSED 1/2]")
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

func TestPastIsBounded(t *testing.T) {
	var p pastStates
	n := 0
	for range historyStates + 5 {
		n += p.add(&State{Rows: make([]Row, 10)})
	}
	if n != 5 || len(p.states) != historyStates || p.rows != 10*historyStates {
		t.Errorf("forgot %d, holds %d with %d rows", n, len(p.states), p.rows)
	}
	p = pastStates{}
	for range 20 {
		p.add(&State{Rows: make([]Row, 5000)})
	}
	if len(p.states) != historyRows/5000 || p.rows != historyRows {
		t.Errorf("holds %d with %d rows", len(p.states), p.rows)
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
			out = append(out, r.name())
		}
		return out
	}
	before := names()
	s := storm()
	for i := range s.Rows {
		s.Rows[i].TimeWait = 30000 - s.Rows[i].TimeWait // the other way round
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
	if got[0] == before[0] || got[m.look.index(m.rows())] != before[1] {
		t.Errorf("rows %v, cursor on %d", got, m.look.index(m.rows()))
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
	for _, l := range Frame(hostile(), firstLook(src), 132, 43, caps) {
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

// firstLook is what a program with src starts with.
func firstLook(src Source) Look { return newModel(src, LoopOptions{}).look }
