package spf

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// The RFC 7208 test suite of the SPF community, as JSON, with its licence
// beside it. A zone is a list of records per name; "TIMEOUT" makes every type
// fail that is not listed before it.
type suiteScenario struct {
	Description string
	Tests       []suiteCase
	Zone        map[string][]json.RawMessage
}

type suiteCase struct {
	Name, Helo, Host, MailFrom, Spec, Description, Explanation string
	Result                                                     []string
}

func TestRFC7208Suite(t *testing.T) {
	raw, err := os.ReadFile("testdata/rfc7208-tests.json")
	if err != nil {
		t.Fatal(err)
	}
	var scenarios []suiteScenario
	if err := json.Unmarshal(raw, &scenarios); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range scenarios {
		zone := parseZone(t, s.Zone)
		for _, c := range s.Tests {
			n++
			t.Run(s.Description+"/"+c.Name, func(t *testing.T) { runSuiteCase(t, zone, c) })
		}
	}
	if n != 203 {
		t.Errorf("the suite has %d cases, want 203", n)
	}
}

func runSuiteCase(t *testing.T, zone *zone, c suiteCase) {
	res := CheckHost(context.Background(), zone, Args{
		IP: netip.MustParseAddr(c.Host), Helo: c.Helo, MailFrom: mail.Path(c.MailFrom),
	})
	if !slices.Contains(c.Result, string(res.Status)) {
		t.Errorf("%s (%s)\n got %s (%s), want %v", c.Description, c.Spec, res.Status, res.Problem, c.Result)
	}
	want := strings.TrimPrefix(c.Explanation, "DEFAULT")
	if c.Explanation != "" && res.Status == Fail && res.Explanation != want {
		t.Errorf("explanation %q, want %q", res.Explanation, want)
	}
}

// zone answers from the records of a scenario.
type zone struct {
	names map[string][]zoneRecord
}

type zoneRecord struct {
	typ   string // "TIMEOUT" and "CNAMELOOP" too
	value string
	pref  uint16
}

func parseZone(t *testing.T, in map[string][]json.RawMessage) *zone {
	z := &zone{names: map[string][]zoneRecord{}}
	for name, list := range in {
		var recs []zoneRecord
		txt := false
		for _, raw := range list {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatalf("%s: %s: %v", name, raw, err)
			}
			for typ, v := range m {
				recs = append(recs, parseZoneRecord(t, typ, v))
				txt = txt || typ == "TXT"
			}
		}
		// The suite still speaks of type SPF, which stands for TXT where the
		// name has no TXT of its own.
		for i := range recs {
			if recs[i].typ == "SPF" && !txt {
				recs[i].typ = "TXT"
			}
		}
		z.names[strings.ToLower(strings.TrimSuffix(name, "."))] = recs
	}
	return z
}

func parseZoneRecord(t *testing.T, typ string, raw json.RawMessage) zoneRecord {
	r := zoneRecord{typ: typ}
	if typ == "MX" {
		var pair []any
		if err := json.Unmarshal(raw, &pair); err != nil {
			t.Fatal(err)
		}
		r.pref, r.value = uint16(pair[0].(float64)), pair[1].(string)
		return r
	}
	var list []string
	if json.Unmarshal(raw, &r.value) != nil && json.Unmarshal(raw, &list) == nil {
		r.value = strings.Join(list, "")
	}
	return r
}

var errZone = errors.New("zone says so")

func (z *zone) find(name, typ string, depth int) ([]zoneRecord, error) {
	var out []zoneRecord
	for _, r := range z.names[strings.ToLower(name)] {
		switch {
		case r.typ == "CNAMELOOP" || depth > 8:
			return nil, &dns.Error{Name: name, Type: typ, Kind: dns.Temporary, Cause: errZone}
		case r.typ == "CNAME":
			return z.find(strings.TrimSuffix(r.value, "."), typ, depth+1)
		case r.typ == typ && r.value != "NONE":
			out = append(out, r)
		case r.typ == "TIMEOUT" && out == nil:
			return nil, &dns.Error{Name: name, Type: typ, Kind: dns.Temporary, Cause: errZone}
		}
	}
	if out == nil {
		return nil, &dns.Error{Name: name, Type: typ, Kind: dns.NotFound}
	}
	return out, nil
}

func (z *zone) texts(name, typ string) ([]string, error) {
	recs, err := z.find(name, typ, 0)
	var out []string
	for _, r := range recs {
		out = append(out, r.value)
	}
	return out, err
}

func (z *zone) addrs(name, typ string) ([]netip.Addr, error) {
	texts, err := z.texts(name, typ)
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, err
}

func (z *zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	return z.texts(name, "TXT")
}

func (z *zone) LookupA(_ context.Context, name string) ([]netip.Addr, error) {
	return z.addrs(name, "A")
}

func (z *zone) LookupAAAA(_ context.Context, name string) ([]netip.Addr, error) {
	return z.addrs(name, "AAAA")
}

func (z *zone) LookupMX(_ context.Context, name string) ([]dns.MX, error) {
	recs, err := z.find(name, "MX", 0)
	var out []dns.MX
	for _, r := range recs {
		out = append(out, dns.MX{Host: strings.TrimSuffix(r.value, "."), Preference: r.pref})
	}
	return out, err
}

func (z *zone) LookupPTR(_ context.Context, a netip.Addr) ([]string, error) {
	labels := strings.Split(dotted(a), ".")
	slices.Reverse(labels)
	suffix := ".in-addr.arpa"
	if a.Is6() {
		suffix = ".ip6.arpa"
	}
	return z.texts(strings.Join(labels, ".")+suffix, "PTR")
}
