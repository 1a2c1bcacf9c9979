package replay

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/record"
)

// MaxDamage is how many damages are listed one by one.
const MaxDamage = 5

// Damage is what was wrong with the files, nil if nothing was.
func (f *Files) Damage() error {
	if n := f.reader.Unknown(); n > 0 && f.opt.Talk != nil {
		f.opt.Talk("%d words of the recording are from a newer twtrace, and count as unknown", n)
	}
	if len(f.reader.Damage) == 0 {
		return nil
	}
	var parts []string
	for i, d := range f.reader.Damage {
		if i == MaxDamage {
			parts = append(parts, fmt.Sprintf("and %d more", len(f.reader.Damage)-i))
			break
		}
		parts = append(parts, d.String())
	}
	return errors.New(strings.Join(parts, "; "))
}

// Damages are the places where something was wrong with the files, so far.
func (f *Files) Damages() []record.Damage { return slices.Clone(f.reader.Damage) }
