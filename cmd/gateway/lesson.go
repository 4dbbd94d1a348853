package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailweir/filter"
	"mailweir/filter/bayes"
	"mailweir/filter/content"
	"mailweir/filter/mime"
	"mailweir/internal/config"
	"mailweir/internal/pattern"
	"mailweir/mail"
)

// lessonReader reads what the learned filter learns from: the facts that the
// gateway's own pipeline gives it, without asking anybody.
type lessonReader struct{ check *mime.Check }

func newLessonReader() lessonReader {
	reader := content.New(func() *pattern.Set { return nil }, nil)
	parts := func(*filter.Transaction) mime.Parts { return &lessonParts{} }
	return lessonReader{mime.New(func(tx *filter.Transaction) mime.Text { return reader.Open(tx) }, parts)}
}

// lessonParts takes the fingerprints of the attached files.
type lessonParts struct{ files bayes.Files }

// Begin implements mime.Taker.
func (p *lessonParts) Begin(l *mime.Leaf) mime.Content {
	if print := beginFile(&p.files, l); print != nil {
		return lessonFile{print}
	}
	return nil
}

// Report implements mime.Parts.
func (p *lessonParts) Report() filter.Report {
	return filter.Report{State: filter.OK, Set: func(f *filter.Facts) { f.Body.Files = p.files.Prints() }}
}

// Abort implements mime.Parts.
func (*lessonParts) Abort() {}

type lessonFile struct{ *bayes.Fingerprint }

// Write implements mime.Content.
func (f lessonFile) Write(b []byte) bool {
	f.Fingerprint.Write(b)
	return true
}

// facts reads one message, as it was received.
func (r lessonReader) facts(data []byte) (*filter.Facts, error) {
	n, _ := mail.HeaderLength(data)
	header := mail.ParseHeader(data[:n])
	if !slices.ContainsFunc(header.Fields, func(f mail.Field) bool { return f.Name() != "" }) {
		return nil, errors.New("no mail message: it does not begin with a header field")
	}
	tx := &filter.Transaction{
		Header: &header, Content: mail.Bytes(data), Facts: &filter.Facts{},
		Envelope: &mail.Envelope{Arrived: time.Now()},
	}
	report := r.check.Run(context.Background(), tx)
	if report.State != filter.OK {
		return nil, fmt.Errorf("the content could not be read: %v", report.Cause)
	}
	f := &filter.Facts{Symbols: report.Symbols}
	report.Set(f)
	return f, nil
}

// ownDomain is a domain of ours that --domain names, in canonical form; "" is all.
func ownDomain(cfg *config.Config, domain string) (string, error) {
	if domain == "" {
		return "", nil
	}
	canonical := mail.CanonicalDomain(domain)
	var known []string
	for k := range cfg.Domains {
		name := mail.CanonicalDomain(string(cfg.Domains[k].Name))
		if name == canonical {
			return canonical, nil
		}
		known = append(known, name)
	}
	return "", fmt.Errorf("--domain %q is none of [[domain]]: %s", domain, strings.Join(known, ", "))
}
