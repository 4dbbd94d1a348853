package report

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// queued is a queue that remembers.
type queued struct {
	fail  error
	times []time.Time
	mails []sent
}

type sent struct {
	env        mail.Envelope
	head, body []byte
}

func (q *queued) Generate(env *mail.Envelope, head, body []byte) error {
	if q.fail != nil {
		return q.fail
	}
	q.times = append(q.times, time.Now())
	q.mails = append(q.mails, sent{*env, head, body})
	return nil
}

func (q *queued) domains() (list []string) {
	for _, m := range q.mails {
		_, rest, _ := strings.Cut(string(m.head), "Report Domain: ")
		domain, _, _ := strings.Cut(rest, "\r\n")
		list = append(list, domain)
	}
	return list
}

// day has the messages of some domains on testDay, each with an address of its
// own; those in test. have one outside.
func testDomains(domains ...string) (list []verdict) {
	for k, d := range domains {
		for range len(domains) - k {
			list = append(list, verdict{
				from: d, client: "192.0.2.1", mailFrom: "a@" + d, result: "pass", policy: "reject", spf: d,
				record: "v=DMARC1; p=reject; rua=mailto:rua@" + d,
			})
		}
	}
	return list
}

func reporter(t *testing.T, q Queuer, r Resolver, list ...verdict) *Reporter {
	t.Helper()
	dir := t.TempDir()
	writeDay(t, filepath.Join(dir, "history"), noon, list...)
	rep := New(Options{
		History: filepath.Join(dir, "history"), Dir: filepath.Join(dir, "reports"), Queue: q,
		Metrics: NewMetrics(prometheus.NewRegistry()),
	})
	rep.Configure(&Settings{Submitter: submitter, Hidden: nobody, Resolver: r})
	return rep
}

// TestMessage reads a report as its receiver does, with the standard library.
func TestMessage(t *testing.T) {
	q := &queued{}
	r := reporter(t, q, policies, verdict{
		from: "d.example", client: "192.0.2.1", record: "v=DMARC1; p=reject; rua=mailto:a@d.example, mailto:r@collector.test, mailto:x@nobody.test",
		result: "fail", policy: "reject",
	})
	r.o.Sign = func(_, _ []byte) []byte { return []byte("DKIM-Signature: v=1\r\n") }
	var entries []Entry
	if left, err := r.Send(t.Context(), testDay, nil, func(e Entry) { entries = append(entries, e) }); left != 0 || err != nil {
		t.Fatal(left, err)
	}
	if len(entries) != 1 || len(entries[0].Problems) != 1 || !slices.Equal(entries[0].To, []string{"a@d.example", "r@collector.test"}) {
		t.Errorf("%s", show(entries))
	}
	env := q.mails[0].env
	if env.ReversePath != "dmarc@example.org" || len(env.Recipients) != 2 || env.Recipients[0].Notify != mail.NotifyNever || env.MayReturn {
		t.Errorf("%+v", env)
	}
	raw := append(slices.Clone(q.mails[0].head), q.mails[0].body...)
	for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte("\r\n")), []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n") || slices.ContainsFunc(line, func(c byte) bool { return c > 126 }) {
			t.Errorf("line %q", line)
		}
	}
	if !bytes.HasPrefix(raw, []byte("DKIM-Signature: v=1\r\nFrom: ")) {
		t.Errorf("%.80s", raw)
	}
	xml := attachmentOf(t, raw, "mx.example.org!d.example!1795737600!1795823999!"+entries[0].ID+".xml.gz")
	t.Run("schema", func(t *testing.T) { validate(t, xml) })
	if !bytes.Contains(xml, []byte("<report_id>"+entries[0].ID+"</report_id>")) {
		t.Errorf("%s", xml)
	}
}

func attachmentOf(t *testing.T, raw []byte, name string) []byte {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSuffix(name[strings.LastIndexByte(name, '!')+1:], ".xml.gz")
	if got, want := m.Header.Get("Subject"), "Report Domain: d.example Submitter: mx.example.org Report-ID: <"+id+">"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal("no attachment:", err)
		}
		if p.Header.Get("Content-Type") != "application/gzip" {
			continue
		}
		if p.FileName() != name {
			t.Errorf("file %q, want %q", p.FileName(), name)
		}
		z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, p))
		if err != nil {
			t.Fatal(err)
		}
		xml, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		return xml
	}
}

