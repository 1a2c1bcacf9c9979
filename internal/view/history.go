package view

// What is kept of the past. The rows bound the memory: one takes about 1 KiB.
const (
	historyStates = 600
	historyRows   = 50_000
)

// pastStates is the states of the last minutes, oldest first.
type pastStates struct {
	states []*State
	rows   int
}

// add keeps s, and forgets what is too much. It returns how many it forgot.
func (p *pastStates) add(s *State) (forgotten int) {
	p.states = append(p.states, s)
	p.rows += len(s.Rows)
	for len(p.states) > historyStates || p.rows > historyRows && len(p.states) > 2 {
		p.rows -= len(p.states[0].Rows)
		p.states[0] = nil
		p.states = p.states[1:]
		forgotten++
	}
	return forgotten
}
