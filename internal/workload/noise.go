package workload

// Noise is a neighbour that has nothing to do with the matter.
type Noise struct{}

func (c *child) noise() error { return nil }
