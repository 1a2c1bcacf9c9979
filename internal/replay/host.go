package replay

import (
	"errors"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/diagnose"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/session"
)

var _ diagnose.Host = (*Files)(nil)

// Space returns a network namespace whose limits the recording has, with them.
func (f *Files) Space(netns uint32) (kernel.NetNS, kernel.Limits, bool) {
	k, ok := f.Limits(netns)
	return kernel.NetNS{Inum: netns, Name: f.names[netns], Recorded: true, Home: netns != 0 && netns == f.home}, k, ok
}

// A recording has no counters of the kernel, and none of the processes runs any more as
// far as anybody knows.

func (f *Files) Count(kernel.NetNS) (advice.Counted, error) {
	return advice.Counted{}, errors.ErrUnsupported
}
func (f *Files) MemAvailable() (uint64, error)            { return 0, errors.ErrUnsupported }
func (f *Files) Processes() bool                          { return false }
func (f *Files) SystemTime(uint32) (time.Duration, error) { return 0, errors.ErrUnsupported }
func (f *Files) GoModules(uint32) ([]string, bool)        { return nil, false }
func (f *Files) Runs(uint32) bool                         { return false }
func (f *Files) Stopped(uint32) bool                      { return false }
func (f *Files) Descriptors(uint32) (used, limit uint64, err error) {
	return 0, 0, errors.ErrUnsupported
}

// Sockets says that no recording has them.
func (f *Files) Sockets(kernel.NetNS, kernel.StateMask, func(kernel.Socket) error) error {
	return errors.ErrUnsupported
}

func (f *Files) Holders(kernel.NetNS, uint16, time.Time) []conn.Socket      { return nil }
func (f *Files) WatchLingering()                                            {}
func (f *Files) Lingering(uint32, time.Time, time.Time) []session.Lingering { return nil }
