package privacy

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailweir/filter"
	"mailweir/mail"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var ownNetworks = []netip.Prefix{
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("2001:db8:77::/48"),
	netip.MustParsePrefix("10.0.0.0/8"),
}

// TestDialects redacts whole header sections: testdata/dialects/NAME.in under
// class all gives NAME.all, under class own from an own client NAME.own.
func TestDialects(t *testing.T) {
	files, err := filepath.Glob("testdata/dialects/*.in")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d dialects, %v", len(files), err)
	}
	for _, file := range files {
		raw := crlf(t, file)
		for suffix, o := range map[string]Options{
			".all": {Class: All},
			".own": {Class: Own, ClientOwn: true, OwnNetworks: ownNetworks},
		} {
			h := mail.ParseHeader(raw)
			got := Redact(&h, nil, o).Head
			if got == nil {
				got = raw
			}
			golden := strings.TrimSuffix(file, ".in") + suffix
			if *update {
				if err := os.WriteFile(golden, bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(crlf(t, golden)), string(got)); d != "" {
				t.Errorf("%s (-want +got):\n%s", golden, d)
			}
		}
	}
}

func crlf(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// TestSigned: what a signature that may be valid covers stays, and is reported.
func TestSigned(t *testing.T) {
	const (
		hop  = "Received: from x (x [203.0.113.77]) by a; d\r\n"
		gone = "Received: from redacted.invalid by a; d\r\n"
		ip   = "X-Originating-IP: [203.0.113.77]\r\n"
		ip2  = "X-Originating-IP: [203.0.113.78]\r\n"
		spf  = "Received-SPF: pass client-ip=203.0.113.77\r\n"
		sigR = "DKIM-Signature: v=1; a=rsa-sha256; d=e.example; s=s; h=from:Received ;\r\n\tbh=x; b=y\r\n"
		sigX = "DKIM-Signature: v=1; d=e.example; s=s; bh=x; b=y;\r\n h = From : \r\n X-ORIGINATING-IP:received-spf\r\n"
		sigO = "DKIM-Signature: v=1; h=x-originating-ip:x-originating-ip:x-originating-ip; b=\r\n"
		bad  = "DKIM-Signature: v=1; h\r\n"
	)
	fact := func(i int, result string) []filter.DKIMFacts {
		return []filter.DKIMFacts{{SignatureIndex: i, Result: result}}
	}
	for _, c := range []struct {
		name     string
		in, want string
		dkim     []filter.DKIMFacts
		kept     int
	}{
		{"unchecked", sigX + ip, sigX + ip, nil, 1},
		{"pass", sigX + ip, sigX + ip, fact(0, "pass"), 1},
		{"temperror", sigX + ip, sigX + ip, fact(0, "temperror"), 1},
		{"permerror", sigX + ip, sigX + ip, fact(0, "permerror"), 1},
		{"fail", sigX + ip, sigX, fact(0, "fail"), 0},
		{"fail of another", sigX + ip, sigX + ip, fact(7, "fail"), 1},
		{"masked", sigX + spf, sigX + spf, nil, 1},
		{"not covered", sigR + ip, sigR, nil, 0},
		{"two of one name, the top one is not covered", ip2 + sigX + ip, sigX + ip, nil, 1},
		{"signed three times over", ip2 + sigO + ip, ip2 + sigO + ip, nil, 2},
		{"two signatures, the wider one counts", sigX + sigO + ip2 + ip, sigX + sigO + ip2 + ip, nil, 2},
		{"two signatures, the wider one failed", sigX + sigO + ip2 + ip, sigX + sigO + ip, fact(1, "fail"), 1},
		{"received: the bottom one", hop + hop + sigR, gone + hop + sigR, nil, 1},
		{"a vendor's", strings.Replace(sigX, "X-ORIG", "X-VendorIP:X-ORIG", 1) + "X-VendorIP: 203.0.113.7\r\n", strings.Replace(sigX, "X-ORIG", "X-VendorIP:X-ORIG", 1) + "X-VendorIP: 203.0.113.7\r\n", nil, 1},
		{"unreadable h=", bad + ip, bad, nil, 0},
	} {
		h := mail.ParseHeader([]byte(c.in + "\r\n"))
		r := Redact(&h, c.dkim, Options{Class: All, SignedFields: KeepSigned})
		got := r.Head
		if got == nil {
			got = h.Raw
		}
		kept := 0
		for _, e := range r.Edits {
			if e.Kind == KeptSigned {
				kept++
			}
		}
		if string(got) != c.want+"\r\n" || kept != c.kept {
			t.Errorf("%s: %d kept\n got %q\nwant %q", c.name, kept, got, c.want+"\r\n")
		}
		r = Redact(&h, c.dkim, Options{Class: All, SignedFields: RedactSigned})
		if bytes.Contains(r.Head, []byte("203.0.113")) {
			t.Errorf("%s: signed_fields=redact left %q", c.name, r.Head)
		}
	}
}

// TestUntouched: no field but those that tell a client is looked at.
func TestUntouched(t *testing.T) {
	in := "Subject: Received: from x ([203.0.113.77])\r\n" +
		"From: =?utf-8?Q?203=2E0=2E113=2E77?= <anna@[203.0.113.77]>\r\n" +
		"References: <1@[203.0.113.77]> <X-Originating-IP:@x.example>\r\n" +
		"Message-ID: <4711@203.0.113.77>\r\n" +
		"X-Zip: 203.0.113.77\r\n" +
		"X-ZIP: 203.0.113.77\r\n" +
		"Return-Path: <anna@[203.0.113.77]>\r\n" +
		"this line is no field: 203.0.113.77\r\n" +
		"Received-Not: from x (203.0.113.77) by a\r\n" +
		"Received: by mx.example.net (2001:db8:1::1) with SMTP id k3; d\r\n" +
		"Received: (qmail 4711 invoked by uid 89); 21 Nov 2026 10:00:00 -0000\r\n" +
		"Received: from redacted.invalid by mx.example.net; d\r\n" +
		"\r\n"
	h := mail.ParseHeader([]byte(in))
	if r := Redact(&h, nil, Options{Class: All}); r.Head != nil || len(r.Edits) != 0 {
		t.Errorf("edited %v:\n%s", r.Edits, r.Head)
	}
}

// TestGarbage: where no clause says whose an address is, it may be the client's.
func TestGarbage(t *testing.T) {
	for in, want := range map[string]string{
		"garbage 203.0.113.77":                          "garbage redacted.invalid",
		"[2001:db8::77], (via [203.0.113.77]); d":       "[redacted.invalid], (via [redacted.invalid]); d",
		"with HTTP (client 203.0.113.77); d":            "with HTTP (client redacted.invalid); d",
		"(203.0.113.77) garbage; d":                     "(redacted.invalid) garbage; d",
		"by mx.example (203.0.113.1) with HTTP; d":      "by mx.example (203.0.113.1) with HTTP; d",
		"by mx.example with HTTP (203.0.113.77); d":     "by mx.example with HTTP (redacted.invalid); d",
		"by 203.0.113.1 with SMTP id 1.2.3; d":          "by 203.0.113.1 with SMTP id 1.2.3; d",
		"garbage 127.0.0.1 1.2.3; 21 Nov 2026 10:00:00": "garbage 127.0.0.1 1.2.3; 21 Nov 2026 10:00:00",
	} {
		h := mail.ParseHeader([]byte("Received: " + in + "\r\n\r\n"))
		got := Redact(&h, nil, Options{Class: All}).Head
		if got == nil {
			got = h.Raw
		}
		if string(got) != "Received: "+want+"\r\n\r\n" {
			t.Errorf("%s\n%s", in, got)
		}
	}
}

// TestEdits: every change is reported, with the field that it was.
func TestEdits(t *testing.T) {
	h := mail.ParseHeader([]byte("A: 1\r\nReceived: from x by y\r\nx-client-IP: 1\r\nReceived-SPF: pass client-ip=192.0.2.1\r\n\r\n"))
	want := []Edit{
		{1, "Received", Redacted, "client in from-clause"},
		{2, "x-client-IP", Removed, "tells the client"},
		{3, "Received-SPF", Redacted, "client masked"},
	}
	if d := cmp.Diff(want, Redact(&h, nil, Options{Class: All}).Edits); d != "" {
		t.Error(d)
	}
}

// TestHidesClient is the table of the issue: when our own fields tell nothing.
func TestHidesClient(t *testing.T) {
	for _, c := range []struct {
		class string
		own   bool
		want  bool
	}{{"none", true, false}, {"none", false, false}, {"own", true, true}, {"own", false, false}, {"all", true, true}, {"all", false, true}} {
		class, err := ParseClass(c.class)
		if err != nil || class.String() != c.class {
			t.Fatalf("ParseClass(%q) = %v, %v", c.class, class, err)
		}
		if got := (Options{Class: class, ClientOwn: c.own}).HidesClient(); got != c.want {
			t.Errorf("%s, own %v: %v", c.class, c.own, got)
		}
	}
	if _, err := ParseClass("most"); err == nil {
		t.Error("ParseClass took a word that is none")
	}
}

func FuzzRedact(f *testing.F) {
	files, _ := filepath.Glob("testdata/dialects/*.in")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(0))
	}
	f.Add([]byte("Received: from \"a\\\" (b (c) by d\nX-IP: =?q?b?=\n\nbody"), uint8(1))
	f.Add([]byte("DKIM-Signature: h=received:received-spf\nReceived: from a by b\nReceived-SPF: x helo=y (z [203.0.113.1])\n"), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, flags uint8) {
		data = bytes.ReplaceAll(data, []byte("\r"), nil)
		data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
		o := Options{Class: All, OwnNetworks: ownNetworks, ClientOwn: true}
		if flags&1 != 0 {
			o.Class = Own
		}
		if flags&2 != 0 {
			o.SignedFields = RedactSigned
		}
		checkInvariants(t, data, o)
	})
}

