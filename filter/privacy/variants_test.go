package privacy

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailweir/mail"
)

// The canaries: whatever spelling of them goes in, none may come out.
const (
	canary4    = "203.0.113.77"
	canary6    = "2001:db8:77::4d"
	canaryName = "dsl-canary.isp.example"
)

// spellings are ways to write the canaries that software is known to use, or
// that hide them from a pattern.
var spellings = []string{
	"203.0.113.77",
	"203.000.113.077",
	"0xcb.0x00.0x71.0x4d",
	"0313.0.0161.0115",
	"0xcb00714d",
	"::ffff:203.0.113.77",
	"::FFFF:cb00:714d",
	"0:0:0:0:0:ffff:203.0.113.77",
	"IPv6:::ffff:203.0.113.77",
	"2001:db8:77::4d",
	"2001:DB8:77:0:0:0:0:4D",
	"2001:0db8:0077:0000:0000:0000:0000:004d",
	"IPv6:2001:db8:77::4d",
	"2001:db8:77::0.0.0.77",
	"2001:db8:77::4d%eth0",
}

// doubtful spellings count as addresses only in brackets, or where the address
// is known from elsewhere.
var doubtful = []string{"3405803853", "cb00714d", "203.0.29005", "203-0-113-77"}

// dialects are from-clauses as servers write them: %a is the address, %n the
// client's host name.
var dialects = []string{
	"from %n (%n [%a])",        // Postfix
	"from [%a] (unknown [%a])", // Postfix, literal HELO
	"from [192.0.2.9] (%n [%a]) (using TLSv1.3 with cipher X (256/256 bits))", // Postfix, TLS
	"from %n (%n [%a] (may be forged)) (authenticated bits=0)",                // Sendmail
	"from [%a] (helo=%n)",                          // Exim
	"from %n ([%a]:4711 helo=[192.168.1.2])",       // Exim with name
	"from unknown (HELO %n) (%a)",                  // qmail
	"from unknown (HELO [192.168.0.5]) (anna@%a)",  // qmail, authenticated
	"from %n (%a)",                                 // Exchange
	"from [%a] (account anna@example.org HELO %n)", // CommuniGate
	"from %a ([%a])",                               // Lotus, webmail
	"from %n by way of (%n [%a])",                  // a HELO with "by" in it
	"from %n;x ([%a])",                             // a HELO with ";" in it
	"from \"%n by mx\" ([%a])",                     // quoted
	"from (%n [%a])",                               // no HELO at all
	"from[%a]",                                     // glued
	"FROM %n (a (nested \\) %n) [%a])",             // nested, quoted pair
}

// tails are the clauses behind it. %c is a place where the client's address
// stands again, in any spelling; it must read redacted.invalid afterwards.
var tails = []string{
	" by mx.example.net (Postfix) with ESMTPSA id 4Xyz1 for <bob@example.net>; Sat, 21 Nov 2026 10:00:00 +0000 (UTC)",
	"\r\n\tby mx.example.net (8.17.1/8.17.1) with ESMTP id 5AB6c\r\n\tfor <bob@example.net>;\r\n\tSat, 21 Nov 2026 10:00:00 GMT",
	" by mx.example.net with esmtp (Exim 4.96) (envelope-from <anna@example.org>) (client %c) id 1pX-0001; Sat, 21 Nov 2026 10:00:00 +0000",
	"\r\n by mx.example.net (198.51.100.3) with Microsoft SMTP Server id 15.1.225.42 (via [%c])\r\n via Frontend Transport; Sat, 21 Nov 2026 10:00:00 +0000",
	" by mx.example.net via HTTP; Sat, 21 Nov 2026 10:00:00 +0000 (from %c)",
	" by 198.51.100.3:25 with SMTP; 21 Nov 2026 10:00:00 -0000",
}

func expand(s, addr string) string {
	return strings.NewReplacer("%a", addr, "%n", canaryName, "%c", addr).Replace(s)
}

