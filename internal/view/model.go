package view

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
)

// model is the program's state: what the source told last, and what the user
// wants to see of it. It draws with Frame and does nothing else by itself.
type model struct {
	opt    LoopOptions
	src    Source
	jobs   *jobControl
	width  int
	height int

	latest *State // the last one of the source
	frozen *State // the one on the screen while paused
	paused bool

	frame  []string // on the screen
	hangup bool
	err    error
	crash  *crash
}

func newModel(src Source, o LoopOptions) *model {
	return &model{opt: o, src: src, jobs: newJobControl()}
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
	if m.paused {
		return m.frozen
	}
	return m.latest
}

// Init starts nothing: states and signals are sent from outside.
func (m *model) Init() tea.Cmd { return nil }

// Update takes one message and makes the frame that follows. A panic ends the
// program, and goes on when the terminal is restored.
func (m *model) Update(msg tea.Msg) (_ tea.Model, cmd tea.Cmd) {
	defer func() {
		if c := caught(recover()); c != nil {
			m.crash, cmd = c, tea.Quit
		}
	}()
	cmd = m.answer(msg)
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
		k := msg.Key()
		k.Mod &^= tea.ModAlt // a lone Esc before it
		return m.press(k.String())
	case suspendMsg:
		return m.jobs.suspend()
	case resumedMsg:
		m.err = msg.err
		if m.err != nil {
			return tea.Quit
		}
		return tea.ClearScreen
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
		m.latest = f.state
		return nil
	case !errors.Is(f.err, io.EOF) && !errors.Is(f.err, context.Canceled):
		m.err = f.err
	}
	return tea.Quit
}

// press does what a key asks for.
func (m *model) press(key string) tea.Cmd {
	switch key {
	case "q", "Q", "ctrl+c", "f10":
		return tea.Quit
	case "ctrl+z":
		return m.jobs.suspend()
	case "space", "Z":
		m.paused = !m.paused
		m.frozen = m.latest
	case "s":
		m.opt.Sort = (m.opt.Sort + 1) % sorts
	case "g":
		m.opt.Grouping = (m.opt.Grouping + 1) % groupings
	case "+", "=":
		m.setInterval(true)
	case "-", "_":
		m.setInterval(false)
	}
	return nil
}

// intervals are the ones that + and - go through.
var intervals = []time.Duration{
	500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

func (m *model) setInterval(longer bool) {
	set, ok := m.src.(intervalSetter)
	if !ok {
		return
	}
	m.opt.Interval = stepInterval(m.opt.Interval, longer)
	set.SetInterval(m.opt.Interval)
}

// stepInterval is the next longer or shorter one.
func stepInterval(d time.Duration, longer bool) time.Duration {
	i, exact := slices.BinarySearch(intervals, d)
	switch {
	case longer && exact:
		i++
	case !longer:
		i--
	}
	return intervals[min(max(i, 0), len(intervals)-1)]
}

// View shows the frame.
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.frame, "\n"))
	v.AltScreen = true
	return v
}

func (m *model) lines() []string {
	latest := m.shown()
	if latest == nil {
		return []string{m.opt.Caps.cut("twtrace: waiting for the first interval", m.width)}
	}
	s := *latest
	s.Grouping, s.Sort = m.opt.Grouping, m.opt.Sort
	if m.paused {
		s.Mode = "PAUSED " + seconds(m.latest.Time.Sub(s.Time))
	}
	return Frame(&s, m.width, m.height, m.opt.Caps)
}
