package advice

// reuse says whether connect() may reuse ports in TIME_WAIT.
type reuse uint8

const (
	reuseOff        reuse = iota // tcp_tw_reuse does not apply to the destination
	reuseUseless                 // nor would it help: the peer uses no timestamps
	reuseImpossible              // timestamps are off
	reuseInVain                  // allowed, but it never happened: the peer uses no timestamps
	reuseSeen                    // allowed, and it happened, to this destination or another
	reuseWorks                   // loopback: both ends are on this host and use timestamps
)

func (f *Facts) reuse(d Destination) reuse {
	plain := d.Begun > 0 && d.Stamped == 0 // none uses timestamps
	switch {
	case f.Limits.Timestamps == 0:
		return reuseImpossible
	case f.Limits.TWReuse == 0, f.Limits.TWReuse == 2 && !d.loopback():
		if plain {
			return reuseUseless
		}
		return reuseOff
	case d.loopback():
		return reuseWorks
	case d.Stamped > 0, d.Begun == 0 && f.recycled() > 0:
		return reuseSeen
	}
	return reuseInVain
}

// recycled is how many ports connect() has reused: in the window if there is
// one, else since the namespace was created.
func (f *Facts) recycled() uint64 {
	if f.Window > 0 {
		return grown(f.After.TWRecycled, f.Before.TWRecycled)
	}
	return f.After.TWRecycled
}
