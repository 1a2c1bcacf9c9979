package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// firstLook is how far the first look at the sockets is: with thousands of network
// namespaces it takes a while. A nil one is shown nowhere.
type firstLook struct {
	done, all atomic.Int64 // namespaces
}

// What takes less than firstLookAfter needs no word.
const (
	firstLookAfter = 500 * time.Millisecond
	firstLookEvery = 200 * time.Millisecond
)

// showFirstLook shows it on out, if that is a terminal, until stop is called.
func showFirstLook(out io.Writer) (p *firstLook, stop func()) {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, func() {}
	}
	p = &firstLook{}
	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for wait := firstLookAfter; ; wait = firstLookEvery {
			select {
			case <-time.After(wait):
				fmt.Fprintf(f, "\r\x1b[Kattached; looking at the sockets of network namespace %d of %d", min(p.done.Load()+1, p.all.Load()), p.all.Load())
			case <-over:
				if wait != firstLookAfter {
					fmt.Fprint(f, "\r\x1b[K")
				}
				return
			}
		}
	})
	return p, func() {
		close(over)
		running.Wait()
	}
}

func (p *firstLook) begin(n int) {
	if p != nil {
		p.done.Store(0)
		p.all.Store(int64(n))
	}
}

func (p *firstLook) step() {
	if p != nil {
		p.done.Add(1)
	}
}
