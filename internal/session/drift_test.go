package session

import (
	"errors"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func TestJudge(t *testing.T) {
	names := map[uint32]string{7: "", 8: "web"}
	drift := []event.Drift{{NetNS: 7, Births: 3, Alive: -1}, {NetNS: 8, Reused: 2, Refused: -4}}
	tests := []struct {
		name  string
		lost  map[event.Stage]uint64
		drift []event.Drift
		want  string
	}{
		{"nothing", nil, nil, ""},
		{"lost", map[event.Stage]uint64{event.StageRing: 5, event.StageMap: 1}, nil,
			"events were lost: 5 (ring) 1 (map); try a larger --buffer or --max-conns"},
		{"drift", nil, drift,
			"in netns 7 the kernel counts 3 more TIME_WAIT starts, 1 fewer TIME_WAIT socket; in web the kernel counts 2 more reuses, 4 fewer refused TIME_WAITs"},
		{"both", map[event.Stage]uint64{event.StageRing: 5}, drift[:1],
			"events were lost: 5 (ring); try a larger --buffer or --max-conns; in netns 7 the kernel counts 3 more TIME_WAIT starts, 1 fewer TIME_WAIT socket"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := judge(test.lost, test.drift, func(netns uint32) string { return names[netns] })
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			var loss *LossError
			if !errors.As(err, &loss) || loss.Error() != test.want {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
