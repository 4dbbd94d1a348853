package dmarc

import (
	"context"
	"errors"
	"os"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/filter"
	"mailweir/internal/dns"
)

// hanging answers only when its context ends.
type hanging struct {
	*dns.Fake
	mu    sync.Mutex
	asked int
}

func (h *hanging) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	h.mu.Lock()
	h.asked++
	h.mu.Unlock()
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestFailureState: a check that could not find out does not end as if it had.
func TestFailureState(t *testing.T) {
	tx := transaction("From: a@example.org", "spf pass example.org")
	for err, want := range map[error]filter.State{
		errors.New("SERVFAIL"): filter.Error, os.ErrDeadlineExceeded: filter.Timeout,
	} {
		r := failing{err: &dns.Error{Name: "_dmarc.example.org", Type: "TXT", Kind: dns.Temporary, Cause: err}}
		report := New(r).Run(context.Background(), tx)
		if report.State != want || !errors.Is(report.Cause, err) || report.Symbols[0].Name != filter.SymDMARCTempError {
			t.Errorf("%v: %+v", err, report)
		}
	}
	// What SPF could not find out leaves DMARC open, too.
	tx = transaction("From: a@example.org", "spf temperror example.org")
	report := New(parseZone(t, "_dmarc.example.org TXT v=DMARC1; p=none")).Run(context.Background(), tx)
	if report.State != filter.Error || report.Cause == nil || report.Symbols[0].Name != filter.SymDMARCTempError {
		t.Errorf("%+v", report)
	}
}

// failing answers nothing.
type failing struct {
	Resolver
	err error
}

func (f failing) LookupTXT(context.Context, string) ([]string, error) { return nil, f.err }

// TestTimeoutState: the stage's own deadline makes State Timeout.
func TestTimeoutState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		tx := transaction("From: a@example.org", "spf pass example.org")
		report := New(&hanging{}).Run(ctx, tx)
		if report.State != filter.Timeout || report.Cause == nil || report.Symbols[0].Name != filter.SymDMARCTempError {
			t.Errorf("%+v", report)
		}
	})
}

// TestPrefetch asks for every name of the walk at once and leaves no goroutine.
func TestPrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{}
		stop := New(h).Prefetch(context.Background(), transaction("From: a@x.mail.example.org", ""))
		synctest.Wait()
		if h.asked != 4 {
			t.Errorf("%d look-ups, want 4", h.asked)
		}
		stop()
	})
}

func TestAuthResult(t *testing.T) {
	tx := transaction("From: a@x.example.org", "spf fail example.org")
	r := parseZone(t, "_dmarc.example.org TXT v=DMARC1; p=none; sp=reject")
	a := New(r).Run(context.Background(), tx).Auth[0]
	want := filter.AuthResult{Method: "dmarc", Result: "fail", Props: []filter.AuthProp{
		{Type: "header", Property: "from", Value: "x.example.org"},
		{Type: "policy", Property: "published-domain-policy", Value: "reject"},
		{Type: "polrec", Property: "p", Value: "none"},
		{Type: "polrec", Property: "domain", Value: "example.org"},
	}}
	if !reflect.DeepEqual(a, want) {
		t.Errorf("%+v", a)
	}
}
