package spf

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/filter"
	"mailweir/internal/dns"
	"mailweir/mail"
)

// TestNoFailureDecides breaks one look-up of each world at a time: the result
// is temperror, or what it was when the answer did not matter. Only ptr is
// exempt, by RFC 7208 section 5.5.
func TestNoFailureDecides(t *testing.T) {
	broken := 0
	for seed := range uint64(1500) {
		w := newWorld(1<<50 + seed)
		w.fail = nil
		rec := &recorder{world: w}
		before := CheckHost(context.Background(), rec, Args{IP: w.ip, Helo: w.helo, MailFrom: mail.Path(w.path)})
		for _, q := range slices.Compact(rec.asked) {
			w.fail = []string{q}
			after := w.check()
			if after.Status == TempError {
				broken++
			} else if after.Status != before.Status && after.Status != PermError {
				t.Fatalf("seed %d: without %s %s becomes %s\n%s", seed, q, before.Status, after.Status, w)
			}
			if after.Status == TempError && (after.Err == nil || dns.IsNotFound(after.Err)) {
				t.Fatalf("temperror without its cause: %+v", after)
			}
		}
	}
	if broken < 1000 {
		t.Errorf("only %d failures mattered", broken)
	}
}

// recorder notes what is asked, but for names of the client.
type recorder struct {
	*world
	asked []string
}

func (r *recorder) note(name, typ string) {
	if !strings.HasPrefix(name, "h0.") && !strings.HasPrefix(name, "h1.") {
		r.asked = append(r.asked, strings.ToLower(name)+"/"+typ)
	}
}

func (r *recorder) LookupTXT(ctx context.Context, name string) ([]string, error) {
	r.note(name, "TXT")
	return r.world.LookupTXT(ctx, name)
}

func (r *recorder) LookupA(ctx context.Context, name string) ([]netip.Addr, error) {
	r.note(name, "A")
	return r.world.LookupA(ctx, name)
}

func (r *recorder) LookupAAAA(ctx context.Context, name string) ([]netip.Addr, error) {
	r.note(name, "AAAA")
	return r.world.LookupAAAA(ctx, name)
}

func (r *recorder) LookupMX(ctx context.Context, name string) ([]dns.MX, error) {
	r.note(name, "MX")
	return r.world.LookupMX(ctx, name)
}

// TestMacros are the examples of RFC 7208 section 7.4.
func TestMacros(t *testing.T) {
	four := &evaluation{ip: netip.MustParseAddr("192.0.2.3"), local: "strong-bad", sender: "email.example.com"}
	six := &evaluation{ip: netip.MustParseAddr("2001:db8::cb01"), local: "strong-bad", sender: "email.example.com"}
	for _, c := range []struct {
		e        *evaluation
		in, want string
	}{
		{four, "%{s}", "strong-bad@email.example.com"},
		{four, "%{o}", "email.example.com"},
		{four, "%{d}", "email.example.com"},
		{four, "%{d4}", "email.example.com"},
		{four, "%{d3}", "email.example.com"},
		{four, "%{d2}", "example.com"},
		{four, "%{d1}", "com"},
		{four, "%{dr}", "com.example.email"},
		{four, "%{d2r}", "example.email"},
		{four, "%{l}", "strong-bad"},
		{four, "%{l-}", "strong.bad"},
		{four, "%{lr}", "strong-bad"},
		{four, "%{lr-}", "bad.strong"},
		{four, "%{l1r-}", "strong"},
		{four, "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"},
		{four, "%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"},
		{four, "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"},
		{four, "%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"},
		{four, "%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"},
		{six, "%{ir}.%{v}._spf.%{d2}", "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com"},
		{four, "%%-%_-%-", "%- -%20"},
		{four, "%{S}", "strong-bad%40email.example.com"},
	} {
		if got, ok := c.e.expand(c.in, "email.example.com"); !ok || got != c.want {
			t.Errorf("%s: %q, want %q", c.in, got, c.want)
		}
	}
}

