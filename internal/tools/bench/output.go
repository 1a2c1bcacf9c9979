package main

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"time"
)

// pipeSize is the capacity of the pipe and of one read, so that a tool seldom
// waits for its reader. It is the maximum of an unprivileged user.
const pipeSize = 1 << 20

// output is what a tool printed, thrown away but for a line at either end.
type output struct {
	first     chan struct{} // closed with the first line, or with the end of all
	firstTime time.Time     // when the first line was there, zero if none was; set before first is closed
	tail      []byte        // the last bytes
	lines     uint64
	delays    []time.Duration // from the time of a record to its being there, of some
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
	o.time(b)
	o.tail = append(o.tail, b[max(0, len(b)-maxTail):]...)
	if over := len(o.tail) - maxTail; over > 0 {
		o.tail = o.tail[:copy(o.tail, o.tail[over:])]
	}
}

// last returns the last line, without its end.
func (o *output) last() []byte { return lastLine(o.tail) }

func lastLine(text []byte) []byte {
	text = bytes.TrimRight(text, "\n")
	return text[bytes.LastIndexByte(text, '\n')+1:]
}

// timed is how many records of each read have their delay taken.
const timed = 16

// time takes the delays of records of twtrace in b, spread evenly over its bytes.
func (o *output) time(b []byte) {
	now := time.Now()
	for i := range timed {
		rest := b[len(b)*i/timed:]
		begin := bytes.Index(rest, []byte("\n"+timeField))
		if begin < 0 {
			return
		}
		text, _, whole := bytes.Cut(rest[begin+1+len(timeField):], []byte{'"'})
		if at, err := time.Parse(time.RFC3339Nano, string(text)); whole && err == nil {
			o.delays = append(o.delays, now.Sub(at))
		}
	}
}

const timeField = `{"time":"`

// latency returns the delays that half of the records, and one in a hundred, exceed;
// 0 if there was no record with a time.
func (o *output) latency() (p50, p99 time.Duration) {
	n := len(o.delays)
	if n == 0 {
		return 0, 0
	}
	slices.Sort(o.delays)
	return o.delays[n/2], o.delays[n*99/100]
}
