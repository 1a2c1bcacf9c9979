package advice

import (
	"fmt"
	"slices"
	"testing"
)

func TestMaxFindings(t *testing.T) {
	f := healthy()
	f.Limits.MaxTWBuckets = 1 << 30
	for i := range 20 {
		f = f.with(destination("10.0.0.7", fmt.Sprintf("10.2.0.%d:80", i), 27000+i))
	}
	var got []string
	for _, x := range Diagnose(f) {
		if x.ID == "TW101" {
			got = append(got, x.Scope.Raddr)
		}
	}
	if want := []string{"10.2.0.19", "10.2.0.18", "10.2.0.17", "10.2.0.16", "10.2.0.15"}; !slices.Equal(got, want) {
		t.Errorf("reported %v, want the fullest five: %v", got, want)
	}
}
