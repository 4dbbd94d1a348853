package dnslist

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mailweir/dnsbl"
	"mailweir/filter"
	"mailweir/internal/dns"
	"mailweir/internal/dns/dnstest"
	"mailweir/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixed is a Lister that always says the same.
type fixed []dnsbl.Result

func (f fixed) Lookup(context.Context, netip.Addr) []dnsbl.Result { return f }

func tx(addr string) *filter.Transaction {
	t := &filter.Transaction{Client: &mail.Client{}}
	if addr != "" {
		t.Client.Addr = netip.MustParseAddr(addr)
	}
	return t
}

func TestCheck(t *testing.T) {
	code := netip.MustParseAddr("127.0.0.4")
	hit := dnsbl.Result{Zone: "zen.example", State: dnsbl.Listed, Code: code, Score: 5}
	welcome := dnsbl.Result{Zone: "list-1.white.example", State: dnsbl.Listed, Code: code, Score: -2}
	late := dnsbl.Result{Zone: "late.example", State: dnsbl.Timeout, Err: context.DeadlineExceeded}
	broken := dnsbl.Result{Zone: "broken.example", State: dnsbl.Error, Err: dnsbl.ErrCode}
	clear, off := dnsbl.Result{Zone: "clear.example"}, dnsbl.Result{Zone: "off.example", State: dnsbl.Off}
	for _, c := range []struct {
		name    string
		results fixed
		state   filter.State
		symbols string
		cause   string
	}{
		{"none", nil, filter.OK, "", ""},
		{"clear and off", fixed{clear, off}, filter.OK, "", ""},
		{"hits", fixed{hit, clear, welcome}, filter.OK, "DNSBL_ZEN_EXAMPLE=5 DNSWL_LIST_1_WHITE_EXAMPLE=-2", ""},
		{"late", fixed{late, hit}, filter.Timeout, "DNSBL_ZEN_EXAMPLE=5", "late.example"},
		{"broken", fixed{hit, broken}, filter.Error, "DNSBL_ZEN_EXAMPLE=5", "broken.example"},
		{"broken and late", fixed{broken, late}, filter.Error, "", "broken.example late.example"},
		{"late and broken", fixed{late, broken}, filter.Error, "", "late.example broken.example"},
	} {
		r := New(c.results).Run(context.Background(), tx("192.0.2.7"))
		if r.State != c.state || symbols(r) != c.symbols {
			t.Errorf("%s: %s %q", c.name, r.State, symbols(r))
		}
		if (r.Cause != nil) != (c.cause != "") {
			t.Errorf("%s: cause %v", c.name, r.Cause)
		}
		for zone := range strings.FieldsSeq(c.cause) {
			if !strings.Contains(r.Cause.Error(), zone) {
				t.Errorf("%s: cause %v does not name %s", c.name, r.Cause, zone)
			}
		}
		var f filter.Facts
		if r.Set != nil {
			r.Set(&f)
		}
		if len(f.Listings) != len(r.Symbols) {
			t.Errorf("%s: listings %v", c.name, f.Listings)
		}
	}
}

func symbols(r filter.Report) string {
	var s []string
	for _, sym := range r.Symbols {
		s = append(s, fmt.Sprintf("%s=%g", sym.Name, sym.Score))
	}
	return strings.Join(s, " ")
}

func TestSkipped(t *testing.T) {
	for _, x := range []*filter.Transaction{tx(""), {Client: &mail.Client{Addr: netip.MustParseAddr("10.0.0.1"), Own: true}}} {
		if r := New(fixed{{State: dnsbl.Listed}}).Run(context.Background(), x); r.State != filter.Skipped || r.Symbols != nil || r.Cause == nil {
			t.Errorf("%+v", r)
		}
	}
}

// Through a real server: the listing's facts and detail, and no listing out of
// a list that does not answer.
func TestEndToEnd(t *testing.T) {
	addr := dnstest.Start(t, `
		7.2.0.192.zen.example A 127.0.0.4
		!drop 7.2.0.192.dead.example
	`)
	r, err := dns.New(dns.Options{Servers: []string{addr}, Timeout: 150 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	zones := []dnsbl.Zone{{Name: "dead.example", Score: 9}, {Name: "zen.example", Score: 5}}
	report := New(dnsbl.New(zones, r, nil, nil)).Run(context.Background(), tx("192.0.2.7"))
	want := []filter.Symbol{{Name: "DNSBL_ZEN_EXAMPLE", Score: 5, Detail: "zen.example 127.0.0.4"}}
	if d := cmp.Diff(want, report.Symbols); d != "" || report.State != filter.Timeout {
		t.Errorf("%s %s", report.State, d)
	}
	if !dns.IsTimeout(errors.Unwrap(unjoin(report.Cause))) {
		t.Errorf("cause %v", report.Cause)
	}
	var f filter.Facts
	report.Set(&f)
	if d := cmp.Diff([]filter.Listing{{Zone: "zen.example", Code: "127.0.0.4", Score: 5}}, f.Listings); d != "" {
		t.Error(d)
	}
}

func unjoin(err error) error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()[0]
	}
	return err
}
