package session

import (
	"context"
	"errors"

	"github.com/twtrace/twtrace/internal/event"
)

// Writer takes records. Flush is called when no record comes for a moment.
type Writer interface {
	Write(*event.Event) error
	Flush() error
}

// Printer passes the records of a session that the user asked for to a Writer.
type Printer struct {
	Session *Session
	Out     Writer
	Named   bool               // records have the names of their network namespaces
	Left    int                // records to print at most, 0 for no limit
	Also    func(*event.Event) // sees each record as well, if it is not nil

	Printed int // but for start, lost, snapshot and end
}

// Run writes the start record, the records and the end record. It starts the job of
// the session once the start record is out.
func (p *Printer) Run(ctx context.Context) error {
	first, err := p.Session.Start()
	if err != nil {
		return err
	}
	if err := p.Out.Write(&first); err != nil {
		return err
	}
	if job := p.Session.Job(); job != nil {
		if err := errors.Join(p.Out.Flush(), job.Start()); err != nil {
			return err
		}
	}
	if err := p.Session.Run(ctx, p.Print, p.Out.Flush); err != nil {
		return err
	}
	last, err := p.Session.EndRecord()
	if err != nil {
		return err
	}
	if last.Kind == event.KindNone {
		return p.Out.Flush()
	}
	return errors.Join(p.Out.Write(&last), p.Out.Flush())
}

// Print writes e if it is a record the user asked for, and ends the session with the
// last one. What is still in the ring then is not printed.
func (p *Printer) Print(e *event.Event) error {
	if !e.Kind.Record() || !p.Session.Filter().Match(e) {
		return nil
	}
	if job := p.Session.Job(); job != nil {
		job.witness(e)
	}
	counts := e.Kind != event.Lost && e.Kind != event.Snapshot
	if counts && p.Left < 0 {
		return nil
	}
	if p.Named {
		e.NetNSName = p.Session.NetNSName(e.NetNS)
	}
	if err := p.Out.Write(e); err != nil {
		return err
	}
	if counts {
		p.Printed++
		if p.Also != nil {
			p.Also(e)
		}
	}
	if counts && p.Left > 0 {
		if p.Left--; p.Left == 0 {
			p.Left = -1
			p.Session.Stop("count")
		}
	}
	return nil
}
