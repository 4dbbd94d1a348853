package dns

import (
	"context"
	"net/netip"
	"strings"
)

// Fake is a resolver for tests: maps from lower-case names to answers. A name
// in Fail fails temporarily; a name in no map, with none below it in one, does
// not exist.
type Fake struct {
	A    map[string][]string // IPv4 and IPv6 addresses
	TXT  map[string][]string
	MX   map[string][]MX
	PTR  map[string][]string // by address
	Fail map[string]bool     // "name", or "name/TXT" for one type only
}

// LookupA returns IPv4 addresses.
func (f *Fake) LookupA(_ context.Context, name string) ([]netip.Addr, error) {
	return f.addrs(name, "A", netip.Addr.Is4)
}

// LookupAAAA returns IPv6 addresses.
func (f *Fake) LookupAAAA(_ context.Context, name string) ([]netip.Addr, error) {
	return f.addrs(name, "AAAA", netip.Addr.Is6)
}

// LookupTXT returns the strings of each TXT record, joined.
func (f *Fake) LookupTXT(_ context.Context, name string) ([]string, error) {
	return fakeAnswer(f, f.TXT, name, "TXT")
}

// LookupMX returns mail exchangers by preference.
func (f *Fake) LookupMX(_ context.Context, name string) ([]MX, error) {
	return fakeAnswer(f, f.MX, name, "MX")
}

// LookupPTR returns host names of an address.
func (f *Fake) LookupPTR(_ context.Context, addr netip.Addr) ([]string, error) {
	return fakeAnswer(f, f.PTR, addr.String(), "PTR")
}

func (f *Fake) addrs(name, typ string, is func(netip.Addr) bool) ([]netip.Addr, error) {
	all, err := fakeAnswer(f, f.A, name, typ)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, s := range all {
		if a := netip.MustParseAddr(s); is(a) {
			out = append(out, a)
		}
	}
	if out == nil {
		return nil, &Error{Name: name, Type: typ, Kind: NotFound}
	}
	return out, nil
}

// exists tells whether there is something at the name or below it.
func (f *Fake) exists(key string) bool {
	return under(f.A, key) || under(f.TXT, key) || under(f.MX, key)
}

func under[T any](m map[string][]T, key string) bool {
	for name := range m {
		if name == key || strings.HasSuffix(name, "."+key) {
			return true
		}
	}
	return false
}

func fakeAnswer[T any](f *Fake, m map[string][]T, name, typ string) ([]T, error) {
	key := strings.ToLower(strings.TrimSuffix(name, "."))
	if f.Fail[key] || f.Fail[key+"/"+typ] {
		return nil, &Error{Name: name, Type: typ, Kind: Temporary}
	}
	if v := m[key]; len(v) > 0 {
		return v, nil
	}
	return nil, &Error{Name: name, Type: typ, Kind: NotFound, NoName: !f.exists(key)}
}
