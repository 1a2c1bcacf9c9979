// Package e2e has only tests: they make each trouble for real, in network
// namespaces of their own, and follow the advice. They need root.
package e2e

import (
	"testing"

	"github.com/twtrace/twtrace/internal/advice"
)

// find returns the finding with an ID, which there must be.
func find(t *testing.T, all []advice.Finding, id string) advice.Finding {
	t.Helper()
	for _, x := range all {
		if x.ID == id {
			return x
		}
	}
	t.Fatalf("no %s among %v", id, ids(all))
	return advice.Finding{}
}

func ids(all []advice.Finding) (list []string) {
	for _, x := range all {
		list = append(list, x.ID+" "+x.Severity.String())
	}
	return list
}
