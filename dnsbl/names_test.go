package dnsbl

import (
	"context"
	"fmt"
	"testing"
	"time"

	"mailweir/internal/dns/dnstest"
)

const namesZone = `
	test.dbl.example          A 127.0.1.2
	dbltest.com.odd.example   A 127.0.0.4
	bad.test.dbl.example      A 127.0.1.4
	bad.test.odd.example      A 127.0.0.8
	ip.test.dbl.example       A 127.0.1.255
	quota.test.dbl.example    A 127.255.255.254
	parked.test.dbl.example   A 203.0.113.9
	!drop     slow.test.dbl.example
	!servfail down.test.dbl.example
`

// TestLookupNames: every zone is asked about every name, and only declared
// codes are listings.
func TestLookupNames(t *testing.T) {
	codes, err := ParseCodes([]string{"127.0.1.0/25"})
	if err != nil {
		t.Fatal(err)
	}
	l := New([]Zone{
		{Name: "dbl.example", Score: 6, Codes: codes, TestPoint: "test"},
		{Name: "odd.example", Score: 2, TestPoint: "dbltest.com"},
	}, resolver(t, dnstest.Start(t, namesZone)), nil, nil)
	names := []string{"bad.test", "ip.test", "quota.test", "parked.test", "slow.test", "down.test", "good.test"}
	want := map[string]string{
		"bad.test dbl.example": "listed 127.0.1.4 6", "bad.test odd.example": "listed 127.0.0.8 2",
		"quota.test dbl.example": "error 127.255.255.254 0", "slow.test dbl.example": "timeout", "down.test dbl.example": "error",
	}
	for round := range 2 { // the second from the cache
		results := l.LookupNames(context.Background(), names)
		if len(results) != 14 {
			t.Fatalf("%d results", len(results))
		}
		for i, r := range results {
			if r.Domain != names[i%7] || r.Zone != l.zones[i/7].Name {
				t.Fatalf("result %d is of %s in %s", i, r.Domain, r.Zone)
			}
			got := r.State.String()
			if r.Code.IsValid() {
				got += fmt.Sprintf(" %v %v", r.Code, r.Score)
			}
			w := want[r.Domain+" "+r.Zone]
			if w == "" {
				w = "clear"
			}
			if got != w || (r.Err != nil) != (r.State == Error || r.State == Timeout) {
				t.Errorf("round %d: %s in %s: %s %v, want %s", round, r.Domain, r.Zone, got, r.Err, w)
			}
		}
	}
	ctx, cancel := context.WithDeadline(context.Background(), time.Now())
	defer cancel()
	if r := l.LookupNames(ctx, []string{"new.test"}); r[0].State != Timeout {
		t.Errorf("after the deadline: %+v", r)
	}
}

// TestNameCanaries: the test points of lists of names are names.
func TestNameCanaries(t *testing.T) {
	srv := dnstest.Run(t, "")
	l := New([]Zone{{Name: "dbl.example", Score: 5, TestPoint: "dbltest.com"}}, resolver(t, srv.Addr()), nil, nil)
	const healthy = "dbltest.com.dbl.example A 127.0.1.2\n"
	for _, step := range []struct {
		name, zone string
		up         bool
	}{
		{"healthy", healthy, true},
		{"lists everything", "*.dbl.example A 127.0.1.2", false},
		{"temporary failure while off", "!servfail invalid.dbl.example", false},
		{"healthy again", healthy, true},
		{"time-out", "!drop invalid.dbl.example\n" + healthy, true},
		{"gone", "", false},
		{"parked", "*.dbl.example A 203.0.113.5", false},
		{"refuses us", "*.dbl.example A 127.255.255.254", false},
		{"healthy at last", healthy, true},
	} {
		if err := srv.Replace(step.zone); err != nil {
			t.Fatal(err)
		}
		l.Canaries(context.Background())
		if r := l.LookupNames(context.Background(), []string{"x.test"}); (r[0].State != Off) != step.up {
			t.Errorf("%s: a look-up is %v", step.name, r[0].State)
		}
	}
	if n := srv.Count("2.0.0.127.dbl.example"); n != 0 {
		t.Error("an address was asked")
	}
}
