package main

import (
	"context"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter"
	"mailweir/filter/content"
	"mailweir/filter/mime"
	"mailweir/filter/privacy"
	"mailweir/filter/rules"
	"mailweir/mail"
)

// The part "MIME, rules, privacy" of the budget: no single package has all of
// it, so that its benchmark stands here.

func BenchmarkContent4K(b *testing.B)  { benchContent(b, 4<<10) }
func BenchmarkContent64K(b *testing.B) { benchContent(b, 64<<10) }

func benchContent(b *testing.B, size int) {
	r, err := rules.Default()
	if err != nil {
		b.Fatal(err)
	}
	reader := content.New(r.Patterns, nil)
	m := filter.NewMetrics(prometheus.NewRegistry())
	p := filter.New(filter.Options{
		Chain:  filter.Chain{Data: filter.Group{mime.New(func(tx *filter.Transaction) mime.Text { return reader.Open(tx) }, nil)}},
		Scorer: func() filter.Scorer { return r },
		Limits: filter.DefaultLimits(), Pool: filter.NewPool(1, m), Metrics: m,
	})
	message := builtin(size)
	client := mail.Client{Addr: netip.MustParseAddr("192.0.2.25"), Helo: "client.sender.test", ESMTP: true}
	env := &mail.Envelope{ReversePath: "alice@sender.test", Recipients: []mail.Recipient{{Path: "user@mx.test"}}}
	conn := p.Connect(b.Context(), client)
	b.Cleanup(conn.Close)
	b.ReportAllocs()
	b.SetBytes(int64(len(message)))
	before := ownCPU() // the clock alone would count what others use
	for b.Loop() {
		j := judgeContent(b.Context(), conn, client, env, message)
		result := privacy.Redact(j.Header, j.Facts.DKIM, privacy.Options{Class: privacy.All})
		if j.Facts.Checks[0].State != filter.OK || result.Head == nil {
			b.Fatalf("%+v, head of %d octets", j.Facts.Checks, len(result.Head))
		}
	}
	b.ReportMetric(float64((ownCPU()-before).Microseconds())/float64(b.N), "cpu-us/op")
}

func judgeContent(ctx context.Context, conn *filter.Connection, client mail.Client, env *mail.Envelope, message []byte) *filter.Judgement {
	i := conn.Begin(ctx, client, env)
	defer i.Close()
	for rest := message; len(rest) > 0; { // as the engine hands it over
		n := min(len(rest), 32<<10)
		if err := i.Write(rest[:n]); err != nil {
			return nil
		}
		rest = rest[n:]
	}
	return i.Judge(mail.Bytes(message))
}
