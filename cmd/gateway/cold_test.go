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
	"time"

	"mailweir/internal/dns/dnstest"
)

// roundTrip is how far away the server of TestColdDNS is: much longer than
// whatever else a message costs.
const roundTrip = 150 * time.Millisecond

// coldZone has a client that only the SPF record's last term names, behind
// others that have to be asked; three signatures; and authors whose policies
// are some labels up.
const coldZone = `
	7.2.0.192.in-addr.arpa            PTR mx.sender.example.
	7.2.0.192.in-addr.arpa            PTR mx2.sender.example.
	mx.sender.example                 A   192.0.2.7
	mx2.sender.example                A   192.0.2.7
	sender.example                    TXT "v=spf1 include:one.example include:two.example a:h1.example a:h2.example mx -all"
	b.c.d.sender.example              TXT "v=spf1 ip4:192.0.2.7 -all"
	one.example                       TXT "v=spf1 ip4:198.51.100.0/24 ~all"
	two.example                       TXT "v=spf1 a:h3.example exists:%{i}.h4.example a:h5.example ?all"
	h1.example                        A   198.51.100.1
	h2.example                        A   198.51.100.2
	h3.example                        A   198.51.100.3
	h5.example                        A   198.51.100.5
	sender.example                    MX  10 mx1.sender.example.
	sender.example                    MX  20 mx2.sender.example.
	sender.example                    MX  30 mx.sender.example.
	mx1.sender.example                A   198.51.100.6
	_dmarc.sender.example             TXT "v=DMARC1; p=reject"
	s1._domainkey.sender.example      TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	s2._domainkey.mail.sender.example TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	_dmarc.np.example                 TXT "v=DMARC1; p=none; np=reject"
	2.0.0.127.list.example            A   127.0.0.2
	2.0.0.127.white.example           A   127.0.0.2
	test.names.example                A   127.0.0.2
	7.2.0.192.list.example            A   127.0.0.2
`

// coldLists are asked about the client, and about what the message links to.
const coldLists = "[[dnsbl]]\nzone = \"list.example\"\nscore = 1.0\n[[dnsbl]]\nzone = \"white.example\"\nscore = -1.0\n" +
	"[[uribl]]\nzone = \"names.example\"\ntest_point = \"test\"\nscore = 1.0\n"

// TestColdDNS counts the round trips that a message waits for, one after the
// other, when the cache knows nothing: as many as its longest chain of answers
// that depend on each other, and none for names that could be asked together.
func TestColdDNS(t *testing.T) {
	const signature = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=%s; s=%s; h=from;\r\n" +
		" bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=" +
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\r\n"
	both := fmt.Sprintf(signature, "sender.example", "s1") + fmt.Sprintf(signature, "mail.sender.example", "s2")
	const set = "ARC-Seal: i=%d; cv=%s; a=ed25519-sha256; d=%s; s=s; b=AAAA\r\n" +
		"ARC-Message-Signature: i=%[1]d; a=ed25519-sha256; c=relaxed/relaxed; d=%[3]s; s=t; h=from; bh=AAAA; b=AAAA\r\n" +
		"ARC-Authentication-Results: i=%[1]d; %[3]s; none\r\n"
	sealed := fmt.Sprintf(set, 2, "pass", "two.example") + fmt.Sprintf(set, 1, "none", "one.example")
	const authors = "From: a@x.y.z.sender.example, b@u.v.one.example, c@two.example\r\n"
	for _, c := range []struct {
		name, mailFrom, header string
		want                   int
		why                    string
	}{
		{"plain", "a@one.example", "From: a@one.example\r\n", 2, "PTR and its name; SPF, DKIM and DMARC are as deep"},
		{"spf", "a@sender.example", "From: a@sender.example\r\n" + both, 4, "record, include, what the include names, hosts of the mx"},
		{"walk", "a@b.c.d.sender.example", "From: a@x.y.z.sender.example\r\n" + both, 2, "all of a tree walk at once"},
		{"authors", "a@one.example", authors + both, 2, "several tree walks at once"},
		{"np", "a@one.example", "From: a@gone.np.example\r\n", 2, "whether the author exists, beside the walk"},
		{"everything", "a@sender.example", sealed + "From: a@x.y.sender.example\r\n" + both, 4, "lists, PTR, keys and walks are beside SPF, and so is what the body links to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := dnstest.Start(t, coldZone+fmt.Sprintf("!late *.example %v\n!late *.arpa %[1]v\n", roundTrip))
			got := time.Hour
			for range 5 { // a busy machine adds time, and never takes any away
				got = min(got, cold(t, server, c.mailFrom, c.header+"Subject: x\r\n\r\nhttp://link.example/ http://other.example/\r\n"))
				if int(got/roundTrip) <= c.want {
					break
				}
			}
			if n := int(got / roundTrip); n != c.want {
				t.Errorf("%d round trips (%v), want %d: %s", n, got, c.want, c.why)
			}
		})
	}
}

