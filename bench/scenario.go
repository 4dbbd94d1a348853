package main

import (
	"context"
	"fmt"
	"time"
)

// scenario is one thing to measure.
type scenario struct {
	Name   string `json:"name"`
	Config string `json:"config"` // file in configs/
	Size   string `json:"size"`   // of the built-in message
	Full   bool   `json:"full"`   // signed message, clients from everywhere
	// PerConnection messages, since DNSBL and PTR are asked once a connection;
	// 0: all in one.
	PerConnection int `json:"per_connection"`
}

var scenarios = []scenario{
	{Name: "relay-only 4k", Config: "bench-relay.toml", Size: "4k"},
	{Name: "relay-only 64k", Config: "bench-relay.toml", Size: "64k"},
	{Name: "full 4k", Config: "bench-full.toml", Size: "4k", Full: true, PerConnection: 20},
	{Name: "full 64k", Config: "bench-full.toml", Size: "64k", Full: true, PerConnection: 20},
}

// turn is what one run of a scenario gave. CPU is in milliseconds a message.
type turn struct {
	Scenario string       `json:"scenario"`
	Rep      int          `json:"rep"`
	Accepted float64      `json:"accepted_per_second"`
	Relayed  float64      `json:"relayed_per_second"`
	User     float64      `json:"user_ms"`
	System   float64      `json:"system_ms"`
	CPU      float64      `json:"cpu_ms"`
	Load     float64      `json:"load_cpu_ms"` // source, sink and DNS server
	Memory   float64      `json:"peak_rss_mib"`
	Others   float64      `json:"others_cores"` // used meanwhile by anything else
	Lost     int64        `json:"lost"`
	Doubled  int64        `json:"doubled"`
	Source   sourceResult `json:"source"`
}

// settle is how long the gateway may still work on the outcomes after the last
// message has arrived: that work belongs to the messages.
const settle = 700 * time.Millisecond

// patience is how long a run waits for one more message at the sink.
const patience = 20 * time.Second

// source of a scenario; n messages over c connections to a gateway.
func (sc *scenario) source(w *world, address string, n, c int) (*source, error) {
	message, err := loadMessage(sc.Size)
	if err != nil {
		return nil, err
	}
	s := &source{
		Address: address, Connections: c, Messages: n, PerConnection: sc.PerConnection,
		Helo: "client." + senderDomain, From: "alice@" + senderDomain, To: "user+%d@" + ownDomain,
		First: w.number, Message: message,
	}
	w.number += n
	if sc.Full {
		s.Clients = w.clients
		s.Message, err = w.signer.sign(message)
	}
	return s, err
}

// measure runs a scenario once.
func (sc *scenario) measure(ctx context.Context, w *world, p *process, n, c int) (turn, error) {
	s, err := sc.source(w, p.address, n, c)
	if err != nil {
		return turn{}, err
	}
	roll := w.sink.expect(s.First, n)
	peak := watchMemory(p)
	defer peak()
	before, err := p.cpu()
	if err != nil {
		return turn{}, err
	}
	busy, own, begin := machineBusy(), ownCPU(), time.Now()
	result, err := s.run(ctx)
	if err != nil {
		return turn{}, fmt.Errorf("%s: source: %w\n%s", sc.Name, err, p.tail())
	}
	relayed := awaitRelay(ctx, roll, result.Accepted, begin)
	pause(ctx, settle)
	after, err := p.cpu()
	if err != nil {
		return turn{}, fmt.Errorf("%s: %w\n%s", sc.Name, err, p.tail())
	}
	gateway := after.User + after.System - before.User - before.System
	load := ownCPU() - own
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(max(1, result.Accepted)) }
	return turn{
		Scenario: sc.Name, Accepted: result.Rate, Relayed: relayed,
		User: ms(after.User - before.User), System: ms(after.System - before.System), CPU: ms(gateway),
		Load: ms(load), Memory: peak(),
		Others: (machineBusy() - busy - gateway - load).Seconds() / time.Since(begin).Seconds(),
		Lost:   max(0, roll.missing.Load()-int64(n-result.Accepted)), Doubled: roll.doubles.Load(),
		Source: result,
	}, ctx.Err()
}

// awaitRelay waits until the sink has what was accepted, or nothing more
// comes, and returns the rate.
func awaitRelay(ctx context.Context, r *roll, accepted int, begin time.Time) float64 {
	total := len(r.seen)
	arrived := func() int { return total - int(r.missing.Load()) }
	for last, since := -1, time.Now(); arrived() < accepted; {
		if n := arrived(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > patience || !pause(ctx, 5*time.Millisecond) {
			break
		}
	}
	end := time.Now()
	select {
	case <-r.done:
		end = r.last
	default:
	}
	return float64(arrived()) / end.Sub(begin).Seconds()
}

// watchMemory samples the resident memory until the returned function is
// called, which gives the peak; it may be called again.
func watchMemory(p *process) func() float64 {
	stop, peak := make(chan struct{}), make(chan float64, 1)
	go func() {
		t := time.NewTicker(100 * time.Millisecond)
		defer t.Stop()
		most := p.resident()
		for {
			select {
			case <-t.C:
				most = max(most, p.resident())
			case <-stop:
				peak <- max(most, p.resident())
				return
			}
		}
	}()
	result, stopped := 0.0, false
	return func() float64 {
		if !stopped {
			stopped = true
			close(stop)
			result = <-peak
		}
		return result
	}
}
