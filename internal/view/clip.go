package view

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/clipboard"
	"github.com/twtrace/twtrace/internal/rows"
)

// Clip is a command that a key has copied, shown above the keys until the next one.
type Clip struct {
	Words string // what became of it
	Text  string
	Undo  bool // it takes another one back
}

// clipMsg is what became of a text.
type clipMsg struct {
	text   string
	undo   bool
	result clipboard.Result
}

// commandsOf are those that show the sockets and the packets of a row, whole: they act
// in its network namespace.
func (d *Display) commandsOf(r *rows.Row) []string {
	enter := d.enter(r.NetNS)
	return []string{ssCommand(r, enter), tcpdumpCommand(r, enter)}
}

// enter brings a command into a network namespace. What is on the screen stays as it is,
// so that it is what will be copied, until another page is opened.
func (d *Display) enter(netns uint32) string {
	if d.Enter == nil {
		return ""
	}
	prefix, ok := d.entered[netns]
	if !ok {
		if prefix = d.Enter(netns); d.entered != nil {
			d.entered[netns] = prefix
		}
	}
	return prefix
}

// commands are those that can be copied now, the ones on the screen first.
func (m *model) commands() []command {
	s, d := m.shown(), &m.display
	if s == nil {
		return nil
	}
	if d.Page != NoPage {
		_, p := pageOf(s, d, m.width, m.opt.Caps)
		from, to := window(len(p.lines), m.height-2, d.Top, -1)
		seen := func(c command) bool { return c.line >= from && c.line < to }
		var on, off []command
		for _, c := range p.commands {
			switch {
			case c.undoes:
			case seen(c):
				on = append(on, c)
			default:
				off = append(off, c)
			}
		}
		return append(on, off...)
	}
	r := m.rowAtCursor()
	if r == nil {
		return nil
	}
	var list []command
	for _, c := range why(s, d, m.width, m.height, m.opt.Caps).commands {
		if !c.undoes {
			list = append(list, c)
		}
	}
	for _, text := range d.commandsOf(r) {
		list = append(list, command{text: text})
	}
	return list
}

// rowAtCursor is the row that the cursor is on, or the first; of the events, that of the
// event's connections. Nil if there is none.
func (m *model) rowAtCursor() *rows.Row {
	if m.display.Tab == TabEvents {
		list := m.shown().Events
		i := max(m.display.eventIndex(list), 0)
		if i >= len(list) || list[i].Event == nil {
			return nil
		}
		return rowOf(m.shown(), list[i].Event)
	}
	list := m.rows()
	if len(list) == 0 {
		return nil
	}
	return list[max(m.display.index(list), 0)]
}

// copy copies the first command on the screen, pressed again the next one.
func (m *model) copy() tea.Cmd {
	list := m.commands()
	if len(list) == 0 {
		m.display.Notice = "no command on this screen"
		return nil
	}
	i := slices.IndexFunc(list, func(c command) bool { return c.text == m.clipped }) + 1
	return m.hand(list[i%len(list)].text, false)
}

// copyUndo copies what takes back the command that was copied last, if that is on this
// page, or else the first one that can be taken back.
func (m *model) copyUndo() tea.Cmd {
	undo := ""
	for _, c := range m.commands() {
		if c.undo != "" && (undo == "" || c.text == m.done) {
			undo = c.undo
		}
	}
	if undo == "" {
		m.display.Notice = "no command on this screen has an undo"
		return nil
	}
	return m.hand(undo, true)
}

// hand hands a text to the clipboard.
func (m *model) hand(text string, undo bool) tea.Cmd {
	if !undo {
		m.clipped, m.done = text, text
	}
	if !slices.Contains(m.copied, text) {
		m.copied = append(m.copied, text)
	}
	board := m.opt.Clipboard
	if board == nil {
		return func() tea.Msg {
			return clipMsg{text, undo, clipboard.Result{Words: "there is no clipboard", ByHand: true}}
		}
	}
	return func() tea.Msg { return clipMsg{text, undo, board.Copy(context.Background(), text)} }
}

