package conn

// What was large once takes no memory for good: a slice or a map that is used again is given
// up when it has become far too large for what is in it.
const (
	farTooLarge = 8    // times
	neverLarge  = 1024 // elements
)

// again is an empty list in the memory of another one, for n elements.
func again[T any](list []T, n int) []T {
	if cap(list) > neverLarge && cap(list)/farTooLarge > n {
		return nil
	}
	return list[:0]
}

// shrunk is m, or a copy of it if it had far more elements once. peak is how many it had.
func shrunk[K comparable, V any](m map[K]V, peak *int) map[K]V {
	*peak = max(*peak, len(m))
	if *peak <= neverLarge || *peak/farTooLarge <= len(m) {
		return m
	}
	*peak = len(m)
	c := make(map[K]V, len(m)) // a map keeps its memory when it gets empty
	for k, v := range m {
		c[k] = v
	}
	return c
}
