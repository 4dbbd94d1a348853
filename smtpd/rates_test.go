package smtpd

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter"
	"mailweir/internal/rate"
	"mailweir/mail"
)

func ratedSession(client mail.Client, rates ...Rate) *Session {
	return &Session{gw: &Gateway{m: NewSessionMetrics(prometheus.NewRegistry())}, set: &Settings{Rates: rates}, client: client}
}

func perHour(n int) *rate.Buckets { return rate.New(rate.Limit{Events: n, Per: time.Hour}) }

// TestRates: who shares a bucket with whom, and who has none.
func TestRates(t *testing.T) {
	at := func(a string) mail.Client { return mail.Client{Addr: netip.MustParseAddr(a)} }
	user := func(a, name string) mail.Client {
		c := at(a)
		c.User, c.Own, c.Outbound = name, true, true
		return c
	}
	own := at("192.0.2.1")
	own.Own = true
	other := []netip.Prefix{netip.MustParsePrefix("192.0.2.2/32")}
	for _, c := range []struct {
		name          string
		by            RateBy
		first, second mail.Client
		shared        bool
	}{
		{"the same address", ByClient, at("192.0.2.1"), at("192.0.2.1"), true},
		{"a neighbour", ByClient, at("192.0.2.1"), at("192.0.2.3"), false},
		{"a neighbour in the network", ByNetwork, at("192.0.2.1"), at("192.0.2.3"), true},
		{"the next network", ByNetwork, at("192.0.2.1"), at("192.0.3.1"), false},
		{"one IPv6 host", ByNetwork, at("2001:db8::1"), at("2001:db8::ffff:1"), true},
		{"exempt", ByNetwork, at("192.0.2.1"), at("192.0.2.2"), false},
		{"own", ByClient, own, own, false},
		{"unknown address", ByClient, mail.Client{}, mail.Client{}, false},
		{"a user", ByUser, user("192.0.2.1", "anna"), user("198.51.100.1", "anna"), true},
		{"another user", ByUser, user("192.0.2.1", "anna"), user("192.0.2.1", "bert"), false},
		{"no user", ByUser, own, own, false},
		{"a user is no stranger", ByClient, user("192.0.2.1", "anna"), user("192.0.2.1", "anna"), false},
	} {
		r := Rate{By: c.by, Messages: perHour(1), Exempt: other}
		id := mail.NewID(time.Now())
		if reply := ratedSession(c.first, r).limited(rateMessages, id); reply != nil {
			t.Errorf("%s: the first hears %v", c.name, reply)
		}
		reply := ratedSession(c.second, r).limited(rateMessages, id)
		if (reply != nil) != c.shared {
			t.Errorf("%s: the second hears %v", c.name, reply)
		}
		if reply != nil && (reply.Code != 450 || !strings.Contains(reply.Message, "Too many messages from ") || !strings.Contains(reply.Message, "try again in 60 minutes; id "+id.String())) {
			t.Errorf("%s: %v", c.name, reply)
		}
	}
}

// TestRatesTogether: what one limit refuses is not counted by another.
func TestRatesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wide, narrow := Rate{By: ByNetwork, Messages: perHour(3)}, Rate{By: ByClient, Messages: perHour(1)}
		s := ratedSession(mail.Client{Addr: netip.MustParseAddr("192.0.2.1")}, wide, narrow)
		for range 5 {
			s.limited(rateMessages, mail.ID{})
		}
		for n := range 2 {
			if reply := ratedSession(mail.Client{Addr: netip.MustParseAddr("192.0.2.10").Next()}, wide).limited(rateMessages, mail.ID{}); reply != nil {
				t.Errorf("message %d of the network: %v", n, reply)
			}
		}
	})
}

// TestSenderKey: a domain that is only claimed uses up nothing of its owner's.
func TestSenderKey(t *testing.T) {
	a, b := &mail.Client{Addr: netip.MustParseAddr("192.0.2.1")}, &mail.Client{Addr: netip.MustParseAddr("198.51.100.1")}
	claimed := &filter.Facts{Envelope: filter.EnvelopeFacts{FromDomain: "bank.example"}}
	proven := &filter.Facts{Envelope: claimed.Envelope, SPF: filter.SPFFacts{Result: "pass", Identity: "mailfrom", Domain: "bank.example"}}
	for _, c := range []struct {
		name string
		same bool
		x, y any
	}{
		{"proven, from anywhere", true, senderKey(proven, a), senderKey(proven, b)},
		{"claimed, elsewhere", false, senderKey(claimed, a), senderKey(claimed, b)},
		{"claimed, here", true, senderKey(claimed, a), senderKey(claimed, a)},
		{"claimed and proven", false, senderKey(claimed, a), senderKey(proven, a)},
		{"the null reverse-path", true, senderKey(&filter.Facts{}, a), nil},
	} {
		if (c.x == c.y) != c.same {
			t.Errorf("%s: %v, %v", c.name, c.x, c.y)
		}
	}
}

func BenchmarkLimited(b *testing.B) {
	client := mail.Client{Addr: netip.MustParseAddr("192.0.2.1")}
	for name, rates := range map[string][]Rate{
		"off": nil, "three": {{By: ByClient, Messages: perHour(1 << 40)}, {By: ByNetwork, Messages: perHour(1 << 40)}, {By: BySenderDomain, Messages: perHour(1 << 40)}},
	} {
		b.Run(name, func(b *testing.B) {
			s := ratedSession(client, rates...)
			b.ReportAllocs()
			for b.Loop() {
				s.limited(rateMessages, mail.ID{})
			}
		})
	}
}
