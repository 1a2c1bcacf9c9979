package clipboard

import (
	"context"
	"slices"
	"strings"
)

// tmux is one that this process runs in.
type tmux struct{ multiplexer }

// Copy makes the text tmux's newest buffer, and has tmux pass it on to the terminal
// around it where tmux is set to, and knows how.
func (t *tmux) Copy(ctx context.Context, text string) Result {
	load := []string{"load-buffer"}
	outer := t.outer(ctx)
	if outer {
		load = append(load, "-w") // 3.2 and later
	}
	_, err := t.run(ctx, strings.NewReader(text), append(load, "-")...)
	if err != nil && outer {
		outer = false
		_, err = t.run(ctx, strings.NewReader(text), "load-buffer", "-")
	}
	if held, err2 := t.run(ctx, nil, "show-buffer"); err != nil || err2 != nil || held != text {
		return Result{Words: "tmux did not take it", ByHand: true}
	}
	words := "copied to tmux"
	if prefix, err := t.run(ctx, nil, "show-options", "-gv", "prefix"); err == nil && prefix != "" && prefix != "None" {
		words += ", " + prefix + " ] pastes it"
	}
	if outer {
		words += "; sent to the terminal's clipboard too"
	}
	return Result{Words: words}
}

// outer reports whether tmux passes texts on to a terminal that has a clipboard: that of
// the client which shows this pane.
func (t *tmux) outer(ctx context.Context) bool {
	set, err := t.run(ctx, nil, "show-options", "-gv", "set-clipboard")
	if err != nil || set == "off" {
		return false
	}
	features, err := t.run(ctx, nil, "display-message", "-p", "#{client_termfeatures}")
	return err == nil && slices.Contains(strings.Split(features, ","), "clipboard")
}
