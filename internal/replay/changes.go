package replay

import (
	"maps"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/record"
)

// Change is a sysctl that somebody changed while the recording ran.
type Change struct {
	At     time.Time // when twtrace read the new value
	After  time.Time // when it had read the old one last; zero if that is not known
	NetNS  uint32
	Name   string // net.ipv4.tcp_tw_reuse
	Before string
	Value  string
}

// maxChanges bounds the changes that are kept.
const maxChanges = 1000

// changed notes which sysctls of a namespace have other values.
func (f *Files) changed(netns uint32, was, now map[string]string, read record.Read) {
	for _, c := range f.coming { // the latest ones known are not yet those that hold
		if c.netns == netns {
			was = c.limits.Map()
		}
	}
	if read.At.IsZero() { // of an older file: within a block
		read.At = f.Now()
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if was[name] != now[name] && len(f.changes) < maxChanges {
			f.changes = append(f.changes, Change{At: read.At, After: read.Before, NetNS: netns, Name: name, Before: was[name], Value: now[name]})
		}
	}
}

// coming is limits that were read at a time that the replay has not reached: the file has
// them in front of the next event.
type coming struct {
	at     int64 // ns since the epoch
	netns  uint32
	limits kernel.Limits
}

// apply sets the limits that were read up to now.
func (f *Files) apply() {
	for len(f.coming) > 0 && f.coming[0].at <= f.now {
		f.limits[f.coming[0].netns] = f.coming[0].limits
		f.coming = f.coming[1:]
	}
}

// Changes are the sysctls that changed up to where the files were read, in order.
func (f *Files) Changes() []Change { return slices.Clone(f.changes) }