// cold judges one message with an empty cache, and tells when the last check
// had ended.
func cold(t *testing.T, server, mailFrom, message string) time.Duration {
	t.Helper()
	f := coldFinding(t, server, mailFrom, message)
	last := int64(0)
	var shown strings.Builder
	for _, s := range f.Stages {
		last = max(last, s.Start+s.Duration)
		fmt.Fprintf(&shown, "%s %d+%d  ", s.Name, s.Start/1000, s.Duration/1000)
	}
	t.Logf("spf %s, dmarc %s; ms: %s", f.SPF.Result, f.DMARC.Result, shown.String())
	return time.Duration(last) * time.Microsecond
}

func coldFinding(t *testing.T, server, mailFrom, message string, flags ...string) *finding {
	t.Helper()
	dir := t.TempDir()
	config, file := filepath.Join(dir, "gateway.toml"), filepath.Join(dir, "message.eml")
	text := fmt.Sprintf("hostname = \"mx.example.org\"\ndata_dir = %q\n[dns]\nservers = [%q]\n[[listener]]\naddress = \"127.0.0.1:0\"\n"+
		"[[domain]]\nname = \"example.org\"\nnext_hops = [\"127.0.0.1:25\"]\n%s", dir, server, coldLists)
	for name, data := range map[string]string{config: text, file: message} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	args := append([]string{"check", "--json", "--config", config, "--client-ip", "192.0.2.7", "--helo", "mx.sender.example", "--mail-from", mailFrom}, flags...)
	code := dispatch(context.Background(), stdio{nil, &out, &errs}, append(args, file))
	f := &finding{}
	if err := json.Unmarshal(out.Bytes(), f); err != nil {
		t.Fatalf("exit %d: %v\n%s%s", code, err, out.Bytes(), errs.Bytes())
	}
	return f
}

// TestExplainLists: the steps of a check show what DNS lists were asked, and
// what they said; and that none was, where they do not work.
func TestExplainLists(t *testing.T) {
	server := dnstest.Start(t, coldZone+"bad.example.names.example A 127.0.0.2\n!servfail 7.2.0.192.white.example\n")
	f := coldFinding(t, server, "a@one.example", "From: a@one.example\r\n\r\nhttp://bad.example/ http://fine.example/\r\n", "--explain")
	want := map[string][2]string{
		"dnsbl": {"listed", "in list.example with 127.0.0.2; error white.example: "},
		"uribl": {"listed", "bad.example in names.example with 127.0.0.2"},
	}
	for _, s := range f.Steps {
		w, ok := want[s.Step]
		if !ok {
			continue
		}
		delete(want, s.Step)
		if s.Result != w[0] || !strings.HasPrefix(s.Decided, w[1]) || len(s.Queries) != 2 {
			t.Errorf("%+v, want %q", s, w)
		}
	}
	if len(want) > 0 {
		t.Errorf("no step for %v", want)
	}
	server = dnstest.Start(t, "nothing.example TXT \"no test points\"\n")
	f = coldFinding(t, server, "a@one.example", "From: a@one.example\r\n\r\nhello\r\n", "--explain")
	i := slices.IndexFunc(f.Steps, func(s stepJSON) bool { return s.Step == "dnsbl" })
	if s := f.Steps[i]; s.Result != "unknown" || !strings.HasPrefix(s.Decided, "no list was asked") {
		t.Errorf("%+v", s)
	}
	if s := f.Steps[i+1]; s.Result != "skipped" || s.Decided != "the message links to no domain" {
		t.Errorf("%+v", s)
	}
}