// TestRun: a day's reports go out once it is over, the largest
// first; and never again, not even by another process.
func TestRun(t *testing.T) {
	q := &queued{}
	r := reporter(t, q, &dns.Fake{}, testDomains("a.test", "b.test", "c.test")...)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(testDay.Begin().Add(time.Hour))) // synctest begins in 2000
		run := func(o Options, d time.Duration) {
			r := New(o)
			r.Configure(r0(o))
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			if err := r.Run(ctx); err != nil {
				t.Error(err)
			}
		}
		run(r.o, time.Until(testDay.End())+afterMidnight-time.Second)
		if len(q.mails) > 0 {
			t.Fatal("before the day was over")
		}
		run(r.o, 2*time.Hour)
		if got := fmt.Sprint(q.domains()); got != "[a.test b.test c.test]" {
			t.Fatalf("sent %s", got)
		}
		run(r.o, 72*time.Hour)
		if len(q.mails) != 3 {
			t.Errorf("%d mails in the end", len(q.mails))
		}
	})
}

// r0 are the settings of these tests.
func r0(Options) *Settings {
	return &Settings{Submitter: submitter, Hidden: nobody, Resolver: &dns.Fake{}}
}

// TestRetry: what DNS or the queue cannot do now is done an hour later, and
// what was done is not done twice.
func TestRetry(t *testing.T) {
	resolver := &dns.Fake{
		TXT:  map[string][]string{"_dmarc.b.test": {"v=DMARC1; p=reject"}},
		Fail: map[string]bool{"_dmarc.b.test": true},
	}
	q := &queued{}
	r := reporter(t, q, resolver, append(testDomains("a.test", "b.test"), verdict{
		from: "b.test", client: "192.0.2.1", record: "v=DMARC1; p=reject; rua=mailto:r@sub.b.test", result: "pass", policy: "reject",
	})...)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(testDay.End().Add(2 * time.Hour)))
		r := New(r.o)
		r.Configure(&Settings{Submitter: submitter, Hidden: nobody, Resolver: resolver})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := fmt.Sprint(q.domains()); got != "[a.test]" {
			t.Errorf("first %s", got)
		}
		resolver.Fail, q.fail = nil, errors.New("disk full")
		time.Sleep(retryAfter + time.Minute)
		synctest.Wait()
		q.fail = nil
		time.Sleep(retryAfter + time.Minute)
		synctest.Wait()
		if got := fmt.Sprint(q.domains()); got != "[a.test b.test]" {
			t.Errorf("in the end %s", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestCrash: the journal is torn at every octet. Nothing is forgotten, what it
// says whole is not sent again, and what is sent again has the same ID.
func TestCrash(t *testing.T) {
	q := &queued{}
	r := reporter(t, q, &dns.Fake{}, testDomains("a.test", "b.test")...)
	if _, err := r.Send(t.Context(), testDay, nil, func(Entry) {}); err != nil {
		t.Fatal(err)
	}
	path := journalPath(r.o.Dir, testDay)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(whole); cut += 3 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		before, _ := ReadJournal(r.o.Dir, testDay)
		q.mails = q.mails[:2]
		if _, err := r.Send(t.Context(), testDay, nil, func(Entry) {}); err != nil {
			t.Fatal(err)
		}
		after, err := ReadJournal(r.o.Dir, testDay)
		if err != nil || len(after) != 3 || len(q.mails) != 2+max(0, 2-len(before)) {
			t.Fatalf("cut at %d: %d entries before, %d after, %d mails, %v", cut, len(before), len(after), len(q.mails), err)
		}
		for _, m := range q.mails[2:] {
			if !slices.ContainsFunc(q.mails[:2], func(o sent) bool { return bytes.Equal(messageID(o.head), messageID(m.head)) }) {
				t.Fatal("another ID")
			}
		}
	}
}

func messageID(head []byte) []byte {
	_, rest, _ := bytes.Cut(head, []byte("Message-ID: "))
	id, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return id
}

// TestSend: what an admin asks for.
func TestSend(t *testing.T) {
	q := &queued{}
	r := reporter(t, q, &dns.Fake{}, testDomains("a.test", "b.test")...)
	if _, err := r.Send(t.Context(), DayOf(time.Now()), nil, func(Entry) {}); err == nil {
		t.Error("today was reported")
	}
	if _, err := r.Send(t.Context(), testDay, []string{"b.test"}, func(Entry) {}); err != nil || fmt.Sprint(q.domains()) != "[b.test]" {
		t.Errorf("%v %v", q.domains(), err)
	}
	if _, err := r.Send(t.Context(), testDay, nil, func(Entry) {}); err != nil || fmt.Sprint(q.domains()) != "[b.test a.test]" {
		t.Errorf("%v %v", q.domains(), err)
	}
	r.Configure(nil)
	if _, err := r.Send(t.Context(), testDay, nil, func(Entry) {}); !errors.Is(err, ErrOff) {
		t.Error(err)
	}
}
