package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// What takes less than progressAfter needs no word.
const (
	progressAfter = 500 * time.Millisecond
	progressEvery = 200 * time.Millisecond
)

// showDumps returns what shows on out how many network namespaces were dumped, since
// with thousands that takes a while: nil if out is no terminal.
func showDumps(out io.Writer) func(done, all int) {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	var once sync.Once
	var start, shown time.Time
	return func(done, all int) {
		now := time.Now()
		once.Do(func() { start = now })
		switch {
		case done == all && !shown.IsZero():
			fmt.Fprint(f, "\r\x1b[K")
		case done < all && now.Sub(start) > progressAfter && now.Sub(shown) > progressEvery:
			shown = now
			fmt.Fprintf(f, "\r\x1b[Kattached; reading the sockets of network namespace %d of %d", done+1, all)
		}
	}
}
