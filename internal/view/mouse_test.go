package view

import (
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/clipboard"
)

// at is where a text is on the screen, from 1.
func (p *pty) at(text string) (x, y int) {
	p.t.Helper()
	for i, l := range strings.Split(p.Text(), "\n") {
		if before, _, ok := strings.Cut(l, text); ok {
			return ansi.StringWidth(before) + 1, i + 1
		}
	}
	p.t.Fatalf("%q is not on the screen:\n%s", text, p.Text())
	return 0, 0
}

// click presses and lets go of a button on a text of the screen; mouse events are in the
// encoding of SGR.
func (p *pty) click(text string, button int) {
	p.t.Helper()
	x, y := p.at(text)
	p.Press(fmt.Sprintf("\x1b[<%d;%d;%dM", button, x+1, y))
	if button < wheelUp {
		p.Press(fmt.Sprintf("\x1b[<%d;%d;%dm", button, x+1, y))
	}
}

const (
	leftButton, rightButton = 0, 2
	wheelUp, wheelDown      = 64, 65
)

// Every part of the screen that a click or the wheel means something on.
func TestMouse(t *testing.T) {
	p := openPTY(t)
	src := newFake()
	notes := &notebook{make(chan string, 1), clipboard.Result{Words: "copied by a click"}}
	wait := p.start(t.Context(), src, LoopOptions{Mouse: true, Clipboard: notes, Display: Display{Enter: inShop}})
	src.states <- told()
	p.Await("8 flows")
	for _, s := range []struct {
		text   string
		button int
		shows  string
	}{
		{"OPEN/s", leftButton, "sort OPEN/s"}, {"OPEN/sv", leftButton, "sort OPEN/s up"}, {"  TW", leftButton, "sort TW "}, {"COMM", leftButton, "sort COMM"},
		{"PID", leftButton, "not sorted by PID"}, {"  TW", leftButton, "sort TW "},
		{"envoy", leftButton, " >envoy"}, {"checkout ", leftButton, "!>checkout"}, {"checkout ", leftButton, "first seen"},
		{cure, leftButton, "copied by a click"}, {"TW101", rightButton, "[1 Flows]"}, {"4 Listen", leftButton, "[4 Listen]"}, {"3 Peers", leftButton, "[3 Peers]"},
		{"5 Events", leftButton, "[5 Events]"}, {"storm started", leftButton, "~>22:14:06"}, {"storm started", leftButton, "event: storm started"},
		{"severity", rightButton, "[5 Events]"}, {"1 Flows", leftButton, "[1 Flows]"},
		{"envoy", wheelDown, "~>python3"}, {"envoy", wheelUp, "!>checkout"}, {"8 flows", leftButton, "!>checkout"},
	} {
		p.click(s.text, s.button)
		p.Await(s.shows)
	}
	if got := <-notes.got; got != cure {
		t.Errorf("a click on the cure copied %q", got)
	}
	p.Press("M")
	p.Await("it selects text")
	p.Press("M")
	p.Await("twtrace's again")
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
	p.Restored()
}

// The wheel scrolls the rows where there is no cursor, and pages.
func TestWheelScrolls(t *testing.T) {
	p := openPTY(t)
	src := newFake()
	wait := p.start(t.Context(), src, LoopOptions{Mouse: true})
	src.states <- thousands()
	p.Await("1-16 of 5,008 flows [#.......]")
	p.click("COMM", wheelDown)
	p.Await("4-19 of 5,008 flows [#.......]")
	p.click("COMM", wheelUp)
	p.Await("1-16 of 5,008 flows")
	p.Press("\x1b[F")
	p.Await("4,993-5,008 of 5,008 flows [.......#]")
	p.Press("?")
	p.Await("1-22 of ")
	p.click("move", wheelDown)
	p.Await("4-25 of ")
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// Without the mouse, clicks stay with the terminal.
func TestNoMouse(t *testing.T) {
	m := newModel(newFake(), LoopOptions{})
	m.width, m.height = 80, 24
	m.take(fed{state: told()})
	m.frame = m.lines()
	if v := m.View(); v.MouseMode != 0 {
		t.Errorf("mouse mode %v", v.MouseMode)
	}
	if _, lines := help(&m.display, 80, Caps{}); strings.Contains(strings.Join(lines, "\n"), "wheel") {
		t.Error("help speaks of the mouse")
	}
}

// Where the lower half of a screen explains a row, its cure is what y and a click copy.
func TestCopyFromWhy(t *testing.T) {
	p := openPTY(t)
	p.Resize(132, 43)
	src := newFake()
	notes := &notebook{make(chan string, 1), clipboard.Result{Words: "copied"}}
	wait := p.start(t.Context(), src, LoopOptions{Mouse: true, Clipboard: notes, Display: Display{Enter: inShop}})
	src.states <- told()
	p.Await(cure)
	p.click(cure, leftButton)
	if got := <-notes.got; got != cure {
		t.Errorf("a click copied %q", got)
	}
	for _, key := range []struct{ press, copies string }{{"jy", cure}, {"Y", cureUndo}} { // the cursor is shown on the same row
		p.Press(key.press)
		if got := <-notes.got; got != key.copies {
			t.Errorf("%s copied %q", key.press, got)
		}
	}
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
}
