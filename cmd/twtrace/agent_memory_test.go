package main

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestAgentMemory: at rest both processes of an agent hold at most 48 MiB, each page counted
// once: the pages of the program are those of both.
func TestAgentMemory(t *testing.T) {
	t.Parallel()
	a := serveAgent(t, "-N", kerneltest.NetNS(t).Path())
	pages := func(pid int, name string) (kib uint64) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		must(t, err)
		for line := range bytes.Lines(text) {
			if rest, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
				_, err := fmt.Sscan(string(rest), &kib)
				must(t, err)
			}
		}
		return kib
	}
	tracer, speaker := a.cmd.Process.Pid, a.speaker().Pid
	kerneltest.Eventually(t, patience, func() (bool, string) {
		// Others that run this program share its pages too, so that Pss would be too little.
		own := pages(speaker, "Private_Clean") + pages(speaker, "Private_Dirty")
		sum := pages(tracer, "Rss") + own
		return sum > 10<<10 && sum <= 48<<10, fmt.Sprintf("tracer and speaker hold %d KiB, of which the speaker has %d alone", sum, own)
	})
	a.stop()
}
