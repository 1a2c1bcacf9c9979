// Package record writes and reads trace files: the records of a trace as NDJSON,
// in blocks that can each be read alone. docs/trace-file.md describes the format.
//
// A block is a skippable zstd frame with one line of JSON, the [Header], and a
// zstd frame with the records. So `zstd -dc` prints the records and nothing else,
// a file that lost its end or its middle is readable before and after the gap, and
// a reader finds the blocks it wants without decompressing the others.
package record

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Format is the version of the file format that this package writes. It reads
// this one and all before it.
const Format = 2

// magic is the number of the skippable frame in front of each block, in the byte order
// of the file. zstd reserves 0x184D2A50 to 0x184D2A5F for such frames.
var magic = binary.LittleEndian.AppendUint32(nil, 0x184D2A5A)

// Limits of what a reader accepts. A block is closed after blockBytes, so a block is
// larger by one record at most.
const (
	blockBytes  = 256 << 10 // of records, after which a block is closed
	maxHeader   = 1 << 20
	maxRaw      = 4 << 20 // of records in a block
	maxFrame    = maxRaw + 64<<10
	blockPeriod = time.Second // after which a block is closed
)

// Header says what is in a block.
type Header struct {
	Format  int               `json:"twtrace"`
	Trace   string            `json:"trace"`           // names the recording; the same in all its files
	Part    int               `json:"part"`            // of the recording, from 1: which file
	Block   int               `json:"block"`           // of the file, from 0
	Records uint64            `json:"records"`         // in the block
	Before  uint64            `json:"before"`          // records of the recording before the block
	Base    uint64            `json:"base,omitempty"`  // of those, the ones before the file
	First   *time.Time        `json:"first,omitempty"` // the earliest and the latest time in the block
	Last    *time.Time        `json:"last,omitempty"`
	Lost    map[string]uint64 `json:"lost,omitempty"`          // by stage, from the start of the recording to the end of the block
	Raw     int               `json:"raw"`                     // bytes of the records, decompressed
	Bytes   int               `json:"bytes"`                   // bytes of the zstd frame that follows
	Limits  []Limits          `json:"limits,omitempty"`        // in the first block of a file all known ones, in others the new ones
	Read    *time.Time        `json:"limits_read,omitempty"`   // when the new ones of Limits were read
	ReadOld *time.Time        `json:"limits_before,omitempty"` // when limits were read before that
	Clock   string            `json:"clock,omitempty"`
	Start   json.RawMessage   `json:"start,omitempty"`  // the start record: in the first block of each file
	End     json.RawMessage   `json:"end,omitempty"`    // the end record: in the last block of a recording
	Vitals  *event.Vitals     `json:"vitals,omitempty"` // how the tracer is doing: in a block a second of what an agent's tracer sends
	Close   string            `json:"close,omitempty"`  // why the file ends: in its last block
}

// read sets when the new limits were read.
func (h *Header) read(r Read) {
	for at, to := range map[*time.Time]**time.Time{&r.At: &h.Read, &r.Before: &h.ReadOld} {
		if !at.IsZero() {
			utc := at.UTC()
			*to = &utc
		}
	}
}

// limitsRead is when the new limits were read.
func (h *Header) limitsRead() (r Read) {
	if h.ReadOld != nil {
		r.Before = *h.ReadOld
	}
	if h.Read != nil {
		r.At = *h.Read
	}
	return r
}

// clock says which clock the times of the records come from.
const clock = "CLOCK_MONOTONIC, plus its offset to the time of day at the start"

// crcTable is CRC-32C.
var crcTable = crc32.MakeTable(crc32.Castagnoli)

// crcTail is how a header line ends. The eight digits are the checksum of the line
// before this and of the frame.
const crcTail = `,"crc":"00000000"}` + "\n"

// appendBlock appends the block of h and frame, and sets h.Bytes.
func appendBlock(dst []byte, h *Header, frame []byte) ([]byte, error) {
	h.Format, h.Bytes = Format, len(frame)
	line, err := json.Marshal(h)
	if err != nil {
		return dst, fmt.Errorf("encode the header of a block: %w", err)
	}
	line = line[:len(line)-1] // the brace
	sum := crc32.Update(crc32.Checksum(line, crcTable), crcTable, frame)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(line)+len(crcTail)))
	dst = append(dst, line...)
	dst = fmt.Appendf(dst, ",\"crc\":\"%08x\"}\n", sum)
	return append(dst, frame...), nil
}

// parseHeader returns the header of a line, and the checksum of what follows it.
func parseHeader(line []byte) (h Header, sum string, err error) {
	if !bytes.HasSuffix(line, []byte("\"}\n")) || len(line) < len(crcTail) {
		return h, "", errNoHeader
	}
	var all struct {
		Header
		CRC string `json:"crc"`
	}
	if err := json.Unmarshal(line, &all); err != nil {
		return h, "", errNoHeader
	}
	h = all.Header
	switch {
	case h.Format < 1:
		return h, "", errNoHeader
	case h.Format > Format:
		return h, "", &NewerError{What: "format", Is: h.Format, Known: Format}
	case h.Raw < 0 || h.Raw > maxRaw, h.Bytes < 0 || h.Bytes > maxFrame, h.Block < 0, h.Part < 0:
		return h, "", errNoHeader
	}
	return h, all.CRC, nil
}

// checks reports whether line and frame match their checksum.
func checks(line, frame []byte, sum string) bool {
	return fmt.Sprintf("%08x", crc32.Update(crc32.Checksum(line[:len(line)-len(crcTail)], crcTable), crcTable, frame)) == sum
}

// NewerError reports a file that a later version of twtrace wrote and this one cannot
// read.
type NewerError struct {
	What      string // "format" or "schema"
	Is, Known int
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("it was written by a newer twtrace (%s %d; this one reads up to %d)", e.What, e.Is, e.Known)
}