// fold breaks lines inside of the from-clause too.
func fold(s string) string {
	return strings.NewReplacer(" (", "\r\n\t(", " [", "\r\n  [").Replace(s)
}

// TestReceivedVariants: every dialect with every spelling in every form loses
// its client, and nothing but its client.
func TestReceivedVariants(t *testing.T) {
	count := 0
	for _, dialect := range dialects {
		for i, spelling := range append(spellings, doubtful...) {
			if i >= len(spellings) && !strings.Contains(dialect, "[%a]") {
				continue // in doubt without brackets
			}
			for j, tail := range tails {
				from := expand(dialect, spelling)
				if (i+j)%2 == 1 {
					from = fold(from)
				}
				again := spellings[(i*7+j)%len(spellings)]
				if strings.Contains(spelling, "2001") != strings.Contains(strings.ToLower(again), "2001") {
					again = spelling
				}
				in := "Received: " + from + expand(tail, again) + "\r\n"
				want := "Received: " + "from redacted.invalid" + expand(tail, "redacted.invalid") + "\r\n"
				checkVariant(t, in, want)
				count++
			}
		}
	}
	if count < 300 {
		t.Errorf("only %d variants", count)
	}
	t.Logf("%d variants", count)
}

func checkVariant(t *testing.T, in, want string) {
	t.Helper()
	before, after := "Subject: "+canary4+"\r\n", "From: <anna@["+canary4+"]>\r\nX-Note: "+canaryName+"\r\n\r\n"
	h := mail.ParseHeader([]byte(before + in + after))
	got := string(Redact(&h, nil, Options{Class: All}).Head)
	if got != before+want+after {
		t.Errorf("%q\n got %q\nwant %q", in, got, before+want+after)
	}
	checkClean(t, strings.TrimSuffix(strings.TrimPrefix(got, before), after))
}

// checkClean finds what is left of a canary.
func checkClean(t *testing.T, s string) {
	t.Helper()
	lower := strings.ToLower(s)
	for _, c := range append(append([]string{canaryName}, spellings...), doubtful...) {
		if strings.Contains(lower, strings.ToLower(c)) {
			t.Errorf("%q left in %q", c, s)
		}
	}
}

// TestClientFieldsRemoved: the whole field goes, however its value is written.
func TestClientFieldsRemoved(t *testing.T) {
	values := []string{"[%s]", "%s", "%s (" + canaryName + ")", "\r\n\t%s", "%s, 198.51.100.7", "=?us-ascii?Q?%s?=", ""}
	for name, treatment := range clientFields {
		if treatment != remove {
			continue
		}
		for i, value := range values {
			spelling := spellings[(len(name)+i)%len(spellings)]
			for _, written := range []string{name, strings.ToUpper(name), name + " "} {
				in := "A: 1\r\n" + written + ": " + strings.ReplaceAll(value, "%s", spelling) + "\r\nB: 2\r\n\r\n"
				h := mail.ParseHeader([]byte(in))
				if got := string(Redact(&h, nil, Options{Class: All}).Head); got != "A: 1\r\nB: 2\r\n\r\n" {
					t.Errorf("%q gave %q", in, got)
				}
			}
		}
	}
}

