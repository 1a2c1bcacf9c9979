package recorder

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/record"
)

// progress shows on a terminal how it goes.
func (r *Recorder) progress(now time.Time) {
	s := r.w.Stats()
	since := now.Sub(r.shown)
	was := r.records
	r.shown, r.records = now, s.Records
	if f, ok := r.opt.Stderr.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) || since > time.Hour {
		return
	}
	r.dirty = true
	rate := float64(s.Records-was) / since.Seconds()
	fmt.Fprintf(r.opt.Stderr, "\r\x1b[K%s, %s/s", r.words(s), output.Count(uint64(rate)))
}

func (r *Recorder) clearLine() {
	if r.dirty {
		fmt.Fprint(r.opt.Stderr, "\r\x1b[K")
		r.dirty = false
	}
}

// summary says what was written.
func (r *Recorder) summary(s record.Stats) { r.session.Talk("%s", r.words(s)) }

func (r *Recorder) words(s record.Stats) string {
	files := "files"
	if s.Files == 1 {
		files = "file"
	}
	words := fmt.Sprintf("%s records, %s KiB in %d %s, %s lost",
		output.Count(s.Records), output.Count(uint64(s.Bytes+1023)>>10), s.Files, files, output.Count(r.session.LostTotal()))
	if r.flight {
		words += fmt.Sprintf(", %s KiB in memory", output.Count(uint64(s.Held+1023)>>10))
	}
	return words
}
