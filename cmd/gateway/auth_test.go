package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailweir/internal/dns/dnstest"
)

const authZone = `
	good.example                 TXT "v=spf1 ip4:192.0.2.7 include:_spf.good.example -all"
	_spf.good.example            TXT "v=spf1 mx:good.example ?all"
	good.example                 MX  10 mx.good.example.
	mx.good.example              A   192.0.2.8
	_dmarc.good.example          TXT "v=DMARC1; p=reject; rua=mailto:d@good.example"
	ed._domainkey.good.example   TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	test._domainkey.good.example TXT "v=DKIM1; k=ed25519; t=y; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	gone._domainkey.good.example TXT "v=DKIM1; p="
	open.example                 TXT "v=spf1 +all"
	_dmarc.open.example          TXT "v=DMARC1; p=none"
	loop.example                 TXT "v=spf1 include:loop.example -all"
	_dmarc.loop.example          TXT "v=DMARC1; p=maybe"
	soft.example                 TXT "v=spf1 a"
	soft.example                 A   192.0.2.9
	_dmarc.soft.example          TXT "v=DMARC1; p=reject; t=y; rua=mailto:d@soft.example"
	told.example                 TXT "v=spf1 -all"
	_dmarc.told.example          TXT "v=DMARC1; p=reject; rua=mailto:d@reports.example,mailto:d@nobody.example!10m"
	told.example._report._dmarc.reports.example TXT "v=DMARC1"
	_dmarc.twice.example         TXT "v=DMARC1; p=reject"
	_dmarc.twice.example         TXT "v=DMARC1; p=none"
	_dmarc.tag.good.example      TXT "v=DMARC1; p=none; p=reject"
	_dmarc.sp.example            TXT "v=DMARC1; p=reject; sp=all; rua=mailto:d@sp.example"
	_dmarc.part.example          TXT "v=DMARC1; p=reject; pct=50; rua=mailto:d@part.example"
	evil.example                 TXT "v=spf1 \027[31m -all"
	!ad good.example
	!ad _spf.good.example
	!ad mx.good.example
	!ad ed._domainkey.good.example
	!servfail down.example
	!servfail _dmarc.down.example
`

// trace runs the command against the zone and returns its JSON.
func trace(t *testing.T, server string, args ...string) (*authTrace, int, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.toml")
	text := fmt.Sprintf("hostname = \"mx.example.org\"\ndata_dir = %q\n[dns]\nservers = [\"%s\"]\n[[listener]]\naddress = \"127.0.0.1:0\"\n"+
		"[[domain]]\nname = \"example.org\"\nnext_hops = [\"127.0.0.1:25\"]\n", t.TempDir(), server)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := dispatch(context.Background(), stdio{nil, &out, &errs}, append([]string{"auth", "trace", "--config", file}, args...))
	got := &authTrace{}
	if strings.HasPrefix(out.String(), "{") {
		if err := json.Unmarshal(out.Bytes(), got); err != nil {
			t.Fatal(err)
		}
	}
	return got, code, out.String() + errs.String()
}

func TestAuthTrace(t *testing.T) {
	server := dnstest.Start(t, authZone)
	for _, c := range []struct {
		domain            string
		spf, dmarc        string
		problems          string // of SPF, then of DMARC; "" for none
		code              int
		spfRecord, policy string
	}{
		{"good.example", "fail", "fail", "", 0, "v=spf1 ip4", "reject"},
		{"GOOD.example.", "fail", "fail", "", 0, "v=spf1 ip4", "reject"},
		{"mail.good.example", "none", "fail", "no record: receivers", 10, "", "reject"},
		{"open.example", "pass", "fail", "everybody passes|p=none|no rua", 10, "v=spf1 +all", "none"},
		{"loop.example", "permerror", "none", "look-ups|not valid, and no rua=", 10, "v=spf1 include", ""},
		{"soft.example", "neutral", "fail", "should end in|t=y", 10, "v=spf1 a", "reject"},
		{"told.example", "fail", "fail", "rua=mailto:d@nobody.example!10m is elsewhere, and told.example._report._dmarc.nobody.example does not say", 10, "v=spf1 -all", "reject"},
		{"twice.example", "none", "none", "no record: receivers|2 records", 10, "", ""},
		{"tag.good.example", "none", "fail", "no record: receivers|a tag of the record is there twice", 10, "", "reject"},
		{"sp.example", "none", "fail", "no record: receivers|take it for p=none", 10, "", "none"},
		{"part.example", "none", "fail", "no record: receivers|pct= has no effect", 10, "", "reject"},
		{"nothing.example", "none", "none", "no record: receivers|no record: anybody", 10, "", ""},
		{"down.example", "temperror", "temperror", "temporary failure|temporary failure", 10, "", ""},
	} {
		got, code, _ := trace(t, server, "--json", c.domain)
		if got.SPF.Result != c.spf || got.DMARC.Result != c.dmarc || code != c.code || got.DMARC.Policy != c.policy || !strings.HasPrefix(got.SPF.Record, c.spfRecord) {
			t.Errorf("%s: exit %d %+v %+v", c.domain, code, got.SPF, got.DMARC)
		}
		problems := slices.Concat(got.SPF.Problems, got.DMARC.Problems)
		var want []string
		if c.problems != "" {
			want = strings.Split(c.problems, "|")
		}
		if !slices.EqualFunc(problems, want, strings.Contains) {
			t.Errorf("%s: problems %q, want %q", c.domain, problems, want)
		}
		if len(got.Queries) == 0 {
			t.Errorf("%s: no DNS questions", c.domain)
		}
	}
}