// TestVendorIP: a name that ends in "ip" is a client field when addresses are
// all that it holds; where it holds more, the addresses go.
func TestVendorIP(t *testing.T) {
	for value, want := range map[string]string{
		"203.0.113.77":                      "",
		"[203.0.113.77]":                    "",
		"cb00714d":                          "",
		"3405803853":                        "",
		"=?utf-8?B?MjAzLjAuMTEzLjc3?=":      "",
		"=?utf-8?Q?203=2E0=2E113=2E77?=":    "",
		"203.0.113.77, 2001:db8:77::4d":     "",
		"202-555-0101 ext. 3":               "202-555-0101 ext. 3",
		"yes":                               "yes",
		"the address is 203.0.113.77, dear": "the address is redacted.invalid, dear",
	} {
		ship := "X-Ship: " + strings.Trim(value, "[]") + "x\r\n"
		h := mail.ParseHeader([]byte("X-Vendor-IP: " + value + "\r\n" + ship + "\r\n"))
		if want != "" {
			want = "X-Vendor-IP: " + want + "\r\n"
		}
		got := Redact(&h, nil, Options{Class: All}).Head
		if got == nil {
			got = h.Raw
		}
		if string(got) != want+ship+"\r\n" {
			t.Errorf("%q: %q", value, got)
		}
	}
}

// TestVendorName: which names promise a client, with an address that no hop has
// told.
func TestVendorName(t *testing.T) {
	for name, gone := range map[string]bool{
		"X-Vendor-IP": true, "x-vendor-ip": true, "X-VENDOR-IP": true, "X-VendorIP": true, "X-VENDOR-CLIENTIP": true,
		"x-vendor-remoteip": true, "X-Vendor_IP": true, "X-Vendor-IPAddress": true, "X-Vendor-IP-Address": true,
		"Vendor-IP": true, "X-IPv6": true, "X-ConnectingHost": true, "X-Sender-Address": true,
		"X-Zip": false, "X-ZIP": false, "X-Ship": false, "X-Version": false, "X-Mailer-Build": false, "Vendor": false,
		"List-Client": false, "Content-Source": false, "References": false,
	} {
		h := mail.ParseHeader([]byte(name + ": 203.0.113.77\r\n\r\n"))
		if got := Redact(&h, nil, Options{Class: All}).Head != nil; got != gone {
			t.Errorf("%s removed: %v", name, got)
		}
	}
}

// TestMasked: fields that tell more than the client keep all the rest.
func TestMasked(t *testing.T) {
	hop := "Received: from " + canaryName + " (dsl [203.0.113.77]) by relay.example.org; date\r\n" +
		"Received: from six (" + canaryName + " [2001:db8:77::4d]) by relay.example.org; date\r\n"
	templates := []string{
		"Received-SPF: pass (relay.example.org: domain of anna@example.org designates %c as permitted sender)\r\n\tclient-ip=%c; envelope-from=\"anna@example.org\"; helo=%n;",
		"Received-SPF: softfail client-ip = \"%c\"; helo=%n; receiver=relay.example.org; identity=mailfrom",
		"Authentication-Results: relay.example.org;\r\n iprev=pass (%n) policy.iprev=%c;\r\n spf=pass (sender IP is %c) smtp.mailfrom=anna@example.org smtp.helo=%n;\r\n dkim=pass header.d=isp.example header.i=@isp.example header.b=cb00714e",
		"Authentication-Results: relay.example.org 1; spf=pass smtp.remote-ip=%c (%n); dmarc=pass (p=none dis=none) header.from=example.org",
		"ARC-Authentication-Results: i=1; relay.example.org; spf=pass (domain of anna@example.org designates %c as permitted sender) smtp.mailfrom=anna@example.org",
		"Authentication-Results-Original: relay.example.org; iprev=fail (%n [%c])",
		"X-Forefront-Antispam-Report: CIP:%c;CTRY:DE;LANG:en;SCL:1;SRV:;IPV:NLI;SFV:NSPM;H:%n;PTR:%n;CAT:NONE;SFS:(13230040);DIR:INB;",
		"X-Greylist: Sender succeeded SMTP AUTH, not delayed by milter-greylist-4.6 (relay.example.org [198.51.100.3]) (%n [%c]); Sat, 21 Nov 2026",
		"X-Policyd-Weight: using cached result; rate: -7 <client=%c> <helo=%n> <from=anna@example.org>",
		"X-Spam-Relays-Untrusted: [ ip=%c rdns=%n helo=%n by=relay.example.org ident= envfrom= id=4Xyz auth= msa=0 ]",
		"X-Authentication-Info: Submitted using SMTP AUTH LOGIN at relay.example.org from [%c] at Sat, 21 Nov 2026 10:00:00 +0000",
		"Injection-Info: news.example.org; posting-host=\"%n:%c\"; logging-data=\"4711\"",
		"X-Amavis-OS-Fingerprint: Linux 3.11 and newer [generic], [%c]:54321",
		"Received-SPF: pass (relay.example.org: client =?utf-8?Q?%c?= is fine)",
	}
	count := 0
	for _, tmpl := range templates {
		for _, spelling := range append(spellings, doubtful...) {
			value := strings.ReplaceAll(strings.ReplaceAll(tmpl, "%n", canaryName), "%c", spelling)
			h := mail.ParseHeader([]byte(hop + value + "\r\n\r\n"))
			got := string(Redact(&h, nil, Options{Class: All}).Head)
			got = got[strings.LastIndex(got, "date\r\n")+len("date\r\n"):]
			checkClean(t, got)
			if a, b := skeleton(tmpl), skeleton(strings.TrimSuffix(got, "\r\n\r\n")); a != b {
				t.Errorf("%s: more than the client changed\n got %s\nwant %s", spelling, b, a)
			}
			count++
		}
	}
	t.Logf("%d variants", count)
}

