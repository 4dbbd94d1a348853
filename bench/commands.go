package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"
)

const sourceHelp = `
go run ./bench source --to ADDR [FLAG...]

Sends messages by SMTP as fast as replies come, MAIL, RCPT and DATA in one
write where PIPELINING is offered, and prints the rate and how long the reply to
the final dot took. The clock starts when the last part of a message (at most
8 KB, with the dot) is handed to the kernel.

exit status: 0 when every message got a 250, else 1; 2 for wrong flags.
`

// sourceFlags are the flags of `source`, as they were given.
type sourceFlags struct {
	message string
	clients int
	json    bool
}

func sourceCommand(ctx context.Context, out, errs io.Writer, args []string) error {
	fs := flags(out, errs, "source", sourceHelp)
	var s source
	var f sourceFlags
	fs.StringVar(&s.Address, "address", "127.0.0.1:2525", "SMTP server, `HOST:PORT`")
	fs.IntVar(&s.Connections, "c", 20, "connections at the same time")
	fs.IntVar(&s.Messages, "n", 1000, "messages in all")
	fs.IntVar(&s.PerConnection, "per", 0, "messages a connection; 0: no limit")
	fs.StringVar(&f.message, "m", "4k", "4k, 64k or any size: a built-in multipart message; else a `FILE`")
	fs.StringVar(&s.Helo, "helo", "client."+senderDomain, "name for EHLO")
	fs.StringVar(&s.From, "from", "alice@"+senderDomain, "reverse-path")
	fs.StringVar(&s.To, "to", "user@"+ownDomain, "recipient; %d becomes the number of the message")
	fs.IntVar(&f.clients, "xclient", 0, "claim so many client addresses by XCLIENT, one after the other; 0: none")
	fs.Float64Var(&s.Rate, "rate", 0, "messages a second in all; 0: as fast as replies come")
	fs.DurationVar(&s.Trickle, "trickle", 0, "spread each message's octets over this time")
	fs.BoolVar(&f.json, "json", false, "print JSON")
	if err := parse(fs, errs, args); err != nil {
		return err
	}
	if err := f.complete(&s, errs); err != nil {
		return err
	}
	r, err := s.run(ctx)
	if err != nil {
		return err
	}
	if f.json {
		err = printJSON(out, r)
	} else {
		fmt.Fprintf(out, "%d of %d messages of %d octets accepted in %.2f s: %.0f/s; after the dot %v; replies %s\n",
			r.Accepted, s.Messages, len(s.Message), r.Seconds, r.Rate, r.AfterDot, r.codes())
	}
	if err == nil && r.Accepted < s.Messages {
		err = fmt.Errorf("%d messages were not accepted; %s", s.Messages-r.Accepted, or(r.Error, "see the replies"))
	}
	return err
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// complete judges the flags and fills in what they stand for.
func (f *sourceFlags) complete(s *source, errs io.Writer) (err error) {
	switch {
	case s.Connections < 1 || s.Messages < 1:
		return wrong(errs, "-c and -n must be at least 1")
	case s.PerConnection < 0 || f.clients < 0 || s.Rate < 0 || s.Trickle < 0:
		return wrong(errs, "-per, -xclient, -rate and -trickle must not be negative")
	}
	if f.clients > 0 {
		s.Clients = clients(f.clients)
	}
	s.Message, err = loadMessage(f.message)
	return err
}

// clients are n documentation addresses (RFC 5737, RFC 3849) that look like a
// day's clients: each from another network as long as there are any, every
// eighth by IPv6. IPv4 has only three networks to give; IPv6 has a /32 of /64s.
func clients(n int) []netip.Addr {
	v4 := [3][3]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}
	list := make([]netip.Addr, 0, n)
	for k := range n {
		if k%8 == 7 {
			a := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(k >> 16), byte(k >> 8), byte(k), 1, 15: 25}
			list = append(list, netip.AddrFrom16(a))
			continue
		}
		net := v4[k%3]
		list = append(list, netip.AddrFrom4([4]byte{net[0], net[1], net[2], byte(1 + k/3%254)}))
	}
	return list
}

const sinkHelp = `
go run ./bench sink [FLAG...]

A next hop that takes every message and keeps none. Prints its counts at the
end, and every second with -v. Ends by SIGINT or SIGTERM, or after -n messages.
`

func sinkCommand(ctx context.Context, out, errs io.Writer, args []string) error {
	fs := flags(out, errs, "sink", sinkHelp)
	var o sinkOptions
	fs.StringVar(&o.Address, "address", "127.0.0.1:2600", "listen here, `HOST:PORT`")
	fs.BoolVar(&o.NoChunking, "no-chunking", false, "do not offer CHUNKING")
	n := fs.Int64("n", 0, "end after so many messages; 0: never")
	verbose := fs.Bool("v", false, "print the counts every second")
	asJSON := fs.Bool("json", false, "print JSON")
	if err := parse(fs, errs, args); err != nil {
		return err
	}
	if *n < 0 {
		return wrong(errs, "-n must not be negative")
	}
	s, err := newSink(o)
	if err != nil {
		return err
	}
	fmt.Fprintf(errs, "sink on %s\n", s.addr())
	s.watch(ctx, *n, func() {
		if *verbose {
			fmt.Fprintln(errs, s.counts())
		}
	})
	s.close()
	if *asJSON {
		return printJSON(out, s.counts())
	}
	fmt.Fprintln(out, s.counts())
	return nil
}

// watch waits for the end: of ctx, or of n messages when n is not 0.
func (s *sink) watch(ctx context.Context, n int64, everySecond func()) {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for k := 1; n == 0 || s.messages.Load() < n; k++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if k%100 == 0 {
				everySecond()
			}
		}
	}
}

type sinkCounts struct {
	Connections int64 `json:"connections"`
	Messages    int64 `json:"messages"`
	Octets      int64 `json:"octets"`
}

func (s *sink) counts() sinkCounts {
	return sinkCounts{s.connections.Load(), s.messages.Load(), s.octets.Load()}
}

func (c sinkCounts) String() string {
	return fmt.Sprintf("%d messages, %d octets, over %d connections", c.Messages, c.Octets, c.Connections)
}
