package event

// KnownOwner returns the owner of the connection from e alone, and how it is known:
// the opener of a client, the accepter of a server, else the process in /proc, else
// the closer, else the owner that e already has.
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
