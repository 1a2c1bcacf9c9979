package metrics

import (
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/twtrace/twtrace/internal/conn"
)

// zeroThreshold is the upper bound of the zero bucket of native histograms, in seconds:
// that of conn.TimingLow.
const zeroThreshold = 1.0 / (1 << (-conn.TimingLow >> conn.TimingSchema))

// histogramOf is a Timing as Prometheus has it: its classic buckets with the last
// connection of each, and the native ones. All counts are exact.
func histogramOf(t *conn.Timing, marks conn.Marks) *dto.Histogram {
	h := &dto.Histogram{SampleCount: proto.Uint64(t.N), SampleSum: proto.Float64(t.Seconds)}
	var sum uint64
	for i, m := range marks {
		sum += t.Marked[i]
		b := &dto.Bucket{UpperBound: proto.Float64(m.Seconds()), CumulativeCount: proto.Uint64(sum)}
		if x := &t.Example[i]; x.Cookie != 0 {
			b.Exemplar = &dto.Exemplar{Value: proto.Float64(x.Length.Seconds()), Timestamp: timestamppb.New(time.Unix(0, x.Time)),
				Label: label([]string{"cookie"}, strconv.FormatUint(x.Cookie, 16))}
			h.Exemplars = append(h.Exemplars, b.Exemplar) // of the native ones
		}
		h.Bucket = append(h.Bucket, b)
	}
	h.Schema = proto.Int32(conn.TimingSchema)
	h.ZeroThreshold, h.ZeroCount = proto.Float64(zeroThreshold), proto.Uint64(t.Zero)
	fineBuckets(h, t)
	return h
}

// fineBuckets sets the native buckets: spans of those that have counts, and the counts as
// differences, each to the one before.
func fineBuckets(h *dto.Histogram, t *conn.Timing) {
	next, before := 0, int64(0)
	for i, n := range t.Fine {
		if n == 0 {
			continue
		}
		k := conn.TimingLow + 1 + i
		if last := len(h.PositiveSpan) - 1; last >= 0 && next == k {
			*h.PositiveSpan[last].Length++
		} else {
			offset := k - next
			h.PositiveSpan = append(h.PositiveSpan, &dto.BucketSpan{Offset: proto.Int32(int32(offset)), Length: proto.Uint32(1)})
		}
		h.PositiveDelta = append(h.PositiveDelta, int64(n)-before)
		next, before = k+1, int64(n)
	}
	if len(h.PositiveSpan) == 0 { // a native histogram, though it is empty
		h.PositiveSpan = []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(0)}}
	}
}
