package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// LastTime returns the latest time in files, without decompressing them. It is the zero
// time if they do not say: stdin, which can be read only once, or a file without a time.
func LastTime(names []string) (time.Time, error) {
	var last time.Time
	for _, name := range names {
		if name == "-" {
			return time.Time{}, nil
		}
		at, err := lastTime(name)
		if err != nil {
			return time.Time{}, fmt.Errorf("%s: find its end: %w", name, err)
		}
		if at.After(last) {
			last = at
		}
	}
	return last, nil
}

func lastTime(name string) (time.Time, error) {
	file, err := os.Open(name)
	if err != nil {
		return time.Time{}, errors.Unwrap(err)
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() { // a pipe is gone when it was read
		return time.Time{}, err
	}
	scan := newScanner(file)
	if scan.fill(1) && scan.win[0] == '{' {
		return lastLine(scan)
	}
	var last time.Time
	for {
		h, _, _, err := scan.next()
		switch {
		case errors.Is(err, io.EOF):
			return last, nil
		case err != nil:
			return last, err
		case h.Last != nil && h.Last.After(last):
			last = *h.Last
		}
		if at := timeOf(h.End); at.After(last) {
			last = at
		}
	}
}

// lastLine returns the time of the last record that has one.
func lastLine(in io.Reader) (last time.Time, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		if at := timeOf(lines.Bytes()); at.After(last) {
			last = at
		}
	}
	return last, lines.Err()
}

// timeOf returns the time of a record, the zero time if it has none.
func timeOf(line []byte) time.Time {
	var dec output.Decoder
	var e event.Event
	if len(line) == 0 || dec.Decode(line, &e) != nil || e.Time == 0 {
		return time.Time{}
	}
	return time.Unix(0, e.Time)
}