// checkInvariants holds for every header section, however hostile.
func checkInvariants(t *testing.T, raw []byte, o Options) {
	h := mail.ParseHeader(raw)
	r := Redact(&h, nil, o)
	if r.Head == nil {
		return
	}
	if n := bytes.Count(r.Head, []byte("\n")); n != bytes.Count(r.Head, []byte("\r\n")) || n != bytes.Count(r.Head, []byte("\r")) {
		t.Fatalf("bare CR or LF in %q", r.Head)
	}
	changed := map[int]Kind{}
	for _, e := range r.Edits {
		if e.Kind != KeptSigned {
			changed[e.Field] = e.Kind
		}
	}
	rest := r.Head
	for i, f := range h.Fields {
		switch changed[i] {
		case Removed:
		case Redacted: // ends where the next field starts, which a parser must find
			again := mail.ParseHeader(rest)
			if len(again.Fields) == 0 || string(again.Fields[0].Name()) != f.Name() {
				t.Fatalf("field %d (%q) is not where it was: %q", i, f.Raw, rest)
			}
			rest = rest[len(again.Fields[0].Raw):]
		default:
			if !bytes.HasPrefix(rest, f.Raw) {
				t.Fatalf("field %d changed: %q is not %q", i, rest, f.Raw)
			}
			rest = rest[len(f.Raw):]
		}
	}
	again := mail.ParseHeader(r.Head)
	if a, b := h.Count("Received"), again.Count("Received"); a != b {
		t.Fatalf("%d hops became %d", a, b)
	}
	if twice := Redact(&again, nil, o); twice.Head != nil && !bytes.Equal(twice.Head, r.Head) {
		t.Fatalf("not idempotent:\n in %q\none %q\ntwo %q", raw, r.Head, twice.Head)
	}
}