// skeleton leaves out what stands for the client, before and after.
func skeleton(s string) string {
	s = strings.ReplaceAll(s, "198.51.100.3", "redacted.invalid") // class all hides every address
	s = strings.ReplaceAll(s, "(relay.example.org [", "(redacted.invalid [")
	s = strings.NewReplacer("%n:%c", "@", "%n", "@", "%c", "@", "=?utf-8?Q?%c?=", "@", "IPv6:redacted.invalid", "@", "redacted.invalid:redacted.invalid", "@", "redacted.invalid%eth0", "@", "redacted.invalid", "@").Replace(s)
	return strings.ReplaceAll(s, "=?utf-8?Q?@?=", "@")
}

// TestEncodedWordBehind: an encoded word that hides the address behind "by".
func TestEncodedWordBehind(t *testing.T) {
	for _, w := range []string{"=?utf-8?Q?203=2E0=2E113=2E77?=", "=?us-ascii?B?MjAzLjAuMTEzLjc3?=", "=?utf-8?q?=5B203.0.113.77=5D?=", "=?utf-8?Q?DSL=2Dcanary.isp.example?="} {
		in := fmt.Sprintf("Received: from a (%s [203.0.113.77]) by mx.example.net (%s) id 1; date\r\n", canaryName, w)
		checkVariant(t, in, "Received: from redacted.invalid by mx.example.net (redacted.invalid) id 1; date\r\n")
	}
}

// TestLinear: hostile sections cost time in proportion to their length.
func TestLinear(t *testing.T) {
	for name, unit := range map[string]string{
		"quotes":    `"\"`,
		"comments":  "(",
		"closed":    "()",
		"by":        " by x",
		"fold":      "\r\n x",
		"words":     "=?a?q?",
		"addresses": "[203.0.113.77] ",
		"numbers":   "1.1.1.1.1.1.1.",
		"semicolon": ";",
		"names":     "a.b ",
	} {
		cost := func(n int) time.Duration {
			h := mail.ParseHeader([]byte("Received: from " + strings.Repeat(unit, n/len(unit)) + "\r\nReceived-SPF: " + strings.Repeat(unit, n/len(unit)) + "\r\n\r\n"))
			return quickest(func() { Redact(&h, nil, Options{Class: All}) })
		}
		small, large := cost(2<<10), cost(32<<10)
		t.Logf("%s: %v, %v", name, small, large)
		if ratio := float64(large) / float64(small); ratio > 80 {
			t.Errorf("%s: 16 times the length costs %.0f times the time (%v, %v)", name, ratio, small, large)
		}
	}
}