func TestAuthTraceAddress(t *testing.T) {
	server := dnstest.Start(t, authZone)
	for addr, want := range map[string]string{"192.0.2.7": "pass", "192.0.2.8": "pass", "2001:db8::1": "fail"} {
		got, code, _ := trace(t, server, "--ip", addr, "--json", "good.example")
		if got.SPF.Result != want || got.SPF.Address != addr || code != 0 {
			t.Errorf("%s: exit %d %+v", addr, code, got.SPF)
		}
	}
	got, _, _ := trace(t, server, "--ip", "192.0.2.8", "--json", "good.example")
	var asked []string
	for _, q := range got.Queries {
		asked = append(asked, q.Type+" "+q.Name)
	}
	for _, q := range []string{"TXT good.example", "TXT _spf.good.example", "MX good.example", "A mx.good.example", "TXT _dmarc.good.example"} {
		if !slices.Contains(asked, q) {
			t.Errorf("%s is not among %q", q, asked)
		}
	}
}

func TestAuthTraceKeys(t *testing.T) {
	server := dnstest.Start(t, authZone)
	got, code, _ := trace(t, server, "--selector", "ed", "--selector", "test", "--selector", "gone", "--selector", "none", "--json", "good.example")
	want := []string{"", "t=y", "revoked", "not found"}
	if code != 10 || len(got.DKIM) != len(want) {
		t.Fatalf("exit %d %+v", code, got.DKIM)
	}
	for i, k := range got.DKIM {
		if p := strings.Join(k.Problems, " "); (p == "") != (want[i] == "") || !strings.Contains(p, want[i]) {
			t.Errorf("%s: %q, want %q", k.Selector, p, want[i])
		}
	}
	if got.DKIM[0].Bits != 256 || !strings.HasPrefix(got.DKIM[0].Record, "v=DKIM1; k=ed25519; p=11q") {
		t.Errorf("%+v", got.DKIM[0])
	}
}

// The text form says the same, and no record of a stranger's works on the
// terminal.
func TestAuthTraceText(t *testing.T) {
	server := dnstest.Start(t, authZone)
	_, code, out := trace(t, server, "open.example")
	if code != 10 || !strings.Contains(out, "spf     pass for 192.0.2.1 by +all") || !strings.Contains(out, "!  p=none") ||
		!strings.Contains(out, "TXT  _dmarc.open.example") {
		t.Errorf("exit %d\n%s", code, out)
	}
	_, _, out = trace(t, server, "--selector", "gone", "nothing.example")
	for _, line := range []string{"spf     none for 192.0.2.1\n", "dkim    selector gone\n", "dmarc   none: no policy applies\n"} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not in\n%s", line, out)
		}
	}
	if _, _, out = trace(t, server, "evil.example"); strings.ContainsRune(out, 0x1b) {
		t.Errorf("%q", out)
	}
	for _, args := range [][]string{{}, {"a.example", "b.example"}, {"--ip", "x", "a.example"}, {"a b"}, {"[192.0.2.1]"}} {
		if _, code, _ := trace(t, server, args...); code != exitUsage && code != exitError {
			t.Errorf("%q: exit %d", args, code)
		}
	}
}

