package conn

// SetCloseWait says which connections were in CLOSE_WAIT at a poll of the kernel's
// sockets at that time (ns since the epoch), by their cookies: no event says it, as one for
// each would cost every connection a quarter more. It replaces what the poll before had. A
// cookie that the table does not hold, or whose connection has ended since, counts
// for nothing.
func (t *Table) SetCloseWait(at int64, cookies []uint64) {
	t.total.CloseWaitAt = at
	for _, k := range t.closeWait {
		t.setCloseWait(k, false)
	}
	t.closeWait = append(t.closeWait[:0], cookies...)
	for _, k := range t.closeWait {
		t.setCloseWait(k, true)
	}
}

// setCloseWait moves a full socket from one gauge to the other.
func (t *Table) setCloseWait(cookie uint64, yes bool) {
	s := t.sockets.get(cookie)
	if s == nil || s.phase != live || s.seen&closeWait != 0 == yes {
		return
	}
	g, d := t.groups.get(s.group), t.dests.get(s.dest)
	g.hold(s, -1)
	t.total.hold(s, -1)
	s.seen ^= closeWait
	g.hold(s, 1)
	t.total.hold(s, 1)
	switch {
	case d == nil:
	case yes:
		d.closeWait++
	default:
		d.closeWait--
	}
}

// leaveCloseWait is for a connection that goes on from its open phase.
func (t *Table) leaveCloseWait(s *socket) {
	if s.seen&closeWait == 0 {
		return
	}
	s.seen &^= closeWait
	if d := t.dests.get(s.dest); d != nil {
		d.closeWait--
	}
}
