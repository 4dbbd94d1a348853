package smtpd

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter"
	"mailweir/filter/privacy"
	"mailweir/internal/logline"
	"mailweir/mail"
)

// reused is a desk with one intake, for one session.
type reused struct{ buf []byte }

func (r *reused) Begin(context.Context, int64) (Intake, error) { r.buf = r.buf[:0]; return r, nil }
func (r *reused) Room(int64) error                             { return nil }
func (r *reused) Discarded(int)                                {}
func (r *reused) Write(p []byte) (int, error)                  { r.buf = append(r.buf, p...); return len(p), nil }
func (r *reused) ReadAt(p []byte, off int64) (int, error)      { return copy(p, r.buf[off:]), nil }
func (r *reused) Content() mail.Content                        { return mail.Bytes(r.buf) }
func (r *reused) Commit(context.Context, *mail.Message) error  { return nil }
func (r *reused) Abort()                                       {}

// idle is a check that is switched off in the benchmark.
type idle string

func (c idle) Name() string                                           { return string(c) }
func (c idle) Run(context.Context, *filter.Transaction) filter.Report { panic("it is switched off") }

// BenchmarkTransaction4K is a message that is received, redacted, judged with
// all checks off, composed and logged: all that a session does but for the
// network, the disk and the history.
func BenchmarkTransaction4K(b *testing.B) {
	m := filter.NewMetrics(prometheus.NewRegistry())
	policy := &filter.DomainPolicy{Tag: 5, Reject: 15}
	domain := &Domain{Policy: policy, Postmaster: policy, Redact: privacy.Own}
	own := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")} // where memConn comes from
	gw := NewGateway(&Settings{
		Hostname: "mx.example.org", MaxHops: 100, OwnNetworks: own,
		Domains: map[string]*Domain{"example.org": domain, "": domain},
		Pipeline: filter.New(filter.Options{
			Chain: filter.Chain{
				Connect: filter.Group{idle("iprev")}, Mail: filter.Group{idle("spf")},
				Data: filter.Group{idle("dkim"), idle("arc"), idle("mime")}, Done: []filter.Group{{idle("dmarc")}, {idle("bayes")}},
			},
			Off:    map[string]string{"iprev": "off", "spf": "off", "dkim": "off", "arc": "off", "mime": "off", "dmarc": "off", "bayes": "off"},
			Scorer: func() filter.Scorer { return weigher{} }, Limits: filter.DefaultLimits(),
			Pool: filter.NewPool(1, m), Metrics: m,
		}),
	}, &reused{}, noRecord{}, slog.New(logline.NewHandler(io.Discard, slog.LevelInfo)), NewSessionMetrics(prometheus.NewRegistry()))
	s := NewServer(Options{Hostname: "mx.example.org", Logger: quiet}, gw)
	li := &listener{}
	li.proxies.Store(&[]netip.Prefix{})
	const hop = "Received: from host%.example (host%.example [192.0.2.%])\r\n\tby mx%.example with ESMTPS id ABC%DEF\r\n\tfor <sink@example.org>; Mon, 2 Nov 2026 10:00:00 +0000\r\n"
	message := strings.ReplaceAll(hop, "%", "1") + strings.ReplaceAll(hop, "%", "2") + "X-Originating-IP: [192.0.2.7]\r\n" + benchMessage(4<<10)
	nc := &loadConn{n: b.N, first: []byte("EHLO client.example\r\n" + group), body: []byte(message + ".\r\n" + group)}
	b.ReportAllocs()
	b.ResetTimer()
	s.start(nc, li)
	s.wg.Wait()
}
