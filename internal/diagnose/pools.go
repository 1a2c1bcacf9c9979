package diagnose

import (
	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
)

// poolOf is how many connections a group of a client keeps.
func poolOf(g *conn.Group) *advice.Pool {
	return &advice.Pool{
		Over: g.Pool.Over, Opened: g.Pool.Opens, Closed: g.Pool.Closed, Brief: g.Pool.Brief,
		Least: g.Pool.Least, Most: g.Pool.Most, Burst: g.Pool.Burst, Kept: g.Pool.Kept,
		Emptied: g.Pool.Over > 0 && g.Pool.Emptied == g.Pool.Over, Together: g.Kind == conn.GroupComm,
	}
}

// builds knows which programs are built by Go: to read that from an executable costs some
// milliseconds.
type builds map[build]built

type build struct {
	pid   uint32
	start uint64
}

type built struct {
	byGo    bool
	modules []string
}

// maxBuilds bounds them: a program that starts many processes fills it with its own.
const maxBuilds = 256

// learn sets which of the programs that open many connections are built by Go, and from
// what.
func (d *Diagnosis) learn(list []advice.Contributor) {
	if d.opt.TablesOnly || !d.host.Processes() {
		return
	}
	for i := range list {
		o := &list[i]
		if o.N < manyOpened || !o.Process.Known() {
			continue
		}
		k := build{o.Process.PID, o.Process.Start()}
		b, ok := d.builds[k]
		if !ok {
			if len(d.builds) >= maxBuilds {
				clear(d.builds)
			}
			b.modules, b.byGo = d.host.GoModules(o.Process.PID)
			d.builds[k] = b
		}
		o.Pool.Go, o.Pool.Modules = b.byGo, b.modules
	}
}