// TestInternational: RFC 8616 section 4. A local-part outside of ASCII matches
// no term that would put it into a name, and U-labels are asked as A-labels.
func TestInternational(t *testing.T) {
	r := &dns.Fake{TXT: map[string][]string{
		"xn--bcher-kva.example": {"v=spf1 -exists:%{l}.example.org ip4:192.0.2.1 -all"},
	}, A: map[string][]string{"jürgen.example.org": {"127.0.0.2"}}}
	got := CheckHost(context.Background(), r, Args{IP: netip.MustParseAddr("192.0.2.1"), MailFrom: "jürgen@bücher.example"})
	if got.Status != Pass || got.Domain != "xn--bcher-kva.example" {
		t.Errorf("%+v", got)
	}
}

func transaction(ip, helo, path string) *filter.Transaction {
	tx := &filter.Transaction{Client: &mail.Client{Helo: helo}, Envelope: &mail.Envelope{ReversePath: mail.Path(path)}, Facts: &filter.Facts{}}
	if ip != "" {
		tx.Client.Addr = netip.MustParseAddr(ip)
	}
	return tx
}

func TestReport(t *testing.T) {
	r := &dns.Fake{TXT: map[string][]string{
		"example.org":      {"v=spf1 include:_spf.example.org -all"},
		"_spf.example.org": {"v=spf1 ip4:192.0.2.0/24 ?all"},
		"mx.example.net":   {"v=spf1 a -all"},
		"bad.example":      {"v=spf1 ip4:1 -all"},
	}, A: map[string][]string{"mx.example.net": {"198.51.100.1"}}, Fail: map[string]bool{"down.example": true}}
	for _, c := range []struct{ ip, helo, path, symbol, result, identity, domain, prop string }{
		{"192.0.2.9", "h.example", "joe@Example.org", "SPF_PASS", "pass", "mailfrom", "example.org", "smtp.mailfrom=joe@Example.org"},
		{"192.0.3.9", "h.example", "joe@example.org", "SPF_FAIL", "fail", "mailfrom", "example.org", "smtp.mailfrom=joe@example.org"},
		{"198.51.100.1", "MX.example.net", "", "SPF_PASS", "pass", "helo", "mx.example.net", "smtp.helo=MX.example.net"},
		{"198.51.100.1", "[198.51.100.1]", "", "SPF_NONE", "none", "helo", "[198.51.100.1]", "smtp.helo=[198.51.100.1]"},
		{"198.51.100.1", "h.example", "joe@none.example", "SPF_NONE", "none", "mailfrom", "none.example", "smtp.mailfrom=joe@none.example"},
		{"198.51.100.1", "h.example", "joe@bad.example", "SPF_PERMERROR", "permerror", "mailfrom", "bad.example", "smtp.mailfrom=joe@bad.example"},
		{"198.51.100.1", "h.example", "joe@down.example", "SPF_TEMPERROR", "temperror", "mailfrom", "down.example", "smtp.mailfrom=joe@down.example"},
		{"::ffff:192.0.2.9", "h.example", "joe@example.org", "SPF_PASS", "pass", "mailfrom", "example.org", "smtp.mailfrom=joe@example.org"},
	} {
		tx := transaction(c.ip, c.helo, c.path)
		report := New(r, Options{}).Run(context.Background(), tx)
		report.Set(tx.Facts)
		f, a := tx.Facts.SPF, report.Auth[0]
		if (report.State == filter.OK) == (c.result == "temperror") || len(report.Symbols) != 1 || report.Symbols[0].Name != c.symbol {
			t.Errorf("%s %s: %s %v, want %s", c.ip, c.path, report.State, report.Symbols, c.symbol)
		}
		if f.Result != c.result || f.Identity != c.identity || f.Domain != c.domain || f.Explain == "" {
			t.Errorf("%s %s: %+v", c.ip, c.path, f)
		}
		p := a.Props[0]
		if a.Result != c.result || p.Type+"."+p.Property+"="+p.Value != c.prop || p.Client != (c.path == "") {
			t.Errorf("%s %s: %+v", c.ip, c.path, a)
		}
	}
	if report := New(r, Options{}).Run(context.Background(), transaction("", "h.example", "joe@example.org")); report.State != filter.Skipped {
		t.Errorf("without an address: %+v", report)
	}
}

