package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/doctor"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/view"
)

// progress shows on a terminal how far a diagnosis is, and what it has found so far.
// It is written to stderr, and gone when the report comes. A nil one shows nothing.
type progress struct {
	out   io.Writer
	width func() int
	caps  view.Caps
	lines int // on the screen, below the first
}

// newProgress returns nil if stderr is no terminal that can go back a line.
func newProgress(c *cli.Context) *progress {
	f, ok := c.App.ErrWriter.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return nil
	}
	return &progress{out: f, width: func() int { return columns(f) }, caps: terminalCaps(false, c.Bool("no-color"))}
}

// columns is the width of a terminal.
func columns(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}

// doctorStyle is that of the report: of a terminal, or of a pipe.
func doctorStyle(c *cli.Context) doctor.Style {
	f, ok := c.App.Writer.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return doctor.Style{}
	}
	return doctor.Style{Width: columns(f), Color: terminalCaps(false, c.Bool("no-color")).Color}
}

// mostShown is how many findings are shown before the report comes.
const mostShown = 5

// show draws the bar and the warnings anew.
func (p *progress) show(done, window time.Duration, found []advice.Finding) {
	if p == nil {
		return
	}
	done = min(done, window)
	lines := []string{fmt.Sprintf("%s %2.0fs of %s", p.bar(float64(done)/float64(window)), done.Seconds(), window)}
	more := 0
	for _, x := range found {
		switch {
		case x.Severity < event.Warn:
		case len(lines) > mostShown:
			more++
		default:
			lines = append(lines, strings.ToUpper(x.Severity.String())+" "+string(output.Escape(nil, x.Line())))
		}
	}
	if len(lines) == 1 {
		lines = append(lines, "no findings yet")
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	width := p.width()
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, max(width-1, 1), "")
	}
	p.clear()
	p.lines = len(lines)
	io.WriteString(p.out, strings.Join(lines, "\n"))
}

const barWidth = 30

func (p *progress) bar(share float64) string {
	full, empty := "#", "."
	if p.caps.Unicode {
		full, empty = "█", "·"
	}
	n := int(share * barWidth)
	return "[" + strings.Repeat(full, n) + strings.Repeat(empty, barWidth-n) + "]"
}

// clear takes what is shown off the screen.
func (p *progress) clear() {
	if p == nil || p.lines == 0 {
		return
	}
	mark := "\r"
	if p.lines > 1 {
		mark += fmt.Sprintf("\x1b[%dA", p.lines-1)
	}
	io.WriteString(p.out, mark+"\x1b[J")
	p.lines = 0
}
