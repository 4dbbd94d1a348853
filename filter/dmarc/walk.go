package dmarc

import (
	"context"
	"errors"
	"strings"

	"mailweir/internal/dns"
)

// maxQueries bounds a tree walk (RFC 9989 section 4.10): a longer name is cut
// to its last maxQueries-1 labels after the first query.
const maxQueries = 8

// walker does the tree walks of one message and asks for each name once.
type walker struct {
	ctx   context.Context
	dns   Resolver
	known []answer
}

// answer is the one record at a name, nil when there is none.
type answer struct {
	name   string
	record *Record
	err    error
}

// record looks up the DMARC record of domain. Several records are none.
func (w *walker) record(domain string) (*Record, error) {
	for i := range w.known {
		if a := &w.known[i]; a.name == domain {
			return a.record, a.err
		}
	}
	a := answer{name: domain}
	txts, err := w.dns.LookupTXT(w.ctx, "_dmarc."+domain)
	if err != nil && !dns.IsNotFound(err) {
		a.err = err
	} else if err == nil {
		a.record = single(txts)
	}
	w.known = append(w.known, a)
	return a.record, a.err
}

// single is the one record of an answer. Several are none, even where only one
// of them is valid (section 4.10, steps 2 and 6).
func single(txts []string) *Record {
	var found *Record
	records := 0
	for _, txt := range txts {
		rec, err := ParseRecord(txt)
		if errors.Is(err, ErrRecord) {
			continue
		}
		if records++; records > 1 {
			return nil
		}
		found = rec
	}
	return found
}

// parent is the next name of a walk that has just asked for name, "" at its
// end.
func parent(name string) string {
	if n := strings.Count(name, ".") + 1; n > maxQueries {
		for ; n > maxQueries-1; n-- {
			_, name, _ = strings.Cut(name, ".")
		}
		return name
	}
	_, name, _ = strings.Cut(name, ".")
	return name
}

// found is a record that a walk met.
type found struct {
	domain string
	record *Record
}

// walk collects the records from start upwards until one has psd=y or psd=n.
func (w *walker) walk(start string) ([]found, error) {
	var out []found
	for name := start; name != ""; name = parent(name) {
		rec, err := w.record(name)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			continue
		}
		out = append(out, found{name, rec})
		if rec.PSD != 'u' {
			break
		}
	}
	return out, nil
}

// organization is the Organizational Domain of domain (section 4.10.2).
func (w *walker) organization(domain string) (string, error) {
	records, err := w.walk(domain)
	if err != nil {
		return "", err
	}
	return organizationOf(domain, records), nil
}

// Organization finds the Organizational Domain of a domain by itself.
func Organization(ctx context.Context, r Resolver, domain string) (string, error) {
	return (&walker{ctx: ctx, dns: r}).organization(domain)
}

func organizationOf(start string, records []found) string {
	for _, f := range records {
		if f.record.PSD == 'n' {
			return f.domain
		}
		if f.record.PSD == 'y' && f.domain != start {
			return childOf(f.domain, start)
		}
	}
	if len(records) == 0 {
		return start
	}
	return records[len(records)-1].domain // the fewest labels
}

// childOf is the name one label below parent on the way to name.
func childOf(parent, name string) string {
	rest := strings.TrimSuffix(name, "."+parent)
	return name[strings.LastIndexByte(rest, '.')+1:]
}

// discover finds the record that applies to res.Author (section 4.10.1): its
// own, else that of its Organizational Domain, else that of the public suffix
// above.
func (w *walker) discover(res *Result) error {
	rec, err := w.record(res.Author)
	if err != nil {
		return err
	}
	if rec != nil {
		res.Record, res.Domain = rec, res.Author
		return nil
	}
	records, err := w.walk(res.Author)
	if err != nil || len(records) == 0 {
		return err
	}
	org := organizationOf(res.Author, records)
	for _, f := range records {
		if f.domain == org {
			res.Record, res.Domain = f.record, f.domain
			return nil
		}
	}
	if last := records[len(records)-1]; last.record.PSD == 'y' {
		res.Record, res.Domain = last.record, last.domain
	}
	return nil
}