// handed shows what became of a text. What nobody may have taken is shown alone.
func (m *model) handed(msg clipMsg) tea.Cmd {
	m.display.Clip = &Clip{Words: msg.result.Words, Text: msg.text, Undo: msg.undo}
	var cmds []tea.Cmd
	if msg.result.Sequence != "" {
		cmds = append(cmds, tea.Raw(msg.result.Sequence))
	}
	if msg.result.ByHand {
		cmds = append(cmds, m.showAlone())
	}
	return tea.Sequence(cmds...)
}

// overlay lays the clip over the last lines of a frame, above the keys.
func (d *Display) overlay(lines []string, width int, c Caps) []string {
	if d.Clip == nil || len(lines) < minHeight {
		return lines
	}
	words := " " + d.Clip.Words
	if d.Clip.Undo {
		words = " undo, " + d.Clip.Words
	}
	over := append([]string{c.paint(c.fit(c.safe(words), width, false), sgrReverse)}, commandLines(c.safe(d.Clip.Text), width)...)
	for i, l := range over {
		over[i] = c.cut(l, width)
	}
	if at := len(lines) - 1 - len(over); at > 0 {
		copy(lines[at:], over)
	}
	return lines
}

// showLast shows the last command that was copied alone, or the one that would be.
func (m *model) showLast() tea.Cmd {
	if m.display.Clip == nil {
		list := m.commands()
		if len(list) == 0 {
			m.display.Notice = "no command on this screen"
			return nil
		}
		m.display.Clip = &Clip{Text: list[0].text}
	}
	m.display.Clip.Words = "the command alone"
	return m.showAlone()
}

// showAlone leaves the screen for the normal one with nothing on it but the command, in
// one piece: the terminal breaks the line itself, and a selection is whole.
func (m *model) showAlone() tea.Cmd {
	clip := m.display.Clip
	if clip == nil || m.opt.In == nil {
		return nil
	}
	page := alone{in: m.opt.In, out: m.opt.Out, words: clip.Words, text: m.opt.Caps.safe(clip.Text), ending: &m.jobs.ending}
	return tea.Exec(&page, func(err error) tea.Msg { return aloneMsg{err: err, quit: page.quit} })
}

// aloneMsg says that the user comes back from the command, or wants to quit.
type aloneMsg struct {
	err  error
	quit bool
}

// alone is Exec's idea of a command: to show a text until a key is pressed.
type alone struct {
	in, out     *os.File
	words, text string
	ending      interface{ Load() bool } // a signal to end has come
	quit        bool
}

// waitKey is how long a wait for a key lasts, in ms, before it is asked whether the
// program is to end.
const waitKey = 200

// Run shows it. The terminal is raw before that, so that a key which answers what is
// shown is neither printed nor, as Ctrl-C, taken by the terminal.
func (a *alone) Run() error {
	before, err := term.MakeRaw(int(a.in.Fd()))
	if err != nil {
		return fmt.Errorf("read keys from the terminal: %w", err)
	}
	defer term.Restore(int(a.in.Fd()), before)
	text := fmt.Sprintf("\ntwtrace: %s\nCopy the command by hand; any key returns.\n\n%s\n\n", a.words, a.text)
	fmt.Fprint(a.out, strings.ReplaceAll(text, "\n", "\r\n"))
	for !a.ending.Load() {
		fds := []unix.PollFd{{Fd: int32(a.in.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, waitKey)
		if n == 0 || err == unix.EINTR {
			continue
		}
		var b [64]byte
		n, err = a.in.Read(b[:])
		a.quit = err != nil || strings.ContainsRune(string(b[:n]), '\x03')
		return nil
	}
	a.quit = true
	return nil
}

// SetStdin is for commands that use the terminal.
func (*alone) SetStdin(io.Reader) {}

// SetStdout is for commands that use the terminal.
func (*alone) SetStdout(io.Writer) {}

// SetStderr is for commands that use the terminal.
func (*alone) SetStderr(io.Writer) {}
