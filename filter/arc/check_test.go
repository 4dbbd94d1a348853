package arc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailweir/filter"
	"mailweir/mail"
)

func transaction(m string) *filter.Transaction {
	n, _ := mail.HeaderLength([]byte(m))
	h := mail.ParseHeader([]byte(m)[:n])
	return &filter.Transaction{
		Client: &mail.Client{Addr: netip.MustParseAddr("192.0.2.1")},
		Header: &h, Content: mail.Bytes(m), Facts: &filter.Facts{},
	}
}

// TestReport checks the one symbol, the facts and the header result.
func TestReport(t *testing.T) {
	changed := newChain().grow(1)
	changed.fields = strings.Replace(changed.fields, "hi", "[list] hi", 1)
	changed.grow(1)
	down := newChain().add(func(d *draft) { in(&d.seal, "s=ed", "s=down") })
	broken := newChain().grow(1)
	broken.fields = "From: x@example.org\r\n"
	ip := filter.AuthProp{Type: "smtp", Property: "remote-ip", Value: "192.0.2.1", Client: true}
	oldest := func(n string) filter.AuthProp {
		return filter.AuthProp{Type: "header", Property: "oldest-pass", Value: n}
	}
	for _, c := range []struct {
		name, message, symbol string
		auth                  filter.AuthResult
		facts                 filter.ARCFacts
	}{
		{"none", goodFields + "\r\n", filter.SymARCNone, filter.AuthResult{Method: "arc", Result: "none"}, filter.ARCFacts{Result: "none"}},
		{
			"pass", newChain().grow(2).String(), filter.SymARCPass,
			filter.AuthResult{Method: "arc", Result: "pass", Props: []filter.AuthProp{oldest("0"), ip}},
			filter.ARCFacts{Result: "pass", Sealers: []string{"example.org", "example.org"}, Vouched: []string{"", ""}, FromSigned: true},
		},
		{
			"changed on the way", changed.String(), filter.SymARCPass,
			filter.AuthResult{Method: "arc", Result: "pass", Props: []filter.AuthProp{oldest("2"), ip}},
			filter.ARCFacts{Result: "pass", Sealers: []string{"example.org", "example.org"}, Vouched: []string{"", ""}, OldestPass: 2, FromSigned: true},
		},
		{
			"fail", broken.String(), filter.SymARCFail,
			filter.AuthResult{Method: "arc", Result: "fail", Reason: "message signature 1: signature does not match", Props: []filter.AuthProp{ip}},
			filter.ARCFacts{Result: "fail", Sealers: []string{"example.org"}, FromSigned: true, Reason: "message signature 1: signature does not match"},
		},
		{ // RFC 8617 section 5.2.1: a failure of DNS is a fail as well
			"dns", down.String(), filter.SymARCFail,
			filter.AuthResult{Method: "arc", Result: "fail", Reason: "key look-up failed", Props: []filter.AuthProp{ip}},
			filter.ARCFacts{
				Result: "fail", Sealers: []string{"example.org"}, FromSigned: true, Temporary: true,
				Reason: `key look-up failed: dns: TXT "down._domainkey.example.org": temporary failure`,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx := transaction(c.message)
			report := New(resolver()).Run(context.Background(), tx)
			if (report.State == filter.OK) == c.facts.Temporary || len(report.Symbols) != 1 || report.Symbols[0].Name != c.symbol {
				t.Errorf("%s %v, want %s", report.State, report.Symbols, c.symbol)
			}
			report.Set(tx.Facts)
			if d := cmp.Diff(c.facts, tx.Facts.ARC); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff([]filter.AuthResult{c.auth}, report.Auth); d != "" {
				t.Error(d)
			}
		})
	}
}

// A certain fault decides, even when DNS has failed as well.
func TestFaultBeforeTemporary(t *testing.T) {
	c := newChain().add(func(d *draft) { in(&d.seal, "s=ed", "s=down") }).grow(1)
	c.body += "x\r\n"
	if r := validate(c.String()); r.Status != Fail || r.Temporary {
		t.Errorf("%+v", r)
	}
	c = newChain().add(func(d *draft) { in(&d.seal, "s=ed", "s=none") }).add(func(d *draft) { in(&d.message, "s=ed", "s=down") })
	if r := validate(c.String()); r.Status != Fail || r.Temporary {
		t.Errorf("%+v", r)
	}
}

// slow never answers before its context ends.
type slow struct{}

func (slow) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		report := New(slow{}).Run(ctx, transaction(newChain().grow(2).String()))
		if report.State != filter.Timeout || report.Symbols[0].Name != filter.SymARCFail {
			t.Errorf("%+v", report)
		}
	})
}

// A check that could not find out does not end as if it had.
func TestFailureState(t *testing.T) {
	report := New(servfail{}).Run(context.Background(), transaction(newChain().grow(2).String()))
	if report.State != filter.Error || !errors.Is(report.Cause, errServfail) || report.Symbols[0].Name != filter.SymARCFail {
		t.Errorf("%+v", report)
	}
}

type servfail struct{}

var errServfail = errors.New("SERVFAIL")

func (servfail) LookupTXT(context.Context, string) ([]string, error) { return nil, errServfail }

// Abort ends the look-ups; synctest finds goroutines that are left.
func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(slow{}).Start(context.Background(), transaction(newChain().grow(3).String()))
		s.Write([]byte("x"))
		s.Abort()
	})
}

// counting counts the look-ups.
type counting struct{ names chan string }

func (c counting) LookupTXT(ctx context.Context, name string) ([]string, error) {
	c.names <- name
	return resolver().LookupTXT(ctx, name)
}

// A chain that cannot pass costs no look-up; one that can, one for each name.
func TestLookups(t *testing.T) {
	r := counting{make(chan string, 100)}
	for _, c := range []struct {
		message string
		want    int
	}{
		{newChain().grow(1).add(func(d *draft) { in(&d.seal, "cv=pass", "cv=none") }).String(), 0},
		{newChain().add(func(d *draft) { in(&d.seal, "cv=none", "cv=fail") }).String(), 0},
		{newChain().grow(40).String(), 1},
		{newChain().grow(3).add(func(d *draft) { in(&d.seal, "d=example.org", "d=example.net") }).String(), 2},
	} {
		Validate(context.Background(), r, []byte(c.message), time.Now())
		if got := len(r.names); got != c.want {
			t.Errorf("%d look-ups, want %d", got, c.want)
		}
		for len(r.names) > 0 {
			<-r.names
		}
	}
}

// brokenContent fails half way.
type brokenContent struct{ mail.Bytes }

func (b brokenContent) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(b.Bytes[:len(b.Bytes)-5]), iotest.ErrReader(errDisk))), nil
}

var errDisk = errors.New("disk")

func TestUnreadableBody(t *testing.T) {
	m := newChain().grow(1).String()
	tx := transaction(m)
	tx.Content = brokenContent{mail.Bytes(m)}
	if r := New(resolver()).Run(context.Background(), tx); r.State != filter.Error || !errors.Is(r.Cause, errDisk) {
		t.Errorf("%+v", r)
	}
}
