package event

// IP returns 4 or 6, or 0 if no address is known. A connection of IPv4-mapped
// addresses is 4. The remote end decides where it is known: the local address
// of an IPv6 socket is :: until connect() knows which family it is to be.
func (e *Event) IP() uint8 {
	a := e.Remote.Addr().Unmap()
	if local := e.Local.Addr().Unmap(); !a.IsValid() || a.IsUnspecified() && local.IsValid() {
		a = local
	}
	switch {
	case !a.IsValid():
		return 0
	case a.Is4():
		return 4
	}
	return 6
}
