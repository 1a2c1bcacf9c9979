package main

import (
	"net/netip"

	"github.com/twtrace/twtrace/internal/workload"
)

// perCase is how many connections a case makes, where it does not say otherwise.
const perCase = 11

func times(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}

var handCases = []*handCase{
	{name: "fork per connection", run: func(c *cast) {
		server, client := c.hand("forking"), c.hand("client")
		l := c.listen(server, workload.IPv4, workload.Socketing{})
		times(perCase, func(int) {
			near, far := c.connect(client, server, l)
			c.must(server.Fork(far))
			c.follow(client, near)
		})
	}},
	{name: "child closes what its parent opened", run: func(c *cast) {
		server, client := c.hand("server"), c.hand("parent")
		l := c.listen(server, workload.IPv6, workload.Socketing{})
		times(perCase, func(int) {
			near, far := c.connect(client, server, l)
			c.must(client.Fork(near))
			c.follow(server, far)
		})
	}},
	{name: "passed over a unix socket", run: func(c *cast) {
		server, worker, client, receiver := c.hand("server"), c.hand("worker"), c.hand("sender"), c.hand("receiver")
		l := c.listen(server, workload.IPv4, workload.Socketing{})
		times(perCase, func(i int) {
			near, far := c.connect(client, server, l)
			c.must(client.Give(receiver, near))
			c.must(server.Give(worker, far))
			if i%2 == 0 {
				c.must(receiver.Close(workload.Plain, near))
				c.follow(worker, far)
			} else {
				c.must(worker.Close(workload.Plain, far))
				c.follow(receiver, near)
			}
		})
	}},
	{name: "prefork", run: func(c *cast) {
		master, client := c.hand("master"), c.hand("client")
		l := c.listen(master, workload.IPv4, workload.Socketing{})
		var workers [3]*workload.Hand
		for i := range workers {
			workers[i] = c.hand("worker", l)
		}
		times(perCase, func(i int) {
			w := i % len(workers)
			near, far := c.connect(client, workers[w], workers[w].Inherited[0])
			c.must(workers[w].Close(workload.Plain, far))
			c.follow(client, near)
		})
	}},
	{name: "socket activation", run: func(c *cast) {
		init, client := c.hand("activator"), c.hand("client")
		server := c.hand("service", c.listen(init, workload.IPv4, workload.Socketing{}))
		times(perCase, func(int) {
			near, far := c.connect(client, server, server.Inherited[0])
			c.must(client.Close(workload.Plain, near))
			c.follow(server, far)
		})
	}},
	{name: "SO_REUSEPORT", run: func(c *cast) {
		client := c.hand("client")
		var servers [3]*workload.Hand
		var listeners [3]*workload.Listening
		for i := range servers {
			servers[i] = c.hand("reuseport")
			listeners[i] = c.listen(servers[i], workload.IPv4, workload.Socketing{ReusePort: true})
		}
		times(3*perCase, func(int) {
			near := c.open(client, listeners[0], workload.Socketing{})
			for i, s := range servers {
				waiting, err := s.Waiting(listeners[i])
				c.must(err)
				if waiting {
					far := c.accept(s, listeners[i], workload.Socketing{})
					c.must(s.Close(workload.Plain, far))
				}
			}
			c.follow(client, near)
		})
	}},
	{name: "threads with names of their own", run: func(c *cast) {
		server, client := c.hand("server"), c.hand("client")
		l := c.listen(server, workload.IPv4, workload.Socketing{Thread: "listen-thread"})
		times(perCase, func(int) {
			near, far := c.connect(client, server, l,
				workload.Socketing{Thread: "pool-1"}, workload.Socketing{Thread: "pool-2"})
			c.must(client.Close(workload.Plain, near))
			c.follow(server, far)
		})
	}},
	{name: "exec between connect and close", run: func(c *cast) {
		server, client := c.hand("server"), c.hand("before")
		l := c.listen(server, workload.IPv4, workload.Socketing{})
		var near, far [perCase]*workload.Held
		times(perCase, func(i int) { near[i], far[i] = c.connect(client, server, l) })
		c.must(client.Exec("after"))
		c.must(client.Close(workload.Plain, near[:]...))
		c.follow(server, far[:]...)
	}},
	{name: "killed with 500 sockets open", run: func(c *cast) { c.endOf((*workload.Hand).Kill) }},
	{name: "closed by exit", run: func(c *cast) { c.endOf((*workload.Hand).Exit) }},
	{name: "shutdown without close", run: func(c *cast) {
		server, client := c.hand("server"), c.hand("client")
		l := c.listen(server, workload.IPv4, workload.Socketing{})
		times(perCase, func(int) {
			near, far := c.connect(client, server, l)
			c.must(client.Shutdown(near))
			c.follow(server, far)
			c.must(client.EOF(near))
		})
	}},
	{name: "SO_LINGER 0", run: func(c *cast) {
		server, client := c.hand("server"), c.hand("client")
		l := c.listen(server, workload.IPv4, workload.Socketing{})
		times(perCase, func(i int) {
			near, far := c.connect(client, server, l)
			if i%2 == 0 {
				c.must(client.Abort(near))
				c.must(server.EOF(far))
			} else {
				c.must(server.Abort(far))
				c.must(client.EOF(near))
			}
		})
	}},
	{name: "IPv4-mapped", run: func(c *cast) { c.plain(workload.Mapped, workload.Socketing{}, workload.Socketing{}) }},
	{name: "non-blocking", run: func(c *cast) {
		how := workload.Socketing{Way: workload.NonBlocking}
		c.plain(workload.IPv4, how, how)
	}},
	{name: "io_uring", run: func(c *cast) {
		for _, way := range []workload.Way{workload.Uring, workload.UringWorker, workload.UringPoll} {
			c.plain(workload.IPv4, workload.Socketing{Way: way}, workload.Socketing{Way: way})
		}
	}},
	{name: "io_uring, multishot accept", unseen: true, run: func(c *cast) {
		c.plain(workload.IPv4, workload.Socketing{}, workload.Socketing{Way: workload.Multishot})
	}},
	{name: "MPTCP listener", run: func(c *cast) {
		c.plain(workload.IPv4, workload.Socketing{}, workload.Socketing{MPTCP: true})
	}},
	{name: "MPTCP client of a TCP listener", mptcp: true, run: func(c *cast) {
		c.plain(workload.IPv4, workload.Socketing{MPTCP: true}, workload.Socketing{})
	}},
	{name: "MPTCP", mptcp: true, noCloser: true, run: func(c *cast) {
		c.plain(workload.IPv6, workload.Socketing{MPTCP: true}, workload.Socketing{MPTCP: true})
	}},
	{name: "opened before the trace", before: func(c *cast) {
		server, client := c.hand("server"), c.hand("client")
		l := c.listen(server, workload.IPv4, workload.Socketing{})
		times(perCase, func(int) { c.connect(client, server, l) })
	}, run: func(c *cast) {
		for i := 0; i < len(c.held); i += 2 {
			first, second := c.held[i], c.held[i+1]
			if i%4 == 0 {
				first, second = second, first
			}
			c.must(first.Hand().Close(workload.Plain, first))
			c.follow(second.Hand(), second)
		}
	}},
	{name: "closed after the opener is gone", run: func(c *cast) {
		server, client, keeper := c.hand("server"), c.hand("opener"), c.hand("keeper")
		l := c.listen(server, workload.IPv4, workload.Socketing{})
		var near, far [perCase]*workload.Held
		times(perCase, func(i int) {
			near[i], far[i] = c.connect(client, server, l)
			c.must(client.Give(keeper, near[i]))
		})
		c.must(client.Exit())
		c.must(keeper.Close(workload.Plain, near[:]...))
		c.follow(server, far[:]...)
	}},
}

// endOf has a client end that holds 500 connections.
func (c *cast) endOf(end func(*workload.Hand, ...*workload.Held) error) {
	const n = 500
	server, client := c.hand("server"), c.hand("holder")
	l := c.listen(server, workload.IPv4, workload.Socketing{})
	var near, far [n]*workload.Held
	times(n, func(i int) { near[i], far[i] = c.connect(client, server, l) })
	c.must(end(client, near[:]...))
	c.follow(server, far[:]...)
}

// plain makes connections between two processes, each end in its way. Either closes first.
func (c *cast) plain(at netip.AddrPort, near, far workload.Socketing) {
	server, client := c.hand("server"), c.hand("client")
	l := c.listen(server, at, far)
	closing := func(s workload.Socketing) workload.Way {
		if s.Way == workload.NonBlocking || s.Way == workload.Multishot {
			return workload.Plain
		}
		return s.Way
	}
	times(perCase, func(i int) {
		n, f := c.connect(client, server, l, near, far)
		if i%2 == 0 {
			c.must(client.Close(closing(near), n))
			c.follow(server, f)
		} else {
			c.must(server.Close(closing(far), f))
			c.follow(client, n)
		}
	})
}
