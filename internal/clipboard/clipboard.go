// Package clipboard copies a text to where the user of this terminal can paste it, and
// says what is known of that: whether somebody has the text, or whether it was only
// sent. Under tmux and GNU screen it asks these; any other terminal gets an OSC 52
// sequence, which no terminal answers.
package clipboard

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// Result is what became of a text.
type Result struct {
	Words    string // for the user: "copied to tmux, C-b ] pastes it"
	Sequence string // is still to be written to the terminal; "" for nothing
	ByHand   bool   // nobody may have it: show the text, so that the user can copy it
}

// Board takes texts.
type Board interface {
	// Copy hands a text over. It may run another program, and takes a few seconds at most.
	Copy(ctx context.Context, text string) Result
}

// patience bounds how long tmux or screen may take for an answer.
const patience = 3 * time.Second

// Find finds where the texts of this process go. It asks who started this process, not
// the environment: sudo takes TMUX and STY out of it, and ssh leaves TERM as it is.
func Find() Board { return find(os.Getpid(), os.Getenv("TERM")) }

func find(pid int, term string) Board {
	for inner, p := range ancestors(pid) {
		switch {
		case strings.HasPrefix(p.comm, "tmux"):
			return &tmux{multiplexer{server: p, inner: inner}}
		case p.comm == "screen":
			return &screen{multiplexer{server: p, inner: inner}}
		}
	}
	return terminal(term)
}

// terminal is one that nobody of this host multiplexes, by the value of TERM.
type terminal string

// Copy has the text sent to the terminal, which does not say whether it took it.
func (t terminal) Copy(_ context.Context, text string) Result {
	sent := ansi.SetSystemClipboard(text)
	switch name := string(t); {
	case name == "", name == "linux", name == "dumb", strings.HasPrefix(name, "vt"), strings.HasPrefix(name, "cons"):
		return Result{Words: "this terminal has no clipboard", ByHand: true}
	case strings.HasPrefix(name, "tmux"), strings.HasPrefix(name, "screen"):
		// That of another host, or outside of this container: nobody to ask.
		return Result{Words: "sent, but the tmux or screen of another host may not take it", Sequence: sent, ByHand: true}
	}
	return Result{Words: "sent to the terminal's clipboard", Sequence: sent}
}
