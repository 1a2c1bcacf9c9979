package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/twtrace/twtrace/internal/rows"
)

// model is the program's state: what the source gave, and what the user wants to
// see of it. It draws with Frame and does nothing else by itself.
type model struct {
	opt     LoopOptions
	src     Source
	jobs    *jobControl
	display Display
	width   int
	height  int

	past   Past
	at     int // which of them is on the screen
	paused bool
	over   bool // a replay has come to its end

	wait    int // seconds without a state
	moves   int // of the cursor so far
	naming  int // how many names are being asked for
	typing  typing
	copied  []string // commands, for the end
	clipped string   // the one that y copied just now
	done    string   // the last one that y copied, for Y

	released bool     // the mouse is the terminal's
	frame    []string // on the screen
	hangup   bool
	err      error
	crash    *crash
}

func newModel(src Source, o LoopOptions) *model {
	m := &model{opt: o, src: src, jobs: newJobControl(), display: o.Display}
	_, m.display.Offers.Interval = src.(intervalSetter)
	_, m.display.Offers.Reset = src.(resetter)
	m.display.Offers.Record, m.display.Offers.Names = o.Record != nil, o.Name != nil
	m.display.Offers.Step, m.display.Offers.Mouse = true, o.Mouse
	m.display.memo, m.display.entered = new(memo), make(map[uint32]string)
	return m
}

// profile is what Bubble Tea may send to the terminal.
func (c Caps) profile() colorprofile.Profile {
	switch {
	case c.Color:
		return colorprofile.ANSI
	case c.Style:
		return colorprofile.ASCII
	}
	return colorprofile.NoTTY
}

// shown is the state on the screen, nil if there is none yet.
func (m *model) shown() *State {
	if len(m.past.states) == 0 {
		return nil
	}
	return m.past.states[m.at]
}

// rows are those on the screen and beyond its edges, in order.
func (m *model) rows() []*rows.Row {
	if s := m.shown(); s != nil {
		return m.display.Arrange(s.list(&m.display))
	}
	return nil
}

// Init counts the seconds until there is something to show; states and signals are
// sent from outside.
func (m *model) Init() tea.Cmd { return m.waited(0) }

// waitedMsg says that there was nothing to show for so many seconds.
type waitedMsg int

func (m *model) waited(seconds int) tea.Cmd {
	if m.wait = seconds; m.shown() != nil {
		return nil
	}
	return tea.Tick(time.Second, func(time.Time) tea.Msg { return waitedMsg(seconds + 1) })
}

// Update takes one message and makes the frame that follows. A panic ends the
// program, and is raised again when the terminal is restored.
func (m *model) Update(msg tea.Msg) (_ tea.Model, cmd tea.Cmd) {
	defer func() {
		if c := caught(recover()); c != nil {
			m.crash, cmd = c, tea.Quit
		}
	}()
	cmd = m.answer(msg)
	if ask := m.askNames(); ask != nil {
		cmd = tea.Batch(cmd, ask)
	}
	m.frame = m.lines()
	return m, cmd
}

func (m *model) answer(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case fed:
		return m.take(msg)
	case tea.KeyPressMsg:
		return m.key(msg.Key())
	case tea.MouseClickMsg:
		return m.click(msg.Mouse())
	case tea.MouseWheelMsg:
		return m.wheel(msg.Mouse())
	case tea.PasteMsg:
		if m.display.Prompt {
			m.paste(msg.Content)
		}
	case thawMsg:
		if int(msg) == m.moves {
			m.display.Order = nil
		}
	case doneMsg:
		m.display.Notice = m.opt.Caps.shorten(msg.notice, m.width) // both ends of a path matter
		if msg.recording {
			m.display.Writing = msg.path
		}
	case clipMsg:
		return m.handed(msg)
	case aloneMsg:
		if m.err = msg.err; m.err != nil || msg.quit {
			return tea.Quit
		}
		return tea.ClearScreen
	case nameMsg:
		m.named(msg)
	case suspendMsg:
		return m.jobs.suspend()
	case resumedMsg:
		m.err = msg.err
		if m.err != nil {
			return tea.Quit
		}
		return tea.ClearScreen
	case waitedMsg:
		return m.waited(int(msg))
	case quitMsg:
		m.hangup = m.hangup || msg.hangup
		return tea.Quit
	}
	return nil
}

// take shows a new state, or ends with the source.
func (m *model) take(f fed) tea.Cmd {
	switch {
	case f.panic != nil:
		m.crash = f.panic
		return tea.Quit
	case f.err == nil:
		m.recorded(&f.state.Recording)
		shown := -1
		if m.paused && !m.replays() {
			shown = m.at
		}
		if m.at = m.past.Add(f.state, shown); m.at < 0 {
			m.at = len(m.past.states) - 1
		}
		return nil
	case errors.Is(f.err, io.EOF) && m.replays() && m.shown() != nil:
		m.over, m.paused = true, true // the user reads it, and may step back
		return nil
	case !errors.Is(f.err, io.EOF) && !errors.Is(f.err, context.Canceled):
		m.err = f.err
	}
	return tea.Quit
}

// replays reports whether the source is a recording.
func (m *model) replays() bool {
	_, replay := m.src.(Player)
	return replay
}

// recorded notes what became of the recording that runs.
func (m *model) recorded(r *Recording) {
	m.display.Recorded = *r
	if r.Failed != "" && r.Path == m.display.Writing {
		m.display.Writing = ""
		m.display.Notice = "recording: " + r.Failed
	}
}

// doneMsg is the result of something that took a while.
type doneMsg struct {
	notice    string
	recording bool   // path is of a recording
	path      string // "" if it has ended
}

// thawMsg ends the hold on the order of the rows, if the cursor has not moved since
// that many moves.
type thawMsg int

// holdFor is how long rows stay in place after the cursor has moved.
const holdFor = 2 * time.Second

// View shows the frame.
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.frame, "\n"))
	v.AltScreen, v.MouseMode = true, m.mouseMode()
	return v
}

func (m *model) lines() []string {
	s := m.shown()
	if s == nil {
		text := "twtrace: waiting for the first interval"
		if m.opt.Interval > time.Second {
			text += fmt.Sprintf(", %ds of %s", m.wait, interval(m.opt.Interval))
		}
		return []string{m.opt.Caps.cut(text, m.width)}
	}
	m.display.Mode = m.mode()
	return Frame(s, m.display, m.width, m.height, m.opt.Caps)
}

// mode words how far from now the screen is, "" if it is not.
func (m *model) mode() string {
	if !m.paused {
		return ""
	}
	last := m.past.states[len(m.past.states)-1]
	text := "PAUSED " + m.shown().timeOfDay() + " " + seconds(last.Time.Sub(m.shown().Time)) + " ago"
	switch {
	case m.over:
		text = m.shown().Mode + " END"
	case m.replays():
		text = m.shown().Mode + " PAUSED"
	}
	if n := len(m.past.states); m.at < n-1 {
		text += fmt.Sprintf(" %d/%d", m.at+1, n)
	}
	return text
}
