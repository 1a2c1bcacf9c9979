package clipboard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/sys/unix"
)

// passedAtOnce is how many bytes screen passes on in one string: less than 768.
const passedAtOnce = 700

// screen is one that this process runs in.
type screen struct{ multiplexer }

// Copy makes the text screen's paste buffer, and has it sent past screen to the
// terminal around it. `register` would expand $, ^ and \ in the text, a file is taken
// as it is.
func (s *screen) Copy(ctx context.Context, text string) Result {
	sent := ansi.ScreenPassthrough(ansi.SetSystemClipboard(text), passedAtOnce)
	if err := s.load(ctx, text); err != nil {
		return Result{Words: "screen did not take it", Sequence: sent, ByHand: true}
	}
	return Result{Words: "copied to screen, C-a ] pastes it; sent to the terminal's clipboard too", Sequence: sent}
}

// load has screen read the text from a file, and write what it has to another one: it
// says nothing else about the end of a command.
func (s *screen) load(ctx context.Context, text string) error {
	dir, err := os.MkdirTemp("", "twtrace-copy-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "text"), filepath.Join(dir, "held")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the text: %w", err)
	}
	for _, path := range []string{dir, in} {
		if err := os.Chown(path, int(s.server.uid), int(s.server.gid)); err != nil {
			return fmt.Errorf("give it to screen's user: %w", err)
		}
	}
	// screen wants the window's terminal, which is not ours under sudo.
	tty, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/0", s.inner.pid), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("open the window's terminal: %w", err)
	}
	defer tty.Close()
	for _, command := range [][2]string{{"readbuf", in}, {"writebuf", out}} {
		if _, err := s.run(ctx, tty, "-X", command[0], command[1]); err != nil {
			return fmt.Errorf("%s: %w", command[0], err)
		}
	}
	return awaitText(ctx, out, text)
}

// pollFile is how often a file is looked at that another program writes.
const pollFile = 10 * time.Millisecond

// awaitText waits until a file holds a text.
func awaitText(ctx context.Context, path, text string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	poll := time.NewTicker(pollFile)
	defer poll.Stop()
	for {
		b, err := os.ReadFile(path)
		switch {
		case err == nil && string(b) == text:
			return nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("read what screen holds: %w", err)
		}
		select {
		case <-ctx.Done():
			return errors.New("screen does not hold the text")
		case <-poll.C:
		}
	}
}
