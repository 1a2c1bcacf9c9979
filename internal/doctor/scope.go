package doctor

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/kernel"
)

// NotSeen says in words what of this host the diagnosis did not read, though there may be
// trouble; "" if that is nothing.
func (r Report) NotSeen() string {
	var parts []string
	if n := len(r.Closed); n > 0 {
		parts = append(parts, fmt.Sprintf("%s could not be read (%s)", namespaces(n), list(r.Closed)))
	}
	if r.Hidden {
		parts = append(parts, "the network namespaces of other users' processes are not visible")
	}
	if n := len(r.Unwatched); n > 0 {
		parts = append(parts, fmt.Sprintf("%s with fewer sockets were not examined (%s)", namespaces(n), list(r.Unwatched)))
	}
	return strings.Join(parts, "; ")
}

// SeeMore is the command that shows what was not seen, "" if there is none: root who may
// not read everything has to go elsewhere.
func (r Report) SeeMore() string {
	switch {
	case r.NotSeen() == "":
		return ""
	case !r.Root:
		return "sudo twtrace doctor"
	case len(r.Closed) > 0 || r.Hidden:
		return ""
	}
	var inums []string
	for _, n := range r.Unwatched {
		inums = append(inums, strconv.FormatUint(uint64(n.Inum), 10))
	}
	return "twtrace doctor -N " + strings.Join(inums, ",")
}

// scope is NotSeen as a line of the report, with what to do.
func (r Report) scope() string {
	words := r.NotSeen()
	if words == "" {
		return ""
	}
	if more := r.SeeMore(); more != "" {
		return fmt.Sprintf("Not seen: %s. Run `%s` to see more.", words, more)
	}
	return fmt.Sprintf("Not seen: %s. To see more, %s.", words, seeHow)
}

// seeHow is what to do where no command shows more.
const seeHow = "run it on the host, with CAP_SYS_ADMIN and CAP_SYS_PTRACE"

func namespaces(n int) string {
	if n == 1 {
		return "1 network namespace"
	}
	return fmt.Sprintf("%d network namespaces", n)
}

// maxSpaces is how many namespaces the report names.
const maxSpaces = 8

// list names namespaces, at most maxSpaces of them.
func list(spaces []kernel.NetNS) string {
	var names []string
	for i, n := range spaces {
		if i == maxSpaces {
			names = append(names, fmt.Sprintf("%d more", len(spaces)-i))
			break
		}
		names = append(names, n.String())
	}
	return strings.Join(names, ", ")
}