// quickest is the CPU time of the quickest of some runs, so that other load on
// the machine counts for little.
func quickest(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	best := time.Hour
	for range 5 {
		before := threadTime()
		f()
		best = min(best, threadTime()-before)
	}
	return best
}

func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// TestOwnRun: which Received fields class own reaches.
func TestOwnRun(t *testing.T) {
	own := "Received: from x (x [10.1.2.3]) by a; d\r\n"
	mapped := "Received: from x ([::ffff:10.1.2.3]) by a; d\r\n"
	none := "Received: (qmail 5 invoked by uid 89); d\r\n"
	local := "Received: from localhost by a with LMTP; d\r\n"
	foreign := "Received: from x (x [198.51.100.9]) by a; d\r\n"
	forged := "Received: from [10.9.9.9] (x [198.51.100.9]) by a; d\r\n"
	exim := "Received: from [198.51.100.9] (port=3 helo=[10.1.1.1]) by a; d\r\n"
	kin := "X-Originating-IP: 198.51.100.9\r\n"
	gone := "Received: from redacted.invalid by a; d\r\n"
	goneLocal := "Received: from redacted.invalid by a with LMTP; d\r\n"
	for _, c := range []struct {
		name, in, want string
	}{
		{"all own", own + mapped + kin, gone + gone},
		{"ends at foreign", own + foreign + own, gone + foreign + own},
		{"foreign first", foreign + own, foreign + own},
		{"forged HELO", own + forged + own, gone + forged + own},
		{"Exim's HELO", exim + own, exim + own},
		{"no clause goes on", own + none + own + foreign + own, gone + none + gone + foreign + own},
		{"no address goes on", own + local + own, gone + goneLocal + gone},
		{"other fields between", own + "Subject: x\r\n" + own, gone + "Subject: x\r\n" + gone},
	} {
		o := Options{Class: Own, ClientOwn: true, OwnNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
		h := mail.ParseHeader([]byte(c.in + "\r\n"))
		got := Redact(&h, nil, o).Head
		if got == nil {
			got = h.Raw
		}
		if string(got) != c.want+"\r\n" {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want+"\r\n")
		}
		o.ClientOwn = false
		if r := Redact(&h, nil, o); r.Head != nil || r.Edits != nil {
			t.Errorf("%s: a foreign client's message was edited: %v", c.name, r.Edits)
		}
		o.Class = None
		if r := Redact(&h, nil, o); r.Head != nil {
			t.Errorf("%s: class none edited", c.name)
		}
	}
}

// TestMaskedOwn: under class own a foreign client in a masked field stays.
func TestMaskedOwn(t *testing.T) {
	in := "Received: from x (pc.example.org [10.1.2.3]) by a; d\r\n" +
		"Received-SPF: pass (a: 10.1.2.3 is fine) client-ip=10.1.2.3; helo=pc.example.org\r\n" +
		"Received-SPF: pass client-ip=198.51.100.9; helo=out.example.com\r\n" +
		"Authentication-Results: mx.example.org; iprev=pass policy.iprev=10.1.2.3\r\n\r\n"
	want := "Received: from redacted.invalid by a; d\r\n" +
		"Received-SPF: pass (a: redacted.invalid is fine) client-ip=redacted.invalid; helo=redacted.invalid\r\n" +
		"Received-SPF: pass client-ip=198.51.100.9; helo=out.example.com\r\n" +
		"Authentication-Results: mx.example.org; iprev=pass policy.iprev=10.1.2.3\r\n\r\n"
	h := mail.ParseHeader([]byte(in))
	o := Options{Class: Own, ClientOwn: true, OwnNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Authserv: "MX.example.org"}
	if got := Redact(&h, nil, o).Head; !bytes.Equal(got, []byte(want)) {
		t.Errorf("got\n%s", got)
	}
}
