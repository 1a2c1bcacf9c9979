package record

import (
	"fmt"
	"strings"
	"time"
)

// namer makes the names of the files of a recording.
type namer struct {
	stem, ext string
	varies    bool
	n         int
}

// extensions stay at the end of a name.
var extensions = []string{".ndjson.zst", ".zst", ".ndjson"}

func newNamer(name string, varies bool) namer {
	n := namer{stem: name, varies: varies}
	for _, ext := range extensions {
		if stem, ok := strings.CutSuffix(name, ext); ok && stem != "" {
			n.stem, n.ext = stem, ext
			break
		}
	}
	return n
}

// next returns the name of the next file. If there may be several, names contain the
// time, so that they sort by age, and a number, so that no two are equal.
func (n *namer) next(now time.Time) string {
	n.n++
	if !n.varies {
		return n.stem + n.ext
	}
	return fmt.Sprintf("%s-%s-%06d%s", n.stem, now.UTC().Format("20060102T150405Z"), n.n, n.ext)
}
