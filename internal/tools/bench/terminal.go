package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// watched is a terminal, by what a program writes to it.
type watched struct {
	master *os.File
	mu     sync.Mutex
	text   []byte
	more   chan struct{} // something came
	gone   chan struct{} // closed when nothing comes any more
}

func watchTerminal(master *os.File) *watched {
	w := &watched{master: master, more: make(chan struct{}, 1), gone: make(chan struct{})}
	go func() {
		defer close(w.gone)
		buf := make([]byte, 1<<16)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return // EIO once the program has gone
			}
			w.mu.Lock()
			w.text = append(w.text, buf[:n]...)
			w.mu.Unlock()
			select {
			case w.more <- struct{}{}:
			default:
			}
		}
	}()
	return w
}

// seen is what has come since the last call of forget.
func (w *watched) seen() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

func (w *watched) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = w.text[:0]
}

// await waits until one of the texts has come.
func (w *watched) await(patience time.Duration, texts ...string) error {
	for timeout := time.After(patience); ; {
		for _, text := range texts {
			if strings.Contains(w.seen(), text) {
				return nil
			}
		}
		select {
		case <-w.more:
		case <-w.gone:
			return fmt.Errorf("it ended before %q was on the screen", texts)
		case <-timeout:
			return fmt.Errorf("%q is not on the screen within %v; what came is %q", texts, patience, w.seen())
		}
	}
}

// quiet waits until nothing has come for a while: a key is not to be taken for the
// state that is drawn each second.
func (w *watched) quiet() {
	for {
		select {
		case <-w.more:
		case <-time.After(150 * time.Millisecond):
			return
		}
	}
}

// rowsOf finds how many rows there are in the line above the table.
var rowsOf = regexp.MustCompile(`of ([0-9,]+ flows)`)

func (w *watched) rows() (string, error) {
	all := rowsOf.FindAllStringSubmatch(w.seen(), -1)
	if all == nil {
		return "", errors.New("the screen does not say how many rows there are")
	}
	return all[len(all)-1][1], nil
}

// press presses each key and notes how many milliseconds it took until the terminal
// got something new.
func (w *watched) press(shown map[string][]float64) error {
	for _, k := range viewKeys {
		w.quiet()
		w.forget()
		begun := time.Now()
		if _, err := w.master.WriteString(k.keys); err != nil {
			return err
		}
		select {
		case <-w.more:
			shown[k.name] = append(shown[k.name], float64(time.Since(begun))/float64(time.Millisecond))
		case <-time.After(5 * time.Second):
			return fmt.Errorf("%s shows nothing within 5 s", k.name)
		}
	}
	return nil
}
