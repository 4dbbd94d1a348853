package urilist

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mailweir/dnsbl"
	"mailweir/filter"
	"mailweir/mail"
)

// fake answers by "name zone", and remembers the names.
type fake struct {
	zones   []string
	answers map[string]dnsbl.Result
	names   []string
	ahead   []string
}

func (f *fake) LookupNames(_ context.Context, names []string) (list []dnsbl.NameResult) {
	f.names = names
	for _, z := range f.zones {
		for _, n := range names {
			r := f.answers[n+" "+z]
			r.Zone = z
			list = append(list, dnsbl.NameResult{Result: r, Domain: n})
		}
	}
	return list
}

func (f *fake) PrefetchNames(names []string) { f.ahead = names }

func url(domain string, change ...func(*filter.URL)) filter.URL {
	u := filter.URL{Scheme: "https", Host: "www." + domain, Domain: domain}
	for _, c := range change {
		c(&u)
	}
	return u
}

func image(u *filter.URL)     { u.Image = true }
func disguised(u *filter.URL) { u.Disguised = true }

func run(f *fake, own bool, urls ...filter.URL) (filter.Report, *filter.Facts) {
	tx := &filter.Transaction{Client: &mail.Client{Own: own}, Facts: &filter.Facts{Body: filter.BodyFacts{URLs: urls}}}
	r := New(f, len(f.zones), []string{"example.org"}).Run(context.Background(), tx)
	if r.Set != nil {
		r.Set(tx.Facts)
	}
	return r, tx.Facts
}

// TestRun: a zone counts once, every listing is in the facts, and what did not
// answer is neither clean nor listed.
func TestRun(t *testing.T) {
	listed := func(code string, score float64) dnsbl.Result {
		return dnsbl.Result{State: dnsbl.Listed, Code: netip.MustParseAddr(code), Score: score}
	}
	f := &fake{zones: []string{"a.example", "b.example"}, answers: map[string]dnsbl.Result{
		"bad.test a.example": listed("127.0.1.2", 6), "bad.test b.example": listed("127.0.0.8", 2),
		"worse.test a.example": listed("127.0.1.4", 6), "slow.test b.example": {State: dnsbl.Timeout, Err: context.DeadlineExceeded},
		"down.test b.example": {State: dnsbl.Error, Err: errors.New("SERVFAIL")},
	}}
	r, facts := run(f, false, url("good.test"), url("bad.test"), url("worse.test"))
	want := []filter.Symbol{
		{Name: "URIBL_A_EXAMPLE", Score: 6, Detail: "bad.test in a.example 127.0.1.2"},
		{Name: "URIBL_B_EXAMPLE", Score: 2, Detail: "bad.test in b.example 127.0.0.8"},
	}
	if r.State != filter.OK || !reflect.DeepEqual(r.Symbols, want) {
		t.Errorf("%s %v", r.State, r.Symbols)
	}
	if len(facts.Domains) != 3 || facts.Domains[1].Domain != "worse.test" {
		t.Errorf("facts %+v", facts.Domains)
	}
	if r, _ := run(f, false, url("slow.test"), url("bad.test")); r.State != filter.Timeout || r.Cause == nil || len(r.Symbols) != 2 {
		t.Errorf("late: %+v", r)
	}
	if r, _ := run(f, false, url("down.test"), url("slow.test")); r.State != filter.Error || len(r.Symbols) != 0 {
		t.Errorf("broken: %+v", r)
	}
	for _, r := range []filter.Report{first(run(f, true, url("bad.test"))), first(run(f, false)), first(run(f, false, url("example.org")))} {
		if r.State != filter.Skipped || r.Cause == nil || len(r.Symbols) > 0 {
			t.Errorf("%+v", r)
		}
	}
}

func first(r filter.Report, _ *filter.Facts) filter.Report { return r }

// TestPick: 20 questions in all, and those that matter first.
func TestPick(t *testing.T) {
	var urls []filter.URL
	for i := range 30 {
		urls = append(urls, url(fmt.Sprintf("p%d.test", i), image))
	}
	for i := range 8 {
		urls = append(urls, url(fmt.Sprintf("l%d.test", i%7)))
	}
	urls = append(urls, url("example.org"), filter.URL{Host: "192.0.2.1", IP: true}, url("trap.test", disguised))
	for zones, want := range map[int]string{
		1: "trap l0 l1 l2 l3 l4 l5 l6 p0 p1 p2 p3 p4 p5 p6 p7 p8 p9 p10 p11",
		3: "trap l0 l1 l2 l3 l4",
		7: "trap l0",
	} {
		f := &fake{zones: slices.Repeat([]string{"z.example"}, zones)}
		run(f, false, urls...)
		if got := strings.ReplaceAll(strings.Join(f.names, " "), ".test", ""); got != want {
			t.Errorf("%d zones: %s", zones, got)
		}
	}
}

// TestPrefetchBody: what is begun ahead is what will be asked.
func TestPrefetchBody(t *testing.T) {
	f := &fake{zones: []string{"a.example", "b.example"}}
	facts := &filter.Facts{Body: filter.BodyFacts{URLs: []filter.URL{url("one.example"), url("example.org"), url("two.example")}}}
	c := New(f, len(f.zones), []string{"example.org"})
	for _, own := range []bool{false, true} {
		f.names, f.ahead = nil, nil
		tx := &filter.Transaction{Client: &mail.Client{Own: own}, Facts: facts}
		c.PrefetchBody(tx, facts)
		c.Run(context.Background(), tx)
		if !slices.Equal(f.names, f.ahead) || own != (len(f.names) == 0) {
			t.Errorf("own %v: begun %v, asked %v", own, f.ahead, f.names)
		}
	}
}
