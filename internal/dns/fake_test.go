package dns_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"mailweir/internal/dns"
)

// The fake keeps the resolver's contract: what it does not have is not found,
// and what fails is temporary.
func TestFake(t *testing.T) {
	ctx := context.Background()
	f := &dns.Fake{
		A:    map[string][]string{"a.example": {"192.0.2.1", "2001:db8::1"}, "six.example": {"2001:db8::1"}},
		TXT:  map[string][]string{"a.example": {"x"}},
		MX:   map[string][]dns.MX{"a.example": {{Host: "mx.example"}}},
		PTR:  map[string][]string{"192.0.2.1": {"a.example"}},
		Fail: map[string]bool{"down.example": true, "a.example/MX": true},
	}
	if a, err := f.LookupA(ctx, "A.example."); err != nil || len(a) != 1 {
		t.Error(a, err)
	}
	if a, err := f.LookupAAAA(ctx, "a.example"); err != nil || len(a) != 1 {
		t.Error(a, err)
	}
	if _, err := f.LookupA(ctx, "six.example"); !dns.IsNotFound(err) {
		t.Error(err)
	}
	for name, none := range map[string]bool{"six.example": false, "example": false, "none.example": true, "x.six.example": true} {
		if _, err := f.LookupTXT(ctx, name); !dns.IsNotFound(err) || dns.IsNoName(err) != none {
			t.Error(name, err)
		}
	}
	if _, err := f.LookupTXT(ctx, "down.example"); !dns.IsTemporary(err) || dns.IsNoName(err) {
		t.Error(err)
	}
	if _, err := f.LookupMX(ctx, "a.example"); !dns.IsTemporary(err) || dns.IsNotFound(err) {
		t.Error(err)
	}
	if p, err := f.LookupPTR(ctx, netip.MustParseAddr("192.0.2.1")); err != nil || p[0] != "a.example" {
		t.Error(p, err)
	}
	if err := (&dns.Error{Name: "x\r\n", Type: "A", Kind: dns.Invalid, Cause: errors.New("too long")}).Error(); err != `dns: A "x\r\n": invalid name: too long` {
		t.Error(err)
	}
}
