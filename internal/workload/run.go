package workload

import (
	"context"
	"errors"
	"fmt"
)

// Running is a scenario whose processes are there.
type Running struct {
	Server  *Process
	Clients []*Process

	scenario Scenario
	cancel   context.CancelFunc
}

// Run runs the scenario in the network namespace at path netns, from the first
// listener to the last connection. No process of it is left when it returns.
func (s Scenario) Run(ctx context.Context, netns string) (Result, error) {
	r, err := s.Start(ctx, netns)
	if err != nil {
		return Result{}, err
	}
	if err := r.Go(); err != nil {
		r.end()
		return Result{}, err
	}
	return r.Wait()
}

// Start starts the processes of the scenario in the network namespace at path
// netns; "" is the caller's own. The server listens, and the clients wait for
// Go. The caller must call Wait or Stop.
func (s Scenario) Start(ctx context.Context, netns string) (*Running, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &Running{scenario: s, cancel: cancel}
	if err := r.start(ctx, netns); err != nil {
		r.end()
		return nil, err
	}
	return r, nil
}

func (r *Running) start(ctx context.Context, netns string) (err error) {
	if r.Server, err = Start(ctx, netns, r.scenario.Server); err != nil {
		return err
	}
	client := r.scenario.Client
	plan := *client.Connect
	client.Connect = &plan
	if plan.To, err = r.Server.Ready(); err != nil {
		return err
	}
	for range max(r.scenario.Clients, 1) {
		p, err := Start(ctx, netns, client)
		if err != nil {
			return err
		}
		r.Clients = append(r.Clients, p)
	}
	return each(r.Clients, func(p *Process) error {
		_, err := p.Ready()
		return err
	})
}

// end kills what is left.
func (r *Running) end() {
	r.cancel()
	if r.Server != nil {
		<-r.Server.done
	}
	for _, p := range r.Clients {
		<-p.done
	}
}

// Go has the clients begin.
func (r *Running) Go() error { return each(r.Clients, (*Process).Go) }

// Wait waits for the clients' work and then for the server's, and returns what
// they logged. Clients that hold their connections are ended as the scenario
// says.
func (r *Running) Wait() (Result, error) {
	defer r.end()
	if r.scenario.Client.Connect.End.holds() {
		if err := r.hold(); err != nil {
			return Result{}, err
		}
	}
	return r.collect()
}

// Stop ends the clients where they are, and returns as Wait does.
func (r *Running) Stop() (Result, error) {
	defer r.end()
	if err := each(r.Clients, (*Process).Stop); err != nil {
		return Result{}, err
	}
	return r.collect()
}

func (r *Running) collect() (Result, error) {
	var out Result
	for _, p := range r.Clients {
		l, err := p.Wait()
		if err != nil {
			return Result{}, err
		}
		out.Clients = append(out.Clients, l)
	}
	if err := r.Server.Drain(out.Opened()); err != nil {
		return Result{}, err
	}
	var err error
	out.Server, err = r.Server.Wait()
	return out, err
}

// hold waits until the clients hold all their connections, and ends that.
func (r *Running) hold() error {
	if err := each(r.Clients, (*Process).Held); err != nil {
		return err
	}
	if f := r.scenario.AtHeld; f != nil {
		if err := f(); err != nil {
			return fmt.Errorf("while connections were held: %w", err)
		}
	}
	finish := r.scenario.Finish
	if finish == nil {
		finish = (*Process).Stop
	}
	return each(r.Clients, finish)
}

func each(all []*Process, f func(*Process) error) error {
	var errs []error
	for _, p := range all {
		errs = append(errs, f(p))
	}
	return errors.Join(errs...)
}
