package metrics

import (
	"cmp"

	"slices"
	"strings"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// pairs are the labels of a series, by name. They are shared and never changed.
type pairs []*dto.LabelPair

// label makes pairs of names and values, whose numbers are the same.
func label(names []string, values ...string) pairs {
	out := make(pairs, len(names))
	for i, n := range names {
		out[i] = &dto.LabelPair{Name: proto.String(n), Value: proto.String(values[i])}
	}
	slices.SortFunc(out, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out
}

// point is the value of one series at one moment. It never changes.
type point struct {
	metric *metric
	labels pairs
	value  float64
	hist   *dto.Histogram // of a histogram
}

// batch collects the points of one moment.
type batch struct {
	detail Detail
	points []point
}

// add adds a point, if the metric is exposed.
func (b *batch) add(m *metric, labels pairs, value float64) {
	if !m.only || b.detail == Full {
		b.points = append(b.points, point{metric: m, labels: labels, value: value})
	}
}

func (b *batch) addHistogram(m *metric, labels pairs, h *dto.Histogram) {
	b.points = append(b.points, point{metric: m, labels: labels, hist: h})
}

// Values of labels that are no names of owners.
const (
	other  = "_other"   // what does not fit
	nobody = "_unknown" // the owner is not known
)

// maxLabel bounds the value of a label, in bytes: the longest names of units are 255, of
// pods 63 behind those of namespaces.
const maxLabel = 128

// clean makes a label of a name from outside: valid UTF-8, of bounded length, and none of
// our own.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > maxLabel {
		n := maxLabel
		for !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	if s == other || s == nobody {
		return "_" + s
	}
	return s
}