// TestHelo: HELO has a result of its own, beside MAIL FROM, and none where it
// cannot have one.
func TestHelo(t *testing.T) {
	r := &dns.Fake{TXT: map[string][]string{
		"good.example": {"v=spf1 ip4:192.0.2.0/24 -all"},
		"soft.example": {"v=spf1 ~all"},
		"bad.example":  {"v=spf1 ip4:1 -all"},
		"any.example":  {"v=spf1 ?all"},
	}, Fail: map[string]bool{"down.example": true}}
	for _, c := range []struct {
		ip, helo, path, symbol, result string
		state                          filter.State
	}{
		{"192.0.2.9", "good.example", "joe@none.example", "SPF_HELO_PASS", "pass", filter.OK},
		{"192.0.3.9", "Good.Example.", "joe@none.example", "SPF_HELO_FAIL", "fail", filter.OK},
		{"192.0.3.9", "soft.example", "joe@none.example", "SPF_HELO_SOFTFAIL", "softfail", filter.OK},
		{"192.0.3.9", "bad.example", "joe@none.example", "SPF_HELO_PERMERROR", "permerror", filter.OK},
		{"192.0.3.9", "any.example", "joe@none.example", "", "neutral", filter.OK},
		{"192.0.3.9", "none.example", "joe@good.example", "", "none", filter.OK},
		{"192.0.3.9", "down.example", "joe@good.example", "SPF_HELO_TEMPERROR", "temperror", filter.Error},
		{"192.0.3.9", "good.example", "", "", "", filter.Skipped},
		{"192.0.3.9", "[192.0.3.9]", "joe@good.example", "", "", filter.Skipped},
		{"192.0.3.9", "localhost", "joe@good.example", "", "", filter.Skipped},
		{"", "good.example", "joe@good.example", "", "", filter.Skipped},
	} {
		tx := transaction(c.ip, c.helo, c.path)
		report := NewHelo(r, Options{}).Run(context.Background(), tx)
		if report.Set != nil {
			report.Set(tx.Facts)
		}
		symbol := ""
		if len(report.Symbols) > 0 {
			symbol = report.Symbols[0].Name
		}
		if report.State != c.state || symbol != c.symbol || tx.Facts.SPF.Helo != c.result || tx.Facts.SPF.Result != "" {
			t.Errorf("%s %s: %s %q %+v", c.helo, c.path, report.State, symbol, tx.Facts.SPF)
		}
		if len(report.Auth) > 0 { // it would be taken for the result of MAIL FROM
			t.Errorf("%s: %+v", c.helo, report.Auth)
		}
	}
}

// TestReasonTellsNothing: what goes into the message never has the client's
// address, which macros put into names.
func TestReasonTellsNothing(t *testing.T) {
	r := &dns.Fake{TXT: map[string][]string{
		"example.org": {"v=spf1 exists:%{ir}.%{h}.example.org -all"},
		"example.net": {"v=spf1 include:%{ir}.%{h}.example.net -all"},
	}, Fail: map[string]bool{"1.2.0.192.host.example.example.org": true}}
	for _, domain := range []string{"example.org", "example.net"} {
		report := New(r, Options{}).Run(context.Background(), transaction("192.0.2.1", "host.example", "joe@"+domain))
		a := report.Auth[0]
		if a.Result != "temperror" && a.Result != "permerror" || a.Reason == "" ||
			strings.Contains(a.Reason, "1.2.0") || strings.Contains(a.Reason, "host") {
			t.Errorf("%+v", a)
		}
		if !strings.Contains(report.Symbols[0].Detail, "1.2.0.192") {
			t.Errorf("the log should know: %+v", report.Symbols)
		}
	}
}

