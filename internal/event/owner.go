package event

// KnownOwner tells the owner of the connection from e alone, best source first:
// of a client who opened it, of a server who accepted it, else what /proc says,
// else who closed it, else what e already says.
func (e *Event) KnownOwner() (Proc, OwnerFrom) {
	switch {
	case e.Role != Server && e.Opener.Known():
		return e.Opener, ByConnect
	case e.Role != Client && e.Accepter.Known():
		return e.Accepter, ByAccept
	case e.Owner == ByProc && e.Process.Known():
		return e.Process, ByProc
	case e.CloseProc.Known():
		return e.CloseProc, ByClose
	}
	return e.Process, e.Owner
}
