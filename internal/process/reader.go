package process

import (
	"sync"
	"time"
)

// unnamedFor is how long a container without a name counts as such: its runtime may
// write the name later.
const unnamedFor = 10 * time.Second

// described is the Place of a path.
type described struct {
	place   Place
	expires time.Time // zero for never
}

// reader does the slow part of a Resolver, one question at a time.
type reader struct {
	root string // of proc
	now  func() time.Time

	cmdlines bool // see Options

	mu     sync.Mutex
	fs     *cgroupFS
	names  names
	places *lru[string, described] // by the path of the cgroup
	reads  uint64
}

// sighting is the place of a process in /proc.
type sighting struct {
	place   Place
	unified string // path of its cgroup v2, which may differ from that of place
}

// process reads the facts about the process of k, and its place. reads is how many
// reads that took.
func (r *reader) process(k Key) (info Info, seen sighting, reads int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.reads
	info, where, err := readProcess(r.root, k, r.cmdlines, &r.reads)
	if err == nil {
		seen = sighting{r.describe(where.best()), where.unified}
	}
	return info, seen, int(r.reads - before), err
}

// cgroup finds the path of a cgroup v2, and describes it.
func (r *reader) cgroup(id uint64) (Place, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads += cgroupReads
	path, err := r.fs.path(id)
	if err != nil {
		return Place{}, err
	}
	return r.describe(path), nil
}

// describe returns what the path of a cgroup and the files of container runtimes say.
// r.mu is held.
func (r *reader) describe(path string) Place {
	now := r.now()
	if d := r.places.get(path); d != nil && valid(d.expires, now) {
		return d.place
	}
	d := described{place: identify(path)}
	r.names.find(&d.place)
	if d.place.Container != "" && d.place.ContainerName == "" {
		d.expires = now.Add(unnamedFor)
	}
	r.places.put(path, d)
	return d.place
}

// counts are what a reader adds to the Stats.
type counts struct {
	reads  uint64 // of /proc
	failed uint64 // files of container runtimes that could not be used
	absent uint64 // containers without a file
}

// counts returns the counts since the last call.
func (r *reader) counts() counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := counts{r.reads, r.names.failed, r.names.absent}
	r.reads, r.names.failed, r.names.absent = 0, 0, 0
	return c
}

func (r *reader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fs.close()
}

// over returns the better of two places: p, where a hook saw the process in cgroup
// v2, or the one in /proc. If the process has not moved, /proc knows more, namely the
// other hierarchies. The root of the hierarchy says nothing.
func (p Place) over(seen sighting) Place {
	if p.Cgroup == "" || p.Cgroup == seen.unified || p.Cgroup == "/" && seen.place.Cgroup != "" {
		return seen.place
	}
	return p
}