// hanging answers only when its context ends.
type hanging struct{ *dns.Fake }

func (hanging) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestDeadlines: the stage's and SPF's own 20 seconds.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tx := transaction("192.0.2.1", "h.example", "joe@example.org")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		report := New(hanging{}, Options{}).Run(ctx, tx)
		if report.State != filter.Timeout || report.Cause == nil || report.Symbols[0].Name != filter.SymSPFTempError {
			t.Errorf("%+v", report)
		}
		start := time.Now()
		report = New(hanging{}, Options{}).Run(context.Background(), tx)
		if report.State != filter.Timeout || report.Symbols[0].Name != filter.SymSPFTempError || time.Since(start) != Timeout {
			t.Errorf("after %s: %+v", time.Since(start), report)
		}
	})
}

// TestFailureState: a check that could not find out does not end as if it had.
func TestFailureState(t *testing.T) {
	tx := transaction("192.0.2.1", "h.example", "joe@example.org")
	for err, want := range map[error]filter.State{
		errors.New("SERVFAIL"): filter.Error, os.ErrDeadlineExceeded: filter.Timeout,
	} {
		r := failing{err: &dns.Error{Name: "example.org", Type: "TXT", Kind: dns.Temporary, Cause: err}}
		report := New(r, Options{}).Run(context.Background(), tx)
		if report.State != want || !errors.Is(report.Cause, err) || report.Symbols[0].Name != filter.SymSPFTempError {
			t.Errorf("%v: %+v", err, report)
		}
	}
}

// failing answers nothing.
type failing struct {
	Resolver
	err error
}

func (f failing) LookupTXT(context.Context, string) ([]string, error) { return nil, f.err }

func FuzzRecord(f *testing.F) {
	for _, s := range []string{"v=spf1 a mx -all", "v=spf1 a:%{l1r-}.x.example/24//64 exp=x.%{d}", "v=spf1 ip6:::/0 redirect=a.b", "v=spf1 %{"} {
		f.Add(s, "joe@example.org")
	}
	f.Fuzz(func(t *testing.T, txt, path string) {
		r := &dns.Fake{
			TXT: map[string][]string{"example.org": {txt}, "x.example.org": {"see %{c} %{r} %{t} " + txt}},
			A:   map[string][]string{"example.org": {"192.0.2.1", "2001:db8::1"}},
			PTR: map[string][]string{"192.0.2.1": {"example.org", strings.Repeat("a", 300)}},
		}
		for _, ip := range []string{"192.0.2.1", "2001:db8::1"} {
			got := CheckHost(context.Background(), r, Args{IP: netip.MustParseAddr(ip), Helo: "example.org", MailFrom: mail.Path(path)})
			if _, ok := symbols[got.Status]; !ok {
				t.Errorf("status %q", got.Status)
			}
			if got.Lookups > maxLookups+1 || got.Voids > maxVoid+1 {
				t.Errorf("%+v", got)
			}
			if len(got.Explanation) > 2*maxExpansion || !isASCII(got.Explanation) {
				t.Errorf("explanation of %d octets", len(got.Explanation))
			}
		}
		if isRecord(txt) {
			if rec, err := parseRecord(txt); err == nil && len(rec.directives) > len(txt) {
				t.Error("more directives than octets")
			}
		}
	})
}

func BenchmarkCheckHost(b *testing.B) {
	r := &dns.Fake{TXT: map[string][]string{
		"example.org":   {"v=spf1 include:a.example.org include:b.example.org -all"},
		"a.example.org": {"v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 ip6:2001:db8::/32 ~all"},
		"b.example.org": {"v=spf1 ip4:192.0.2.0/24 ~all"},
	}}
	a := Args{IP: netip.MustParseAddr("192.0.2.1"), Helo: "mx.example.org", MailFrom: "joe@example.org"}
	b.ReportAllocs()
	for b.Loop() {
		if CheckHost(context.Background(), r, a).Status != Pass {
			b.Fatal("no pass")
		}
	}
}