func BenchmarkRedact(b *testing.B) {
	raw := strings.ReplaceAll(benchHeader, "\n", "\r\n")
	h := mail.ParseHeader([]byte(raw))
	if n := h.Count("Received"); n != 6 || len(raw) < 2000 || len(raw) > 2400 {
		b.Fatalf("%d Received in %d bytes", n, len(raw))
	}
	for _, o := range []Options{
		{Class: All},
		{Class: Own, ClientOwn: true, OwnNetworks: ownNetworks},
		{Class: Own, ClientOwn: false, OwnNetworks: ownNetworks},
	} {
		b.Run(o.Class.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Redact(&h, nil, o)
			}
		})
	}
}

const benchHeader = `Received: from out.example.com (out.example.com [198.51.100.25])
	(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))
	by mx2.example.com (Postfix) with ESMTPS id 4XyzAB12Cd
	for <bob@example.net>; Sat, 21 Nov 2026 10:00:06 +0000 (UTC)
Received: from localhost (localhost [127.0.0.1])
	by out.example.com (Postfix) with ESMTP id 4XyzAB12Cc
	for <bob@example.net>; Sat, 21 Nov 2026 10:00:05 +0000 (UTC)
Received: from out.example.com ([127.0.0.1])
	by localhost (out.example.com [127.0.0.1]) (amavis, port 10024) with ESMTP
	id aBcDeFgHiJkL for <bob@example.net>; Sat, 21 Nov 2026 10:00:04 +0000 (UTC)
Received: from AM0PR01MB1.example.com (2001:db8:208:1a::7) by
 AM0PR01MB2.example.com (2001:db8:208:1b::9) with Microsoft SMTP Server
 (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id
 15.20.5709.1; Sat, 21 Nov 2026 10:00:03 +0000
Received: from [192.168.178.20] (dsl-203-0-113-77.isp.example [203.0.113.77])
	(Authenticated sender: anna@example.com)
	by submit.example.com (Postfix) with ESMTPSA id 4XyzAB12Cb
	for <bob@example.net>; Sat, 21 Nov 2026 10:00:02 +0000 (UTC)
Received: by web.example.com with HTTP; Sat, 21 Nov 2026 10:00:01 +0000
X-Originating-IP: [203.0.113.77]
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=2026;
	h=from:to:subject:date:message-id:mime-version:content-type;
	bh=g3zLYH4xKxcPrHOD18z9YfpQcnk/GaJedfustWU5uGs=;
	b=dGhpcyBpcyBub3QgYSByZWFsIHNpZ25hdHVyZSBidXQgaXQgaXMgYXMgbG9uZyBhcyBv
From: Anna Example <anna@example.com>
To: Bob <bob@example.net>
Subject: Minutes of the meeting
Date: Sat, 21 Nov 2026 10:00:00 +0000
Message-ID: <20261121100000.4711@example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit
Content-Language: en
User-Agent: Example Mail 12.3
In-Reply-To: <20261120180000.4710@example.net>
References: <20261119090000.4709@example.com> <20261120180000.4710@example.net>
List-Id: A list that mail about meetings goes to <meetings.example.com>
List-Unsubscribe: <mailto:meetings-leave@example.com>

`