// What was validated says so, and one answer that was not takes it away.
func TestAuthTraceDNSSEC(t *testing.T) {
	server := dnstest.Run(t, authZone)
	d := server.RunTLS(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, d.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, servers := range []string{server.Addr(), "tls://" + d.Addr() + "#" + dnstest.TLSName + "\"]\nca_file = \"" + ca + "\" #"} {
		got, code, text := trace(t, servers, "--json", "--selector", "ed", "--selector", "test", "good.example")
		if code != exitProblems || len(got.DKIM) != 2 {
			t.Fatalf("exit %d\n%s", code, text)
		}
		if !got.SPF.DNSSEC || !got.DKIM[0].DNSSEC || got.DKIM[1].DNSSEC || got.DMARC.DNSSEC {
			t.Errorf("SPF %v, DKIM %v and %v, DMARC %v", got.SPF.DNSSEC, got.DKIM[0].DNSSEC, got.DKIM[1].DNSSEC, got.DMARC.DNSSEC)
		}
		_, _, text = trace(t, servers, "good.example")
		if !strings.Contains(text, "-all  [dnssec]\n") {
			t.Error(text)
		}
	}
}

// TestAuthAdvice: what was meant to be a record, or looks as if it said more than
// it does, is told of.
func TestAuthAdvice(t *testing.T) {
	const key = "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	server := dnstest.Start(t, `
		quoted.example                  TXT "\"v=spf1 -all\""
		space.example                   TXT " v=spf1 -all"
		v2.example                      TXT "v=spf2.0 -all"
		equals.example                  TXT "v=spf1 include=_spf.x.example -all"
		behind.example                  TXT "v=spf1 ~all include:x.example redirect=y.example exp=z.example"
		ptr.example                     TXT "v=spf1 ?PTR:x.example -all"
		many.example                    TXT "v=spf1 a/24 mx ip4:203.0.113.0/24 exists:%{i}.x.example x=y -all"
		many.example                    A   198.51.100.1
		many.example                    MX  0 .
		void.example                    TXT "v=spf1 a:nx1.void.example exists:nx2.void.example mx:nx3.void.example -all"
		_dmarc.semicolon.example        TXT "v=DMARC1 p=reject"
		_dmarc.order.example            TXT "p=reject; v=DMARC1"
		_dmarc.letters.example          TXT "v=dmarc1; p=reject"
		place.example                   TXT "v=DMARC1; p=reject"
		_dmarc.dot.example.dot.example  TXT "v=DMARC1; p=reject"
		_dmarc.values.example           TXT "v=DMARC1; p=reject; adkim=strict; t=yes; psd=; polcy=x; fo=1; rua=a@values.example"
		a._domainkey.key.example        TXT "v=DKIM1; `+key+`"
		b._domainkey.key.example        TXT "v=DKIM1; k=ed25519; h=sha1; `+key+`"
		c._domainkey.key.example        TXT "v=DKIM1; k=ed25519; s=tlsrpt; `+key+`"
		d._domainkey.key.example.key.example TXT "v=DKIM1; k=ed25519; `+key+`"
		!servfail e._domainkey.key.example
	`)
	for domain, want := range map[string]string{
		"quoted":    `"\"v=spf1 -all\"" is no record`,
		"space":     `" v=spf1 -all" is no record`,
		"v2":        `"v=spf2.0 -all" is no record`,
		"equals":    "include=_spf.x.example is read over, as an unknown modifier: include: is meant",
		"behind":    "include:x.example is never looked at: it stands behind ~all|redirect=y.example is never looked at: it stands behind ~all",
		"ptr":       "ptr is slow",
		"many":      "",
		"void":      "more than 2 DNS look-ups without an answer: nx1.void.example, nx2.void.example, nx3.void.example",
		"semicolon": "no record|\"v=DMARC1 p=reject\" is no record",
		"order":     "no record|\"p=reject; v=DMARC1\" is no record",
		"letters":   "no record|\"v=dmarc1; p=reject\" is no record",
		"place":     "no record|there is one at place.example, where nobody looks for it: it belongs to _dmarc.place.example",
		"dot":       "no record|there is one at _dmarc.dot.example.dot.example: the zone has its own name twice",
		"values":    `adkim=strict has no effect: it must be r or s|t=yes has no effect|psd= has no effect|"polcy=x" is no tag of DMARC|no rua= with a valid URI`,
	} {
		got, _, _ := trace(t, server, "--json", domain+".example")
		list, other := got.SPF.Problems, got.DMARC.Problems
		if slices.Contains([]string{"semicolon", "order", "letters", "place", "dot", "values"}, domain) {
			list, other = other, list
		}
		problems := strings.Split(want, "|")
		if want == "" {
			problems = nil
		}
		if len(other) != 1 || !slices.EqualFunc(list, problems, strings.Contains) {
			t.Errorf("%s: %q and %q", domain, list, other)
		}
	}
	got, _, _ := trace(t, server, "--json", "--selector", "a", "--selector", "b", "--selector", "c", "--selector", "d", "--selector", "e", "key.example")
	for i, want := range []string{
		"malformed RSA key; without k= it is taken for an RSA key", "key is for another hash algorithm: no signature", "key is for another service: no signature",
		"not found there is one at d._domainkey.key.example.key.example", "temporary failure: server failure",
	} {
		if p := strings.Join(got.DKIM[i].Problems, " "); !strings.Contains(p, want) {
			t.Errorf("%s: %q", got.DKIM[i].Selector, p)
		}
	}
}
