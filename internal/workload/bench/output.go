package main

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// pipeSize is the capacity of the pipe and of one read, so that a tool seldom
// waits for its reader. It is the most that an unprivileged user may have.
const pipeSize = 1 << 20

// output is what a tool printed, thrown away but for a line at either end.
type output struct {
	first     chan struct{} // closed with the first line, or with the end of all
	firstTime time.Time     // when the first line was there, zero if none was; set before first is closed
	tail      []byte        // the last bytes
	lines     uint64
}

func newOutput() *output { return &output{first: make(chan struct{})} }

// maxTail bounds tail: longer last lines are cut at the front.
const maxTail = 64 << 10

// read reads r to its end.
func (o *output) read(r io.Reader) error {
	defer func() {
		if o.lines == 0 {
			close(o.first)
		}
	}()
	buf := make([]byte, pipeSize)
	for {
		n, err := r.Read(buf)
		o.take(buf[:n])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (o *output) take(b []byte) {
	lines := uint64(bytes.Count(b, []byte{'\n'}))
	if o.lines == 0 && lines > 0 {
		o.firstTime = time.Now()
		close(o.first)
	}
	o.lines += lines
	o.tail = append(o.tail, b[max(0, len(b)-maxTail):]...)
	if over := len(o.tail) - maxTail; over > 0 {
		o.tail = o.tail[:copy(o.tail, o.tail[over:])]
	}
}

// last returns the last line, without its end.
func (o *output) last() []byte {
	text := bytes.TrimRight(o.tail, "\n")
	return text[bytes.LastIndexByte(text, '\n')+1:]
}
