package report

import "fmt"

// namer names network namespaces; nil knows no name.
type namer func(netns uint32) string

func (n namer) of(netns uint32) string {
	if n == nil || netns == 0 {
		return ""
	}
	return safe(n(netns))
}

// space is what a network namespace is called: by its name, else net:[NUMBER].
func (r *Report) space(netns uint32) string {
	switch name := r.names.of(netns); {
	case netns == 0:
		return ""
	case name != "":
		return name
	}
	return fmt.Sprintf("net:[%d]", netns)
}

// spaceWords are the name and the number of a network namespace.
func (r *Report) spaceWords(netns uint32) string {
	words := r.space(netns)
	if name := r.names.of(netns); name != "" {
		words += fmt.Sprintf(" (%d)", netns)
	}
	return words
}