// TestSubmitted: where our own users hand mail in, a by-domain that is the client's
// own name goes; those of other servers stay, and so do all of them elsewhere.
func TestSubmitted(t *testing.T) {
	const head = "Received: from desk.home.example by Laptop.home.example with ESMTP id 1; Sat, 21 Nov 2026 10:00:00 +0000\r\n" +
		"Received: from laptop.home.example by smtp.example.org with ESMTP id 2; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
	for submitted, want := range map[bool]string{
		true: "Received: from redacted.invalid by redacted.invalid with ESMTP id 1; Sat, 21 Nov 2026 10:00:00 +0000\r\n" +
			"Received: from redacted.invalid by smtp.example.org with ESMTP id 2; Sat, 21 Nov 2026 10:00:00 +0000\r\n",
		false: "Received: from redacted.invalid by Laptop.home.example with ESMTP id 1; Sat, 21 Nov 2026 10:00:00 +0000\r\n" +
			"Received: from redacted.invalid by smtp.example.org with ESMTP id 2; Sat, 21 Nov 2026 10:00:00 +0000\r\n",
	} {
		for _, c := range []mail.Client{{Helo: "LAPTOP.home.example"}, {Name: "laptop.home.example", Helo: "[192.168.1.7]"}} {
			h := mail.ParseHeader([]byte(head + "\r\n"))
			got := Redact(&h, nil, Options{Class: All, Client: c, Submitted: submitted}).Head
			if diff := cmp.Diff(want+"\r\n", string(got)); diff != "" {
				t.Errorf("submitted %v by %+v:\n%s", submitted, c, diff)
			}
		}
	}
}
