package report

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"mailweir/filter/dmarc"
	"mailweir/internal/dns"
	"mailweir/mail"
)

// Resolver is what finding out where to needs of DNS.
type Resolver interface{ dmarc.Resolver }

// Destination is where a report may go.
type Destination struct {
	Path mail.Path
	Max  int64 // octets of the message; 0 for no limit
}

// errUnverified is why an address outside gets no report.
var errUnverified = errors.New("it has not agreed to get reports for this domain")

// Destinations are the addresses of a policy record that may get the report
// for domain, and what is wrong with the others. A temporary DNS failure is an
// error: nothing may be sent, or given up, before it is known.
func Destinations(ctx context.Context, r Resolver, domain string, policy *dmarc.Record) (list []Destination, problems []string, err error) {
	for _, uri := range policy.RUA {
		d, err := parseURI(uri)
		if err == nil {
			d, err = agreed(ctx, r, domain, d)
		}
		switch {
		case err != nil && dns.IsTemporary(err) && isDNS(err):
			return nil, nil, err
		case err != nil:
			problems = append(problems, fmt.Sprintf("%q: %v", uri, err))
		default:
			list = append(list, d)
		}
	}
	return list, problems, nil
}

func isDNS(err error) bool {
	var e *dns.Error
	return errors.As(err, &e)
}

// parseURI reads a mailto URI (RFC 6068), with the size limit that RFC 7489
// section 6.2 let stand behind it: "mailto:a@example.org!10m".
func parseURI(uri string) (Destination, error) {
	scheme, rest, _ := strings.Cut(uri, ":")
	if !strings.EqualFold(scheme, "mailto") {
		return Destination{}, errors.New("only mailto is supported")
	}
	rest, _, _ = strings.Cut(rest, "?")
	var d Destination
	if at := strings.LastIndexByte(rest, '!'); at > strings.LastIndexByte(rest, '@') {
		var ok bool
		if d.Max, ok = parseSize(rest[at+1:]); !ok {
			return d, errors.New("the size limit makes no sense")
		}
		rest = rest[:at]
	}
	addr, err := url.PathUnescape(rest)
	if err == nil {
		d.Path, err = mail.ParsePath(addr, false)
	}
	if err != nil || d.Path.Domain() == "" || strings.HasPrefix(d.Path.Domain(), "[") {
		return d, errors.New("not an address")
	}
	return d, nil
}

// parseSize reads digits and one of k, m, g, t, powers of 1024.
func parseSize(s string) (int64, bool) {
	shift := 0
	if n := len(s); n > 0 {
		if k := strings.IndexByte("kmgt", s[n-1]|0x20); k >= 0 {
			shift, s = 10*(k+1), s[:n-1]
		}
	}
	n, err := strconv.ParseUint(s, 10, 20)
	return int64(n) << shift, err == nil && n > 0
}

// agreed verifies an address outside of the organization (RFC 9990, "Verifying
// External Destinations"): the domain there must publish that it takes reports
// for this one, and may name another address of its own instead.
func agreed(ctx context.Context, r Resolver, domain string, d Destination) (Destination, error) {
	host := mail.CanonicalDomain(d.Path.Domain())
	ours, err := dmarc.Organization(ctx, r, domain)
	if err != nil {
		return d, err
	}
	theirs, err := dmarc.Organization(ctx, r, host)
	if err != nil || ours == theirs {
		return d, err
	}
	txts, err := r.LookupTXT(ctx, domain+"._report._dmarc."+host)
	if dns.IsNotFound(err) {
		return d, errUnverified
	}
	if err != nil {
		return d, err
	}
	found := false
	for _, txt := range txts {
		rec, err := dmarc.ParseRecord(txt)
		if err != nil {
			continue
		}
		found = true
		if len(rec.RUA) > 0 {
			if d, err = override(host, rec.RUA[0]); err != nil {
				return d, err
			}
		}
	}
	if !found {
		return d, errUnverified
	}
	return d, nil
}

// override is the address that the destination wants instead. With another
// host neither of the two gets anything: that could be anybody's.
func override(host, uri string) (Destination, error) {
	d, err := parseURI(uri)
	if err == nil && mail.CanonicalDomain(d.Path.Domain()) != host {
		err = errors.New("it passes reports on to another host, which is not allowed")
	}
	return d, err
}
