package view

import (
	"fmt"
	"io"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
)

// intervals are the ones that + and - go through.
var intervals = []time.Duration{
	500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// time are the keys that move the time.
func (m *model) time(key string) (tea.Cmd, bool) {
	switch key {
	case "space", " ", "Z":
		m.pause()
	case "t", "right":
		m.step(1)
	case "T", "left":
		m.step(-1)
	case "+", "=":
		m.setInterval(true)
	case "-", "_":
		m.setInterval(false)
	case "r":
		if src, ok := m.src.(resetter); ok {
			src.Reset()
			m.display.Notice = "reset: lifetimes, closers and last closes"
		}
	default:
		return nil, false
	}
	return nil, true
}

func (m *model) pause() {
	if m.shown() == nil || m.over {
		return
	}
	m.paused = !m.paused
	m.at = len(m.past.states) - 1
	if src, ok := m.src.(Player); ok {
		src.Pause(m.paused)
	}
}

// step goes through the past, while paused. A replay reads on where the past ends.
func (m *model) step(by int) {
	if !m.paused {
		return
	}
	if src, ok := m.src.(Player); ok && by > 0 && m.at == len(m.past.states)-1 && !m.over {
		src.Step()
		return
	}
	m.at = min(max(m.at+by, 0), len(m.past.states)-1)
}

func (m *model) setInterval(longer bool) {
	set, ok := m.src.(intervalSetter)
	if !ok {
		return
	}
	m.opt.Interval = stepInterval(m.opt.Interval, longer)
	set.SetInterval(m.opt.Interval)
	m.display.Notice = "interval " + interval(m.opt.Interval)
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

// keep are the keys that write something somewhere.
func (m *model) keep(key string) (tea.Cmd, bool) {
	switch key {
	case "e":
		d := &m.display
		d.Asking = m.shown() != nil && (d.Page == NoPage || d.Page == PageDetail)
	case "y":
		return m.copy(), true
	case "Y":
		return m.copyUndo(), true
	case "v":
		return m.showLast(), true
	case "w":
		return m.record(), true
	}
	return nil, false
}

// export writes what is on the screen to a file, in the format that the key asks for,
// away from the loop.
func (m *model) export(key string) tea.Cmd {
	m.display.Asking = false
	i := slices.IndexFunc(exporters, func(x exporter) bool { return x.key == key })
	if key == "enter" {
		i = 0
	}
	s := m.shown()
	if i < 0 || s == nil {
		return nil
	}
	sheet, format := sheetOf(s, &m.display), exporters[i]
	return func() tea.Msg {
		path, err := exportFile(s.Time, format.name, func(w io.Writer) error { return format.write(sheet, w, s) })
		if err != nil {
			return doneMsg{notice: "export: " + err.Error()}
		}
		return doneMsg{notice: fmt.Sprintf("%s written to %s", plural(len(sheet.cells), sheet.noun), path)}
	}
}

// record starts a recording, or ends the one there is.
func (m *model) record() tea.Cmd {
	if m.opt.Record == nil {
		return nil
	}
	on := m.display.Writing == ""
	return func() tea.Msg {
		path, err := m.opt.Record(on)
		switch {
		case err != nil:
			return doneMsg{notice: "recording: " + err.Error(), recording: !on}
		case on:
			return doneMsg{notice: "recording to " + path, recording: true, path: path}
		}
		return doneMsg{notice: "recorded to " + path, recording: true}
	}
}
