package process

import (
	"sync"
	"time"
)

// namesFor is how long the names of a container are good that has none: its
// runtime may yet write them.
const namesFor = 10 * time.Second

// described is a Place that was found out from a path.
type described struct {
	place   Place
	expires time.Time // zero for never
}

// reader does the slow part of a Resolver, one question at a time.
type reader struct {
	root string // of proc
	now  func() time.Time

	cmdlines bool // are asked for

	mu     sync.Mutex
	fs     *cgroupFS
	names  names
	places *lru[string, described] // by the path of the cgroup
	reads  uint64
}

// sighting is where /proc showed a process.
type sighting struct {
	place   Place
	unified string // path of its cgroup v2, which need not be that of place
}

// process reads who has the pid of k, and where it is. reads is how many reads
// that took.
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

// cgroup finds the path of a cgroup v2 and what that says.
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

// describe tells what the path of a cgroup says, and what the container runtimes
// know of it. r.mu is held.
func (r *reader) describe(path string) Place {
	now := r.now()
	if d := r.places.get(path); d != nil && valid(d.expires, now) {
		return d.place
	}
	d := described{place: identify(path)}
	r.names.find(&d.place)
	if d.place.Container != "" && d.place.ContainerName == "" {
		d.expires = now.Add(namesFor)
	}
	r.places.put(path, d)
	return d.place
}

// counts are what a reader adds to the Stats.
type counts struct {
	reads  uint64 // of /proc
	failed uint64 // files of container runtimes that were there and of no use
	absent uint64 // containers that no file was found of
}

// counts returns what was counted since the last call.
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

// over returns which of two places holds: p, where a hook saw the process in
// cgroup v2, or where /proc showed it. If it is still there, /proc knows more,
// namely the other hierarchies. The root of the hierarchy says nothing.
func (p Place) over(seen sighting) Place {
	if p.Cgroup == "" || p.Cgroup == seen.unified || p.Cgroup == "/" && seen.place.Cgroup != "" {
		return seen.place
	}
	return p
}
